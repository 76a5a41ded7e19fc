//! The child of `squall doctor`: tries in a sandbox of its own what a playground needs of the kernel.
//!
//! A process cannot leave a user namespace again, and one with threads cannot enter, so it is a child, and one of few words.

use serde::{Deserialize, Serialize};

#[cfg(feature = "playground")]
use super::Out;
#[cfg(feature = "playground")]
use super::exit::{Exit, Result};

/// What was tried.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Findings {
    /// Why there is no sandbox, and what cures it; `None` if there is one.
    pub(super) sandbox: Option<String>,
    /// Why a table could not be made and read back in it; `None` if it could, or was not tried.
    pub(super) tables: Option<String>,
}

/// Tries it and prints the findings. To be called before the process has a second thread.
#[cfg(feature = "playground")]
pub(super) fn run(out: &mut Out) -> Result<Exit> {
    let mut findings = Findings::default();
    match crate::playground::enter_sandbox() {
        Ok(()) => findings.tables = table().err(),
        Err(error) => findings.sandbox = Some(error.to_string()),
    }
    out.line(&serde_json::to_string(&findings)?)?;
    Ok(Exit::Success)
}

/// Makes a table that belongs to its socket, and reads it back.
#[cfg(feature = "playground")]
fn table() -> std::result::Result<(), String> {
    use crate::daemon::sys::netlink::{Protocol, Socket};
    use crate::daemon::sys::nft;
    use crate::network::table::{Family, TablePlan};

    let plan = TablePlan {
        family: Family::Inet,
        name: "squall-probe".to_owned(),
        owned: true,
        userdata: Vec::new(),
        sets: Vec::new(),
        chains: Vec::new(),
    };
    let chain = |error: &dyn std::error::Error| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let mut socket = Socket::open(Protocol::Netfilter).map_err(|error| chain(&error))?;
    nft::install(&mut socket, &plan).map_err(|error| chain(&error))?;
    let tables = nft::list_tables(&mut socket).map_err(|error| chain(&error))?;
    if tables.iter().any(|table| table.name == plan.name && table.owner.is_some()) {
        Ok(())
    } else {
        Err("the kernel took the table but does not show it".to_owned())
    }
}
