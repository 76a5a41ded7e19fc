//! Transactions and requests about tables. Pure.

use super::super::netlink::{APPEND, Builder, CREATE, Message};
use super::compile::{Compiled, CompiledSet, Element, family_number, hook_number, kind_name, with_octets};
use super::read::{ChainState, TableState};
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the kernel's own names of one header"))]
use super::uapi::*;
use crate::network::table::{Chain, Family, IpVersion, Rule};

/// Elements in one message: their list is one attribute, whose length has 16 bits, and one element takes at most
/// 36 bytes.
const ELEMENTS_PER_MESSAGE: usize = 1_000;

/// Encodes the change of a table from what exists to what the plan says. The kernel does all of it or nothing.
///
/// Chains that stay are kept and only their rules exchanged: every packet then sees the old rules of a chain or the
/// new ones. To delete the table and make it anew in one transaction would not do: a packet that is between the hooks
/// of the old and the new chain while the transaction takes effect passes both, the one because it is not yet in
/// force and the other because it is so no more.
pub(super) fn installation(compiled: &Compiled<'_>, existing: Option<&TableState>) -> Vec<Message> {
    let encoder = Encoder { compiled };
    let mut messages = vec![begin(), encoder.table()];
    // User data cannot be changed.
    let kept = existing.filter(|state| state.userdata == compiled.plan.userdata);
    if existing.is_some() && kept.is_none() {
        messages.push(encoder.delete_table());
        messages.push(encoder.table());
    }
    messages.extend(kept.map(|state| encoder.clear(state)).unwrap_or_default());

    let chains = &compiled.plan.chains;
    let is_new = |chain: &&Chain| !kept.is_some_and(|state| state.chains.iter().any(|old| stays(old, chain)));
    messages.extend(chains.iter().filter(is_new).map(|chain| encoder.chain(chain)));
    let is_new = |name: &str| !kept.is_some_and(|state| state.sets.iter().any(|old| old.name == name));
    for (set, id) in compiled.sets.iter().zip(1..).filter(|(set, _)| is_new(&set.name)) {
        messages.push(encoder.set(set, id));
        messages
            .extend(set.elements.chunks(ELEMENTS_PER_MESSAGE).map(|chunk| encoder.elements(set, id, chunk)));
    }
    for chain in chains {
        messages.extend(chain.rules.iter().map(|rule| encoder.rule(chain, rule, is_new)));
    }
    messages.push(end());
    messages
}

/// Whether a chain can be kept: its type, hook and priority cannot be changed.
fn stays(old: &ChainState, chain: &Chain) -> bool {
    old.name == chain.name
        && old.kind == kind_name(chain.kind)
        && old.hook == Some((hook_number(chain.hook), chain.priority))
}

/// Encodes the deletion of a table as a transaction.
pub(super) fn removal(family: Family, name: &str) -> Vec<Message> {
    vec![begin(), delete_table(family, name), end()]
}

/// A request about `nf_tables` objects of a family (`NFPROTO_*`).
pub(super) fn message(kind: u16, flags: u16, family: u8, attributes: Builder) -> Message {
    Message { kind: SUBSYSTEM << 8 | kind, flags, payload: nfgenmsg(family, 0, attributes) }
}

fn nfgenmsg(family: u8, resource: u16, attributes: Builder) -> Vec<u8> {
    let [high, low] = resource.to_be_bytes();
    let mut payload = vec![family, 0, high, low]; // nfgen_family, version NFNETLINK_V0, res_id
    payload.extend(attributes.finish());
    payload
}

fn begin() -> Message {
    batch(NFNL_MSG_BATCH_BEGIN)
}

fn end() -> Message {
    batch(NFNL_MSG_BATCH_END)
}

fn batch(kind: u16) -> Message {
    Message { kind, flags: 0, payload: nfgenmsg(NFPROTO_UNSPEC, SUBSYSTEM, Builder::default()) }
}

fn delete_table(family: Family, name: &str) -> Message {
    let attributes = Builder::default().string(NFTA_TABLE_NAME, name);
    message(NFT_MSG_DELTABLE, 0, family_number(family), attributes)
}

struct Encoder<'a> {
    compiled: &'a Compiled<'a>,
}

impl Encoder<'_> {
    fn message(&self, kind: u16, flags: u16, attributes: Builder) -> Message {
        message(kind, flags, family_number(self.compiled.plan.family), attributes)
    }

    fn table_name(&self) -> &str {
        &self.compiled.plan.name
    }

    fn delete_table(&self) -> Message {
        delete_table(self.compiled.plan.family, self.table_name())
    }

    /// Deletes all rules, and the chains and sets that the plan has no use for.
    fn clear(&self, state: &TableState) -> Vec<Message> {
        let attributes = Builder::default().string(NFTA_RULE_TABLE, self.table_name());
        let mut messages = vec![self.message(NFT_MSG_DELRULE, 0, attributes)];
        let chains = state
            .chains
            .iter()
            .filter(|old| !self.compiled.plan.chains.iter().any(|chain| stays(old, chain)));
        messages.extend(chains.map(|old| {
            let attributes = Builder::default()
                .string(NFTA_CHAIN_TABLE, self.table_name())
                .string(NFTA_CHAIN_NAME, &old.name);
            self.message(NFT_MSG_DELCHAIN, 0, attributes)
        }));
        let sets = state.sets.iter().filter(|old| !self.compiled.sets.iter().any(|set| set.name == old.name));
        messages.extend(sets.map(|old| {
            let attributes =
                Builder::default().string(NFTA_SET_TABLE, self.table_name()).string(NFTA_SET_NAME, &old.name);
            self.message(NFT_MSG_DELSET, 0, attributes)
        }));
        messages
    }

    /// The flags must be those that the table has when it exists: the kernel refuses to change its ownership.
    fn table(&self) -> Message {
        let plan = self.compiled.plan;
        let flags = if plan.owned { NFT_TABLE_F_OWNER } else { 0 };
        let mut attributes =
            Builder::default().string(NFTA_TABLE_NAME, &plan.name).be32(NFTA_TABLE_FLAGS, flags);
        if !plan.userdata.is_empty() {
            attributes = attributes.bytes(NFTA_TABLE_USERDATA, &plan.userdata);
        }
        self.message(NFT_MSG_NEWTABLE, 0, attributes)
    }

    fn set(&self, set: &CompiledSet, id: u32) -> Message {
        let (kind, length) = match set.version {
            IpVersion::V4 => (TYPE_IPADDR, 4),
            IpVersion::V6 => (TYPE_IP6ADDR, 16),
        };
        let mut attributes = Builder::default()
            .string(NFTA_SET_TABLE, self.table_name())
            .string(NFTA_SET_NAME, &set.name)
            .be32(NFTA_SET_FLAGS, set.flags)
            .be32(NFTA_SET_KEY_TYPE, kind)
            .be32(NFTA_SET_KEY_LEN, length)
            .be32(NFTA_SET_ID, id);
        // With its size known, a set of hosts is a hash table that never grows. One that grows does so behind our back, and
        // what is listed meanwhile has some members twice and others not at all (`net/netfilter/nft_set_hash.c`).
        if set.flags & NFT_SET_INTERVAL == 0
            && let Some(size) = u32::try_from(set.elements.len()).ok().filter(|size| *size > 0)
        {
            attributes = attributes.within(NFTA_SET_DESC, |desc| desc.be32(NFTA_SET_DESC_SIZE, size));
        }
        self.message(NFT_MSG_NEWSET, CREATE, attributes)
    }

    fn elements(&self, set: &CompiledSet, id: u32, elements: &[Element]) -> Message {
        let element = |list: Builder, element: &Element| {
            list.within(NFTA_LIST_ELEM, |attributes| {
                let attributes = if element.interval_end {
                    attributes.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END)
                } else {
                    attributes
                };
                attributes.within(NFTA_SET_ELEM_KEY, |key| {
                    with_octets(element.key, |octets| key.bytes(NFTA_DATA_VALUE, octets))
                })
            })
        };
        let attributes = Builder::default()
            .string(NFTA_SET_ELEM_LIST_TABLE, self.table_name())
            .string(NFTA_SET_ELEM_LIST_SET, &set.name)
            .be32(NFTA_SET_ELEM_LIST_SET_ID, id)
            .within(NFTA_SET_ELEM_LIST_ELEMENTS, |list| elements.iter().fold(list, element));
        self.message(NFT_MSG_NEWSETELEM, CREATE, attributes)
    }

    fn chain(&self, chain: &Chain) -> Message {
        let hook = Builder::default()
            .be32(NFTA_HOOK_HOOKNUM, hook_number(chain.hook))
            .bytes(NFTA_HOOK_PRIORITY, &chain.priority.to_be_bytes());
        let attributes = Builder::default()
            .string(NFTA_CHAIN_TABLE, self.table_name())
            .string(NFTA_CHAIN_NAME, &chain.name)
            .string(NFTA_CHAIN_TYPE, kind_name(chain.kind))
            .be32(NFTA_CHAIN_POLICY, NF_ACCEPT)
            .nest(NFTA_CHAIN_HOOK, &hook);
        self.message(NFT_MSG_NEWCHAIN, CREATE, attributes)
    }

    fn rule(&self, chain: &Chain, rule: &Rule, is_new: impl Fn(&str) -> bool + Copy) -> Message {
        // A set made in the same transaction is found by its number, which goes by its place in the plan.
        let set_id = |name: &str| {
            let mut sets = self.compiled.sets.iter().zip(1..);
            sets.find(|(set, _)| set.name == name && is_new(name)).map(|(_, id)| id)
        };
        let mut list = Builder::default();
        for expression in self.compiled.expressions(rule) {
            list = list.nest(NFTA_LIST_ELEM, &expression.encode(set_id));
        }
        let mut attributes = Builder::default()
            .string(NFTA_RULE_TABLE, self.table_name())
            .string(NFTA_RULE_CHAIN, &chain.name)
            .nest(NFTA_RULE_EXPRESSIONS, &list);
        if let Some(comment) = &rule.comment {
            attributes = attributes.bytes(NFTA_RULE_USERDATA, &comment_userdata(comment));
        }
        self.message(NFT_MSG_NEWRULE, CREATE | APPEND, attributes)
    }
}

/// User data in libnftnl's form, so that `nft list` shows the comment: type, length, text with NUL.
fn comment_userdata(comment: &str) -> Vec<u8> {
    let mut data = vec![UDATA_RULE_COMMENT, u8::try_from(comment.len() + 1).unwrap_or(u8::MAX)];
    data.extend(comment.as_bytes());
    data.push(0);
    data
}
