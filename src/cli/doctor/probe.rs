//! The child of `squall doctor`: tries in a sandbox of its own what this kernel has.
//!
//! A process cannot leave a user namespace again, and one with threads cannot enter, so it is a child, and one of few words.

use serde::{Deserialize, Serialize};

use crate::cli::Out;
use crate::cli::exit::{Exit, Result};
use crate::daemon::engine::error_chain;
use crate::daemon::sys::netlink::Protocol;
use crate::daemon::sys::netns::NetNs;
use crate::daemon::sys::{nft, proc, tc};
use crate::network::table::{Family, QueueFlavour, TablePlan};

/// What was tried. A thing that could not be tried has the reason in its place.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Findings {
    /// Why there is no sandbox for a playground, and what cures it; `None` if there is one.
    pub(super) sandbox: Option<String>,
    /// The capabilities that this user has, as bits (`linux/capability.h`).
    pub(super) capabilities: u64,
    /// Whether a table could be made and read back.
    pub(super) tables: std::result::Result<(), String>,
    /// Whether there are netem and prio.
    pub(super) netem: std::result::Result<Netem, String>,
    /// How packets can be handed to a program.
    pub(super) queue: std::result::Result<Option<Flavour>, String>,
}

/// The qdiscs that shape.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Netem {
    pub(super) netem: bool,
    pub(super) prio: bool,
}

/// By which part of the kernel packets get to a queue.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Flavour {
    Native,
    Compat,
}

/// Tries it and prints the findings. To be called before the process has a second thread. `inside` tells that this is
/// the first process of the sandbox.
pub(in crate::cli) fn run(inside: bool, out: &mut Out) -> Result<Exit> {
    let capabilities = proc::effective_capabilities()?;
    let sandbox = if inside { None } else { enter() };
    let findings = if inside || sandbox.is_some() {
        Findings { sandbox, capabilities, tables: table(), netem: netem(), queue: queue() }
    } else {
        Findings { capabilities, ..from_inside()? }
    };
    out.line(&serde_json::to_string(&findings)?)?;
    Ok(Exit::Success)
}

/// Who has entered a PID namespace is not in it and can start no thread; its child is and can.
fn from_inside() -> Result<Findings> {
    #[expect(clippy::disallowed_methods, reason = "this program again, inside")]
    let child = std::process::Command::new("/proc/self/exe").args(["probe", "--inside"]).output()?;
    Ok(serde_json::from_slice(&child.stdout)?)
}

/// Enters a sandbox as a playground does. Without one, the tries still touch only network namespaces of their own.
#[cfg(feature = "playground")]
fn enter() -> Option<String> {
    crate::playground::enter_sandbox().err().map(|error| error.to_string())
}

#[cfg(not(feature = "playground"))]
fn enter() -> Option<String> {
    Some("this build of squall has no playground".to_owned())
}

/// Makes a table that belongs to its socket, and reads it back.
fn table() -> std::result::Result<(), String> {
    let plan = TablePlan {
        family: Family::Inet,
        name: "squall-probe".to_owned(),
        owned: true,
        userdata: Vec::new(),
        sets: Vec::new(),
        chains: Vec::new(),
    };
    let namespace = NetNs::scratch().map_err(|error| error_chain(&error))?;
    let mut socket = namespace.socket(Protocol::Netfilter).map_err(|error| error_chain(&error))?;
    nft::install(&mut socket, &plan).map_err(|error| error_chain(&error))?;
    let tables = nft::list_tables(&mut socket).map_err(|error| error_chain(&error))?;
    if tables.iter().any(|table| table.name == plan.name && table.owner.is_some()) {
        Ok(())
    } else {
        Err("the kernel took the table but does not show it".to_owned())
    }
}

fn netem() -> std::result::Result<Netem, String> {
    let support = tc::probe().map_err(|error| error_chain(&error))?;
    Ok(Netem { netem: support.netem, prio: support.prio })
}

fn queue() -> std::result::Result<Option<Flavour>, String> {
    let flavour = nft::probe_queue().map_err(|error| error_chain(&error))?;
    Ok(flavour.map(|flavour| match flavour {
        QueueFlavour::Native => Flavour::Native,
        QueueFlavour::Compat => Flavour::Compat,
    }))
}
