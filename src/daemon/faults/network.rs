//! Network faults of pods: enter the pod's namespace once, swap its table in and read it back.
//!
//! The socket that made a table owns it and stays open as long as the table should: when this process
//! dies, however it dies, the kernel removes the tables.

use std::collections::HashMap;

use super::containers;
use crate::daemon::kernel::{Before, FaultError, Kernel};
use crate::daemon::sys::fingerprint::Fingerprint;
use crate::daemon::sys::netlink::{Protocol, Socket};
use crate::daemon::sys::netns::{NetNs, NetNsError, NetNsId};
use crate::daemon::sys::nft::{self, TableState};
use crate::daemon::sys::proc::{self, Finder};
use crate::network::layout::{self, Backends, TABLE};
use crate::network::plan::NetworkPlan;
use crate::network::table::{Family, TablePlan};

/// The networks of this node's pods.
#[derive(Debug)]
pub struct PodNetworks {
    finder: Finder,
    open: HashMap<String, PodNetwork>,
}

/// One pod's network, open.
#[derive(Debug)]
struct PodNetwork {
    id: NetNsId,
    netfilter: Socket,
    route: Socket,
}

impl PodNetworks {
    /// Finds pods' processes in the given way.
    pub fn new(finder: Finder) -> Self {
        Self { finder, open: HashMap::new() }
    }

    /// The namespace that the pod has now; `None` if it has no process here.
    fn namespace(&self, pod: &str) -> Result<Option<NetNs>, FaultError> {
        let processes = proc::find(self.finder, pod, None)
            .map_err(|source| kernel("looking for the pod's processes", source))?;
        for process in processes {
            match NetNs::of_pid(process.pid) {
                // The number may have passed to another process since it was found.
                Ok(namespace) if proc::start_time(process.pid).ok() == Some(process.start_time) => {
                    return Ok(Some(namespace));
                }
                Err(NetNsError::Own { .. }) => return Err(FaultError::HostNetwork { pod: pod.to_owned() }),
                Ok(_) | Err(NetNsError::Open { .. }) => {}
                Err(error) => return Err(kernel("opening the pod's network namespace", error)),
            }
        }
        Ok(None)
    }

    /// The pod's network, opened if it is not or if the pod has another one by now. Nothing of a namespace
    /// that its pod left is worth keeping: closing its socket removes our table from it.
    fn enter(&mut self, pod: &str) -> Result<Option<&mut PodNetwork>, FaultError> {
        let Some(namespace) = self.namespace(pod)? else {
            self.open.remove(pod);
            return Ok(None);
        };
        if self.open.get(pod).is_none_or(|network| network.id != namespace.id()) {
            let socket = |protocol| {
                namespace
                    .socket(protocol)
                    .map_err(|error| kernel("entering the pod's network namespace", error))
            };
            let network = PodNetwork {
                id: namespace.id(),
                netfilter: socket(Protocol::Netfilter)?,
                route: socket(Protocol::Route)?,
            };
            self.open.insert(pod.to_owned(), network);
        }
        Ok(self.open.get_mut(pod))
    }

    fn existing(&mut self, pod: &str) -> Result<&mut PodNetwork, FaultError> {
        self.enter(pod)?.ok_or_else(|| FaultError::NoProcess { pod: pod.to_owned() })
    }
}

impl PodNetwork {
    fn install(&mut self, plan: &TablePlan) -> Result<String, FaultError> {
        nft::install(&mut self.netfilter, plan).map_err(|error| kernel("installing the table", error))?;
        // From here on the table may be there, whatever comes back.
        let state = self.read_back().map_err(|error| FaultError::NotReadBack(error.chain()))?;
        let state = state.ok_or_else(|| FaultError::NotReadBack("no table".to_owned()))?;
        state.matches(plan).map_err(|difference| FaultError::NotReadBack(difference.to_string()))?;
        Ok(evidence(plan))
    }

    fn remove(&mut self) -> Result<String, FaultError> {
        nft::remove(&mut self.netfilter, Family::Inet, TABLE)
            .map_err(|error| kernel("removing the table", error))?;
        match self.read_back()? {
            None => Ok("no table of ours is listed".to_owned()),
            Some(_) => Err(FaultError::NotReadBack("the table is still there".to_owned())),
        }
    }

    fn read_back(&mut self) -> Result<Option<TableState>, FaultError> {
        nft::read_back(&mut self.netfilter, Family::Inet, TABLE)
            .map_err(|error| kernel("reading the table back", error))
    }

    fn fingerprint(&mut self) -> Result<Before, FaultError> {
        Fingerprint::take(&mut self.route, &mut self.netfilter)
            .map_err(|error| kernel("listing what is on the pod's network", error))
    }
}

impl Kernel for PodNetworks {
    fn observe(&mut self, pod: &str) -> Result<Before, FaultError> {
        self.existing(pod)?.fingerprint()
    }

    fn set_network(&mut self, pod: &str, plan: Option<&NetworkPlan>) -> Result<String, FaultError> {
        match plan {
            Some(plan) => {
                let layout = layout::layout(plan, Backends::default()).map_err(|e| kernel("planning", e))?;
                self.existing(pod)?.install(&layout.table)
            }
            None => match self.enter(pod)? {
                Some(network) => network.remove(),
                None => Ok("the pod has no process here any more, and no network".to_owned()),
            },
        }
    }

    fn kill(&mut self, pod: &str, container: &str) -> Result<String, FaultError> {
        containers::kill(self.finder, pod, container)
    }

    fn compare(&mut self, pod: &str, before: &Before) -> Result<(), FaultError> {
        let Some(network) = self.enter(pod)? else { return Ok(()) };
        let after = network.fingerprint()?;
        // The last word on this pod; what is closed here holds no table.
        self.open.remove(pod);
        before.difference(&after).map_or(Ok(()), |difference| Err(FaultError::LeftBehind(difference)))
    }

    fn verify(&mut self, pod: &str, plan: &NetworkPlan) -> Result<(), FaultError> {
        let known = self.open.get(pod).map(|network| network.id);
        let network = self.existing(pod)?;
        if known != Some(network.id) {
            return Err(FaultError::NotReadBack("the pod has a new network".to_owned()));
        }
        let state = network.read_back()?.ok_or_else(|| FaultError::NotReadBack("no table".to_owned()))?;
        let layout = layout::layout(plan, Backends::default()).map_err(|e| kernel("planning", e))?;
        state.matches(&layout.table).map_err(|difference| FaultError::NotReadBack(difference.to_string()))
    }
}

fn kernel(
    operation: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> FaultError {
    FaultError::Kernel { operation, source: source.into() }
}

/// What was found in the kernel's listing, in a line.
fn evidence(plan: &TablePlan) -> String {
    let rules: usize = plan.chains.iter().map(|chain| chain.rules.len()).sum();
    let addresses: usize = plan.sets.iter().map(|set| set.networks.len()).sum();
    format!("nf_tables lists table inet {TABLE}: rules {rules}, addresses {addresses}")
}
