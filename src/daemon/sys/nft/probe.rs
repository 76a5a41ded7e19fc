//! What this kernel's `nf_tables` can do, tried in a network namespace where nothing can be harmed.

use std::error::Error;

use super::super::netlink::{Protocol, Socket};
use super::super::netns::{NetNs, NetNsError};
use super::super::nfqueue::Queue;
use super::{install, read_back};
use crate::network::table::{
    Action, Chain, ChainKind, Family, Hook, NAME_PREFIX, QueueFlavour, Rule, TablePlan,
};

/// The queue that is tried.
const NUMBER: u16 = 1;

/// How packets get from `nf_tables` to a queue here; nothing if there is no way. The expression is tried before the
/// target of iptables.
///
/// The kernel may load modules for it: `nfnetlink_queue`, and `nft_queue` or `nft_compat` and `xt_NFQUEUE`.
pub fn probe_queue() -> Result<Option<QueueFlavour>, NetNsError> {
    let namespace = NetNs::scratch()?;
    if let Err(error) = namespace.run_in(|| Queue::bind(NUMBER))? {
        tracing::debug!(error = &error as &dyn Error, "no queue can be bound");
        return Ok(None);
    }
    for flavour in [QueueFlavour::Native, QueueFlavour::Compat] {
        // A socket for each: what a refused transaction left in one must not be read as the next one's answer.
        let mut socket = namespace.socket(Protocol::Netfilter)?;
        if leads_to_queue(&mut socket, flavour) {
            return Ok(Some(flavour));
        }
    }
    Ok(None)
}

fn leads_to_queue(socket: &mut Socket, flavour: QueueFlavour) -> bool {
    let plan = plan(flavour);
    let tried =
        install(socket, &plan).and_then(|()| read_back(socket, plan.family, &plan.name)).map_err(|error| {
            tracing::debug!(?flavour, error = &error as &dyn Error, "no rule leads to a queue");
        });
    matches!(tried, Ok(Some(state)) if state.matches(&plan).is_ok())
}

fn plan(flavour: QueueFlavour) -> TablePlan {
    let action = Action::Queue { number: NUMBER, flavour };
    TablePlan {
        family: Family::Inet,
        name: format!("{NAME_PREFIX}probe"),
        owned: true,
        userdata: Vec::new(),
        sets: Vec::new(),
        chains: vec![Chain {
            name: "probe".to_owned(),
            kind: ChainKind::Filter,
            hook: Hook::Postrouting,
            priority: 300,
            rules: vec![Rule { matches: Vec::new(), action, counter: false, comment: None }],
        }],
    }
}
