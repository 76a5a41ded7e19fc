//! The kernel of one node, as far as the engine sees it: a network for each pod, at most one table of
//! ours in each, gone with the process that owns it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use squall::daemon::kernel::{Before, FaultError, Kernel};
use squall::network::plan::NetworkPlan;

/// How a kernel can fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It does not.
    #[default]
    None,
    /// Changes are refused and nothing is changed.
    Refusing,
    /// Changes are made, and then cannot be read back.
    Unreadable,
}

impl Trouble {
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::None, Self::Refusing, Self::Unreadable];
}

/// A handle on it: one for the engine, one for the looker-on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Networks(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    /// The network that each pod has now, by the pod's UID.
    pods: BTreeMap<String, u64>,
    /// The network that the daemon has open for a pod.
    open: BTreeMap<String, u64>,
    tables: BTreeMap<u64, NetworkPlan>,
    made: u64,
    trouble: Trouble,
}

impl Networks {
    /// The pod gets a network, or another one.
    pub(crate) fn renew(&self, pod: &str) {
        self.remove(pod);
        let mut state = self.0.borrow_mut();
        state.made += 1;
        let network = state.made;
        state.pods.insert(pod.to_owned(), network);
    }

    /// The pod goes, and what is in its network with it.
    pub(crate) fn remove(&self, pod: &str) {
        let mut state = self.0.borrow_mut();
        if let Some(network) = state.pods.remove(pod) {
            state.tables.remove(&network);
        }
    }

    /// The process that owns the tables ends.
    pub(crate) fn owner_died(&self) {
        let mut state = self.0.borrow_mut();
        state.tables.clear();
        state.open.clear();
    }

    pub(crate) fn set_trouble(&self, trouble: Trouble) {
        self.0.borrow_mut().trouble = trouble;
    }

    pub(crate) fn trouble(&self) -> Trouble {
        self.0.borrow().trouble
    }

    /// Whose faults the kernel lists, by the pod's UID.
    pub(crate) fn faults(&self) -> BTreeMap<String, BTreeSet<String>> {
        let state = self.0.borrow();
        let listed = |network: &u64| Some(state.tables.get(network)?.labels().map(str::to_owned).collect());
        state.pods.iter().filter_map(|(pod, network)| Some((pod.clone(), listed(network)?))).collect()
    }

    pub(crate) fn is_clear(&self) -> bool {
        self.0.borrow().tables.is_empty()
    }
}

impl State {
    /// As the real one: the namespace is looked up on each call, and the socket of one that the pod has
    /// left is closed.
    fn enter(&mut self, pod: &str) -> Option<u64> {
        let Some(network) = self.pods.get(pod).copied() else {
            self.open.remove(pod);
            return None;
        };
        self.open.insert(pod.to_owned(), network);
        Some(network)
    }

    fn existing(&mut self, pod: &str) -> Result<u64, FaultError> {
        self.enter(pod).ok_or_else(|| FaultError::NoProcess { pod: pod.to_owned() })
    }
}

impl Kernel for Networks {
    fn observe(&mut self, pod: &str) -> Result<Before, FaultError> {
        self.0.borrow_mut().existing(pod).map(|_| Before::default())
    }

    fn set_network(&mut self, pod: &str, plan: Option<&NetworkPlan>) -> Result<String, FaultError> {
        let state = &mut *self.0.borrow_mut();
        if state.trouble == Trouble::Refusing {
            return Err(FaultError::Kernel { operation: "simulated", source: "refused".into() });
        }
        match plan {
            Some(plan) => {
                let network = state.existing(pod)?;
                state.tables.insert(network, plan.clone());
            }
            None => {
                if let Some(network) = state.enter(pod) {
                    state.tables.remove(&network);
                }
            }
        }
        if state.trouble == Trouble::Unreadable {
            return Err(FaultError::NotReadBack("simulated".to_owned()));
        }
        Ok("read back".to_owned())
    }

    fn kill(&mut self, _pod: &str, container: &str) -> Result<String, FaultError> {
        Ok(format!("{container} ended"))
    }

    fn compare(&mut self, pod: &str, _before: &Before) -> Result<(), FaultError> {
        self.0.borrow_mut().open.remove(pod);
        Ok(())
    }

    fn verify(&mut self, pod: &str, plan: &NetworkPlan) -> Result<(), FaultError> {
        let state = &mut *self.0.borrow_mut();
        let known = state.open.get(pod).copied();
        let network = state.existing(pod)?;
        if known != Some(network) {
            return Err(FaultError::NotReadBack("the pod has a new network".to_owned()));
        }
        if state.trouble == Trouble::Unreadable || state.tables.get(&network) != Some(plan) {
            return Err(FaultError::NotReadBack("no table".to_owned()));
        }
        Ok(())
    }
}
