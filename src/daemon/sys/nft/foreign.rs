//! Tables of others, reduced to lines that stay equal while nobody changes a table, chain or rule.

use std::collections::BTreeMap;

use super::super::hex::hex;
use super::super::netlink::{Attribute, Attributes, Reply, Socket};
use super::digest::Digest;
use super::read::{all_rules_of, chains_of};
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the kernel's own names of one header"))]
use super::uapi::*;
use super::{NftError, TableEntry, list_tables};

/// Expressions whose data changes while packets pass.
const COUNTING: [&str; 3] = ["counter", "quota", "last"];

/// One line for each table, chain and rule list of tables whose name does not start with `own_prefix`.
pub(in super::super) fn foreign_lines(
    socket: &mut Socket,
    own_prefix: &str,
) -> Result<Vec<String>, NftError> {
    let mut tables = list_tables(socket)?;
    tables.retain(|table| !table.name.starts_with(own_prefix));
    let line = |table: &TableEntry| format!("table {} {} flags {:x}", table.family, table.name, table.flags);
    let mut lines: Vec<_> = tables.iter().map(line).collect();
    // Chains and rules are in tables only.
    if tables.is_empty() {
        return Ok(lines);
    }
    for reply in socket.dump("list nftables chains", &chains_of(NFPROTO_UNSPEC))? {
        lines.extend(
            chain_line(&reply).filter(|(table, _)| !table.starts_with(own_prefix)).map(|(_, line)| line),
        );
    }
    let mut rules = BTreeMap::<_, Rules>::new();
    for reply in socket.dump("list nftables rules", &all_rules_of(NFPROTO_UNSPEC))? {
        let Some((family, table, chain)) = rule_place(&reply) else { continue };
        if !table.starts_with(own_prefix) {
            rules.entry((family, table, chain)).or_default().add(&reply.attributes(NFGENMSG));
        }
    }
    lines.extend(rules.into_iter().map(|((family, table, chain), Rules { number, digest })| {
        format!("rules {family} {table} {chain} number {number} digest {:016x}", digest.value())
    }));
    Ok(lines)
}

/// The chain's table and its line.
fn chain_line(reply: &Reply) -> Option<(String, String)> {
    let attributes = reply.attributes(NFGENMSG);
    let family = reply.payload.first()?;
    let table = attributes.find(NFTA_CHAIN_TABLE)?.string()?;
    let name = attributes.find(NFTA_CHAIN_NAME)?.string()?;
    let kind = attributes.find(NFTA_CHAIN_TYPE).and_then(Attribute::string).unwrap_or_default();
    let policy = attributes.find(NFTA_CHAIN_POLICY).and_then(Attribute::be32).unwrap_or_default();
    let hook = hex(attributes.find(NFTA_CHAIN_HOOK).map_or(&[], |hook| hook.value));
    let line = format!("chain {family} {table} {name} {kind} policy {policy} hook {hook}");
    Some((table, line))
}

fn rule_place(reply: &Reply) -> Option<(u8, String, String)> {
    let attributes = reply.attributes(NFGENMSG);
    let table = attributes.find(NFTA_RULE_TABLE)?.string()?;
    Some((*reply.payload.first()?, table, attributes.find(NFTA_RULE_CHAIN)?.string()?))
}

/// The rules of one chain, in order.
#[derive(Default)]
struct Rules {
    number: usize,
    digest: Digest,
}

impl Rules {
    fn add(&mut self, rule: &Attributes<'_>) {
        self.number += 1;
        let value = |kind| rule.find(kind).map_or(&[][..], |attribute| attribute.value);
        for element in Attributes::new(value(NFTA_RULE_EXPRESSIONS)).map(Attribute::nested) {
            let name = element.find(NFTA_EXPR_NAME).and_then(Attribute::string).unwrap_or_default();
            self.digest.add(name.as_bytes());
            if !COUNTING.contains(&name.as_str()) {
                self.digest.add(element.find(NFTA_EXPR_DATA).map_or(&[], |data| data.value));
            }
        }
        self.digest.add(value(NFTA_RULE_USERDATA));
    }
}
