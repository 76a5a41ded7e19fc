//! What the kernel holds of a table, and whether it is what was planned.

use std::fmt::Debug;
use std::net::IpAddr;

use nix::errno::Errno;

use super::super::netlink::{Attribute, Attributes, Builder, Message, Reply, Socket};
use super::compile::{Compiled, CompiledSet, Element, family_number, hook_number, kind_name};
use super::encode::message;
use super::expression::Expression;
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the kernel's own names of one header"))]
use super::uapi::*;
use super::{NftError, TableEntry};
use crate::network::table::{Chain, Family, Rule, TablePlan};

/// A table in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// Address family.
    pub family: Family,
    /// Name.
    pub name: String,
    /// Port id of the netlink socket that owns the table, if it is an owned one.
    pub owner: Option<u32>,
    /// User data.
    pub userdata: Vec<u8>,
    /// Named sets.
    pub sets: Vec<SetState>,
    /// Chains.
    pub chains: Vec<ChainState>,
}

/// A set in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetState {
    /// The plan's name, "-" and a digest of the members.
    pub name: String,
    /// `NFT_SET_*`.
    pub flags: u32,
    /// Members, sorted.
    pub elements: Vec<Element>,
}

/// A chain in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainState {
    /// Name.
    pub name: String,
    /// Type, "filter" for instance; empty for a chain without a hook.
    pub kind: String,
    /// Hook number (`NF_INET_*`) and priority; none for a chain without a hook.
    pub hook: Option<(u32, i32)>,
    /// Verdict at the end of a base chain (`NF_*`).
    pub policy: Option<u32>,
    /// Rules, first one first.
    pub rules: Vec<RuleState>,
}

/// A rule in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleState {
    /// What it does.
    pub expressions: Vec<Expression>,
    /// The comment in its user data.
    pub comment: Option<String>,
}

/// What a rule has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// How the kernel differs from the plan, as text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Difference(String);

/// Reads a table with its sets, chains and rules; nothing if there is no such table.
pub fn read_back(socket: &mut Socket, family: Family, name: &str) -> Result<Option<TableState>, NftError> {
    let Some(mut state) = layout(socket, family, name)? else { return Ok(None) };
    let number = family_number(family);
    let operation = operation(name);
    let rules = socket.dump(&operation, &rules_of(number, name))?;
    for (chain, rule) in rules.iter().filter_map(|reply| parse_rule(&reply.attributes(NFGENMSG), name)) {
        if let Some(chain) = state.chains.iter_mut().find(|state| state.name == chain) {
            chain.rules.push(rule);
        }
    }
    for set in &mut state.sets {
        let replies = socket.dump(&operation, &elements_of(number, name, &set.name))?;
        set.elements = replies.iter().flat_map(parse_elements).collect();
        set.elements.sort_unstable();
    }
    Ok(Some(state))
}

/// Reads a table with its chains and sets but without rules and elements; nothing if there is no such table.
pub(super) fn layout(
    socket: &mut Socket,
    family: Family,
    name: &str,
) -> Result<Option<TableState>, NftError> {
    let number = family_number(family);
    let operation = operation(name);
    let table = match socket.request(&operation, &table_of(number, name)) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(None),
        replies => replies?,
    };
    let Some(TableEntry { name, owner, userdata, .. }) = table.iter().find_map(TableEntry::parse) else {
        return Ok(None);
    };
    // The kernel lists the chains of all tables of a family; what others have is left out here.
    let chains = socket.dump(&operation, &chains_of(number))?;
    let chains = chains.iter().filter_map(|reply| parse_chain(&reply.attributes(NFGENMSG), &name)).collect();
    let sets = socket.dump(&operation, &sets_of(number, &name))?;
    let sets = sets.iter().filter_map(|reply| parse_set(&reply.attributes(NFGENMSG), &name)).collect();
    Ok(Some(TableState { family, name, owner, userdata, sets, chains }))
}

fn operation(table: &str) -> String {
    format!("read nftables table {table:?} back")
}

/// Lists the tables of a family.
pub(super) fn tables_of(family: u8) -> Message {
    message(NFT_MSG_GETTABLE, 0, family, Builder::default())
}

/// Asks for one table.
pub(super) fn table_of(family: u8, table: &str) -> Message {
    message(NFT_MSG_GETTABLE, 0, family, Builder::default().string(NFTA_TABLE_NAME, table))
}

/// Lists the chains of a family.
pub(super) fn chains_of(family: u8) -> Message {
    message(NFT_MSG_GETCHAIN, 0, family, Builder::default())
}

/// Lists all rules of a family.
pub(super) fn all_rules_of(family: u8) -> Message {
    message(NFT_MSG_GETRULE, 0, family, Builder::default())
}

/// Lists the rules of a table.
pub(super) fn rules_of(family: u8, table: &str) -> Message {
    message(NFT_MSG_GETRULE, 0, family, Builder::default().string(NFTA_RULE_TABLE, table))
}

/// Lists the sets of a table.
pub(super) fn sets_of(family: u8, table: &str) -> Message {
    message(NFT_MSG_GETSET, 0, family, Builder::default().string(NFTA_SET_TABLE, table))
}

/// Lists the elements of a set.
pub(super) fn elements_of(family: u8, table: &str, set: &str) -> Message {
    let attributes =
        Builder::default().string(NFTA_SET_ELEM_LIST_SET, set).string(NFTA_SET_ELEM_LIST_TABLE, table);
    message(NFT_MSG_GETSETELEM, 0, family, attributes)
}

fn parse_chain(attributes: &Attributes<'_>, table: &str) -> Option<ChainState> {
    if attributes.find(NFTA_CHAIN_TABLE)?.string()? != table {
        return None;
    }
    let hook = attributes.find(NFTA_CHAIN_HOOK).map(Attribute::nested).and_then(|hook| {
        let priority = hook.find(NFTA_HOOK_PRIORITY)?.value.try_into().ok()?;
        Some((hook.find(NFTA_HOOK_HOOKNUM)?.be32()?, i32::from_be_bytes(priority)))
    });
    Some(ChainState {
        name: attributes.find(NFTA_CHAIN_NAME)?.string()?,
        kind: attributes.find(NFTA_CHAIN_TYPE).and_then(Attribute::string).unwrap_or_default(),
        hook,
        policy: attributes.find(NFTA_CHAIN_POLICY).and_then(Attribute::be32),
        rules: Vec::new(),
    })
}

/// The rule and the name of its chain.
fn parse_rule(attributes: &Attributes<'_>, table: &str) -> Option<(String, RuleState)> {
    if attributes.find(NFTA_RULE_TABLE)?.string()? != table {
        return None;
    }
    let chain = attributes.find(NFTA_RULE_CHAIN)?.string()?;
    let expressions = attributes
        .find(NFTA_RULE_EXPRESSIONS)
        .map(|list| list.nested().map(|element| Expression::decode(&element.nested())).collect())
        .unwrap_or_default();
    let comment = attributes.find(NFTA_RULE_USERDATA).and_then(|data| parse_comment(data.value));
    Some((chain, RuleState { expressions, comment }))
}

fn parse_comment(mut userdata: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = userdata {
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        if *kind == UDATA_RULE_COMMENT {
            return Attribute { kind: 0, value }.string();
        }
        userdata = rest;
    }
    None
}

fn parse_set(attributes: &Attributes<'_>, table: &str) -> Option<SetState> {
    if attributes.find(NFTA_SET_TABLE)?.string()? != table {
        return None;
    }
    Some(SetState {
        name: attributes.find(NFTA_SET_NAME)?.string()?,
        flags: attributes.find(NFTA_SET_FLAGS).and_then(Attribute::be32).unwrap_or(0),
        elements: Vec::new(),
    })
}

pub(super) fn parse_elements(reply: &Reply) -> Vec<Element> {
    let list = reply.attributes(NFGENMSG).find(NFTA_SET_ELEM_LIST_ELEMENTS);
    let elements = list.map_or(Attributes::new(&[]), Attribute::nested);
    elements.filter_map(|element| parse_element(&element.nested())).collect()
}

fn parse_element(attributes: &Attributes<'_>) -> Option<Element> {
    let key = attributes.find(NFTA_SET_ELEM_KEY)?.nested().find(NFTA_DATA_VALUE)?.value;
    let v4 = || <[u8; 4]>::try_from(key).map(IpAddr::from);
    let key = v4().or_else(|_longer| <[u8; 16]>::try_from(key).map(IpAddr::from)).ok()?;
    let flags = attributes.find(NFTA_SET_ELEM_FLAGS).and_then(Attribute::be32).unwrap_or(0);
    Some(Element { key, interval_end: flags & NFT_SET_ELEM_INTERVAL_END != 0 })
}

impl RuleState {
    /// What the rule has counted; nothing if it has no counter.
    pub fn counts(&self) -> Option<Counts> {
        self.expressions.iter().find_map(|expression| match expression {
            Expression::Counter { packets, bytes } => Some(Counts { packets: *packets, bytes: *bytes }),
            _ => None,
        })
    }
}

impl TableState {
    /// Compares everything but counts with the plan: ownership, user data, sets and every member, chains with hook
    /// and priority, rules with every instruction, in order.
    pub fn matches(&self, plan: &TablePlan) -> Result<(), Difference> {
        same(|| "family".into(), &self.family, &plan.family)?;
        same(|| "name".into(), &self.name, &plan.name)?;
        same(|| "ownership".into(), &self.owner.is_some(), &plan.owned)?;
        same(|| "user data".into(), &self.userdata, &plan.userdata)?;
        let compiled = Compiled::new(plan);
        let names = sorted(compiled.sets.iter().map(|set| set.name.clone()));
        same(|| "sets".into(), &sorted(self.sets.iter().map(|set| set.name.clone())), &names)?;
        for (state, set) in pairs(&self.sets, &compiled.sets, |state, set| state.name == set.name) {
            state.matches(set)?;
        }
        let names = |chains: &[Chain]| sorted(chains.iter().map(|chain| chain.name.clone()));
        let found = sorted(self.chains.iter().map(|chain| chain.name.clone()));
        same(|| "chains".into(), &found, &names(&plan.chains))?;
        for (state, chain) in pairs(&self.chains, &plan.chains, |state, chain| state.name == chain.name) {
            state.matches(&compiled, chain)?;
        }
        Ok(())
    }

    /// What all rules of the table have counted together.
    pub fn counts(&self) -> Counts {
        let rules = self.chains.iter().flat_map(|chain| &chain.rules);
        rules.filter_map(RuleState::counts).fold(Counts::default(), |sum, counts| Counts {
            packets: sum.packets.saturating_add(counts.packets),
            bytes: sum.bytes.saturating_add(counts.bytes),
        })
    }
}

impl SetState {
    fn matches(&self, set: &CompiledSet) -> Result<(), Difference> {
        same(|| format!("flags of set {:?}", self.name), &self.flags, &set.flags)?;
        same(|| format!("size of set {:?}", self.name), &self.elements.len(), &set.elements.len())?;
        for (found, planned) in self.elements.iter().zip(&set.elements) {
            same(|| format!("element of set {:?}", self.name), found, planned)?;
        }
        Ok(())
    }
}

impl ChainState {
    fn matches(&self, compiled: &Compiled<'_>, chain: &Chain) -> Result<(), Difference> {
        let of = |what: &str| format!("{what} of chain {:?}", self.name);
        same(|| of("type"), &self.kind.as_str(), &kind_name(chain.kind))?;
        same(|| of("hook and priority"), &self.hook, &Some((hook_number(chain.hook), chain.priority)))?;
        same(|| of("policy"), &self.policy, &Some(NF_ACCEPT))?;
        same(|| of("number of rules"), &self.rules.len(), &chain.rules.len())?;
        for (index, (state, rule)) in self.rules.iter().zip(&chain.rules).enumerate() {
            state.matches(compiled, rule, || of(&format!("rule {}", index + 1)))?;
        }
        Ok(())
    }
}

impl RuleState {
    fn matches(
        &self,
        compiled: &Compiled<'_>,
        rule: &Rule,
        name: impl Fn() -> String,
    ) -> Result<(), Difference> {
        same(|| format!("comment of {}", name()), &self.comment, &rule.comment)?;
        let found: Vec<_> = self.expressions.iter().map(Expression::without_counts).collect();
        same(name, &found, &compiled.expressions(rule))
    }
}

fn pairs<'a, S, P>(
    states: &'a [S],
    plans: &'a [P],
    same: impl Fn(&S, &P) -> bool + Copy + 'a,
) -> impl Iterator<Item = (&'a S, &'a P)> {
    states.iter().filter_map(move |state| Some((state, plans.iter().find(|plan| same(state, plan))?)))
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

fn same<T: PartialEq + Debug>(what: impl Fn() -> String, found: &T, planned: &T) -> Result<(), Difference> {
    if found == planned {
        return Ok(());
    }
    Err(Difference(format!("{} is {found:?} instead of {planned:?}", what())))
}
