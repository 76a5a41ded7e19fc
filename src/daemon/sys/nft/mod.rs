//! `nf_tables` over netlink: a table is installed and removed as a whole, and read back to prove what is there.
//!
//! No tool is run and no text is parsed: plans become messages (`encode`), the kernel's answers become a
//! [`TableState`] that is compared with the plan.

use nix::errno::Errno;

use compile::Compiled;

use super::netlink::{Attribute, NetlinkError, Reply, Socket};
use crate::network::table::{Family, PlanError, TablePlan};

mod compile;
mod digest;
mod encode;
mod expression;
mod foreign;
mod probe;
mod read;
mod uapi;

pub use compile::Element;
pub use expression::Expression;
pub(super) use foreign::foreign_lines;
pub use probe::probe_queue;
pub use read::{ChainState, Counts, Difference, RuleState, SetState, TableState, read_back};

/// What went wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The plan makes no sense.
    #[error("table {name:?} cannot be encoded")]
    Plan {
        /// The table's name.
        name: String,
        /// Why.
        #[source]
        source: PlanError,
    },
    /// The kernel did not do it.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// Makes the table what the plan says, whether or not it exists, in one step: each packet sees a chain as it was or
/// as it will be. If the plan is [`TablePlan::owned`], the table lives as long as the socket and only this socket may
/// change or remove it.
///
/// A table of the same name that another socket owns gives `EPERM`; one whose ownership differs from the plan's
/// gives `EOPNOTSUPP` (remove it first). Counts start at zero again.
pub fn install(socket: &mut Socket, plan: &TablePlan) -> Result<(), NftError> {
    plan.check().map_err(|source| NftError::Plan { name: plan.name.clone(), source })?;
    let existing = read::layout(socket, plan.family, &plan.name)?;
    let messages = encode::installation(&Compiled::new(plan), existing.as_ref());
    Ok(socket.transaction(&format!("install nftables table {:?}", plan.name), &messages)?)
}

/// Removes a table with all it holds. That it is absent is success.
pub fn remove(socket: &mut Socket, family: Family, name: &str) -> Result<(), NftError> {
    match socket.transaction(&format!("remove nftables table {name:?}"), &encode::removal(family, name)) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(()),
        result => Ok(result?),
    }
}

/// A table as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Address family (`NFPROTO_*`), which may be one that plans do not have.
    pub family: u8,
    /// Name.
    pub name: String,
    /// `NFT_TABLE_F_*`.
    pub flags: u32,
    /// Port id of the netlink socket that owns it.
    pub owner: Option<u32>,
    /// User data.
    pub userdata: Vec<u8>,
}

/// All tables of the socket's network namespace.
pub fn list_tables(socket: &mut Socket) -> Result<Vec<TableEntry>, NftError> {
    let replies = socket.dump("list nftables tables", &read::tables_of(uapi::NFPROTO_UNSPEC))?;
    Ok(replies.iter().filter_map(TableEntry::parse).collect())
}

impl TableEntry {
    fn parse(reply: &Reply) -> Option<Self> {
        let attributes = reply.attributes(uapi::NFGENMSG);
        Some(Self {
            family: *reply.payload.first()?,
            name: attributes.find(uapi::NFTA_TABLE_NAME)?.string()?,
            flags: attributes.find(uapi::NFTA_TABLE_FLAGS).and_then(Attribute::be32).unwrap_or(0),
            owner: attributes.find(uapi::NFTA_TABLE_OWNER).and_then(Attribute::be32),
            userdata: attributes
                .find(uapi::NFTA_TABLE_USERDATA)
                .map(|attribute| attribute.value.to_vec())
                .unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests;
