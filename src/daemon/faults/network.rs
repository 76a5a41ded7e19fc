//! Network faults of pods: enter the pod's namespace once, swap its table in and read it back, with what shapes the
//! packets that the table tells apart.
//!
//! The socket that made a table owns it and stays open as long as the table should: when this process
//! dies, however it dies, the kernel removes the tables.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::containers;
use super::rights;
use super::shaping::{Place, Shaped, Shapers};
use crate::capabilities::Buys;
use crate::daemon::kernel::{Before, FaultError, Kernel, Queue};
use crate::daemon::shaper::{Counts, Drained};
use crate::daemon::sys::close::close_aside;
use crate::daemon::sys::fingerprint::Fingerprint;
use crate::daemon::sys::netlink::Socket;
use crate::daemon::sys::netns::{NetNs, NetNsError};
use crate::daemon::sys::nft::{self, TableState};
use crate::daemon::sys::proc::{self, Finder, PidFd, Sighting};
use crate::daemon::sys::tc;
use crate::network::layout::{self, Layout, LayoutError, TABLE};
use crate::network::plan::NetworkPlan;
use crate::network::table::Family;

/// What is done when the kernel lists a pod's network.
pub(super) const LISTING: &str = "listing what is on the pod's network";

/// The networks of this node's pods.
#[derive(Debug)]
pub struct PodNetworks {
    finder: Finder,
    open: HashMap<String, PodNetwork>,
    /// A process of each pod of this node, by the pod's UID, of the last look at all processes.
    seen: HashMap<String, Sighting>,
    shapers: Shapers,
}

/// One pod's network, open.
#[derive(Debug)]
struct PodNetwork {
    /// The process of the pod that it was found by.
    holder: Holder,
    namespace: NetNs,
    netfilter: Socket,
    route: Socket,
    /// What was installed last.
    layout: Option<Layout>,
    shaped: Shaped,
}

/// A process in a pod's network, held so that its number means no other one.
#[derive(Debug)]
struct Holder {
    pid: u32,
    descriptor: PidFd,
}

impl Holder {
    /// Nothing if there is no such process.
    fn take(pid: u32) -> Option<Self> {
        PidFd::open(pid).ok().map(|descriptor| Self { pid, descriptor })
    }

    fn runs(&self) -> bool {
        !self.descriptor.wait(Duration::ZERO).unwrap_or(true)
    }
}

impl PodNetworks {
    /// Finds pods' processes in the given way. `folder` is where the guardian's lock lives; `ended` becomes true when a
    /// helper process ends by itself, and what it did with it.
    pub fn new(finder: Finder, folder: PathBuf, ended: Arc<AtomicBool>) -> Self {
        Self { finder, open: HashMap::new(), seen: HashMap::new(), shapers: Shapers::new(folder, ended) }
    }

    /// The namespace that the pod has now, and a process that is in it; `None` if it has no process here.
    fn namespace(&mut self, pod: &str) -> Result<Option<(Holder, NetNs)>, FaultError> {
        // To look for a pod's processes takes a look at all of the node: what it shows of other pods is kept for them.
        if let Some(found) = self.seen_in(pod)? {
            return Ok(Some(found));
        }
        let looking = |source| kernel("looking for the pod's processes", source);
        self.seen = proc::look_around(self.finder).map_err(looking)?;
        if !self.seen.contains_key(pod) {
            return Ok(None);
        }
        if let Some(found) = self.seen_in(pod)? {
            return Ok(Some(found));
        }
        // The first one is about to end, or ended meanwhile.
        for process in proc::find(self.finder, pod, None).map_err(looking)? {
            refuse_own_kernel(pod, process.pid, &process.container_id)?;
            let holder = Holder::take(process.pid);
            let is_same = |_: &Holder| proc::start_time(process.pid).ok() == Some(process.start_time);
            if let Some(holder) = holder.filter(is_same)
                && let Some(namespace) = namespace_of(pod, &holder)?
            {
                return Ok(Some((holder, namespace)));
            }
        }
        Ok(None)
    }

    /// The same by the process of the pod that was seen last, if that still runs in it.
    fn seen_in(&self, pod: &str) -> Result<Option<(Holder, NetNs)>, FaultError> {
        let Some(seen) = self.seen.get(pod) else { return Ok(None) };
        let holder = Holder::take(seen.pid());
        let Some(holder) = holder.filter(|_| seen.is_still_of(self.finder, pod)) else { return Ok(None) };
        refuse_own_kernel(pod, seen.pid(), seen.container_id())?;
        Ok(namespace_of(pod, &holder)?.map(|namespace| (holder, namespace)))
    }

    /// The pod's network, opened if it is not or if the pod has another one by now. Nothing of a namespace
    /// that its pod left is worth keeping: closing its socket removes our table from it.
    fn enter(&mut self, pod: &str) -> Result<Option<&mut PodNetwork>, FaultError> {
        if self.open.get(pod).is_some_and(PodNetwork::is_the_pods) {
            return Ok(self.open.get_mut(pod));
        }
        let Some((holder, namespace)) = self.namespace(pod)? else {
            self.forget(pod);
            return Ok(None);
        };
        if self.open.get(pod).is_some_and(|network| network.namespace.id() != namespace.id()) {
            self.forget(pod);
        }
        if let Some(network) = self.open.get_mut(pod) {
            network.holder = holder;
        } else {
            let (netfilter, route) =
                namespace.sockets().map_err(|error| kernel("entering the pod's network namespace", error))?;
            let shaped = Shaped::default();
            let network = PodNetwork { holder, namespace, netfilter, route, layout: None, shaped };
            self.open.insert(pod.to_owned(), network);
        }
        Ok(self.open.get_mut(pod))
    }

    /// Lets go of a network that its pod has left: what helpers hold of it would keep it alive.
    fn forget(&mut self, pod: &str) {
        if let Some(network) = self.open.remove(pod) {
            network.shaped.forget(pod, network.namespace.id(), &mut self.shapers);
        }
    }

    fn existing(&mut self, pod: &str) -> Result<&mut PodNetwork, FaultError> {
        self.enter(pod)?.ok_or_else(|| FaultError::NoProcess { pod: pod.to_owned() })
    }
}

impl PodNetwork {
    /// Whether the process that it was found by still runs, and in this namespace.
    fn is_the_pods(&self) -> bool {
        self.namespace.is_of_pid(self.holder.pid) && self.holder.runs()
    }

    fn install(
        &mut self,
        pod: &str,
        layout: Layout,
        before: Option<&Before>,
        shapers: &mut Shapers,
    ) -> Result<String, FaultError> {
        let Self { namespace, netfilter, route, shaped, .. } = self;
        let mut place = Place { pod, namespace, route };
        // Once something has been changed it may be there, whatever comes back.
        let unread = |error: FaultError| FaultError::NotReadBack(error.chain());
        let prepared = shaped.prepare(&mut place, &layout, before, shapers).and_then(|()| {
            nft::install(netfilter, &layout.table).map_err(|error| kernel("installing the table", error))
        });
        prepared.map_err(|error| if shaped.is_anything() { unread(error) } else { error })?;
        let drained = shaped.finish(&mut place, &layout, before, shapers).map_err(unread)?;
        let evidence = evidence(&layout, shaped, drained);
        self.layout = Some(layout);
        self.verify(shapers).map_err(unread)?;
        Ok(evidence)
    }

    /// Rules go first, then what they lead to, then the chains: the kernel drops what waits in queues when a chain
    /// goes.
    fn remove(
        &mut self,
        pod: &str,
        before: Option<&Before>,
        shapers: &mut Shapers,
    ) -> Result<String, FaultError> {
        let Self { namespace, netfilter, route, layout, shaped, .. } = self;
        if let Some(layout) = layout.take().filter(|_| shaped.has_queues()) {
            nft::install(netfilter, &layout.without_queues())
                .map_err(|error| kernel("removing the rules", error))?;
        }
        let mut place = Place { pod, namespace, route };
        let drained = shaped.remove(&mut place, before, shapers)?;
        nft::remove(netfilter, Family::Inet, TABLE).map_err(|error| kernel("removing the table", error))?;
        match self.read_back()? {
            None => Ok(with_drained("no table of ours is listed".to_owned(), drained)),
            Some(_) => Err(FaultError::NotReadBack("the table is still there".to_owned())),
        }
    }

    /// Compares what the kernel lists with what was installed.
    fn verify(&mut self, shapers: &mut Shapers) -> Result<(), FaultError> {
        let state = self.read_back()?.ok_or_else(|| FaultError::NotReadBack("no table".to_owned()))?;
        let Some(layout) = &self.layout else {
            return Err(FaultError::NotReadBack("nothing was installed".to_owned()));
        };
        state.matches(&layout.table).map_err(|difference| FaultError::NotReadBack(difference.to_string()))?;
        self.shaped.verify(&mut self.route, shapers)
    }

    fn read_back(&mut self) -> Result<Option<TableState>, FaultError> {
        nft::read_back(&mut self.netfilter, Family::Inet, TABLE)
            .map_err(|error| kernel("reading the table back", error))
    }

    fn fingerprint(&mut self) -> Result<Fingerprint, FaultError> {
        Fingerprint::take(&mut self.route, &mut self.netfilter).map_err(|error| kernel(LISTING, error))
    }
}

impl Kernel for PodNetworks {
    fn observe(&mut self, pod: &str) -> Result<Before, FaultError> {
        let network = self.existing(pod)?;
        let (qdiscs, roots) = tc::observe(&mut network.route).map_err(|error| kernel(LISTING, error))?;
        let fingerprint = Fingerprint::with_qdiscs(&qdiscs, &mut network.netfilter)
            .map_err(|error| kernel(LISTING, error))?;
        Ok(Before { fingerprint, roots })
    }

    fn set_network(
        &mut self,
        pod: &str,
        plan: Option<&NetworkPlan>,
        before: Option<&Before>,
    ) -> Result<String, FaultError> {
        let layout = match plan {
            Some(plan) => {
                Some(layout::layout(plan, self.shapers.backends(plan)?).map_err(|error| impossible(&error))?)
            }
            None => None,
        };
        let entered = self.enter(pod)?.is_some();
        let Self { open, shapers, .. } = self;
        match (open.get_mut(pod).filter(|_| entered), layout) {
            (Some(network), Some(layout)) => network.install(pod, layout, before, shapers),
            (Some(network), None) => network.remove(pod, before, shapers),
            (None, Some(_)) => Err(FaultError::NoProcess { pod: pod.to_owned() }),
            (None, None) => Ok("the pod has no process here any more, and no network".to_owned()),
        }
    }

    fn kill(&mut self, pod: &str, container: &str) -> Result<String, FaultError> {
        containers::kill(self.finder, pod, container)
    }

    fn compare(&mut self, pod: &str, before: &Before) -> Result<(), FaultError> {
        let Some(network) = self.enter(pod)? else { return Ok(()) };
        let after = network.fingerprint()?;
        // The last word on this pod; what is closed here holds no table.
        self.open.remove(pod).into_iter().for_each(close_aside);
        before
            .fingerprint
            .difference(&after)
            .map_or(Ok(()), |difference| Err(FaultError::LeftBehind(difference)))
    }

    fn verify(&mut self, pod: &str, plan: &NetworkPlan) -> Result<(), FaultError> {
        let layout =
            layout::layout(plan, self.shapers.backends(plan)?).map_err(|error| impossible(&error))?;
        let known = self.open.get(pod).map(|network| network.namespace.id());
        let found = self.existing(pod)?.namespace.id();
        let Self { open, shapers, .. } = self;
        match open.get_mut(pod) {
            Some(network) if known == Some(found) && network.layout.as_ref() == Some(&layout) => {
                network.verify(shapers)
            }
            _ => Err(FaultError::NotReadBack("the pod has a new network".to_owned())),
        }
    }

    fn shaped(&mut self) -> Vec<(Queue, Counts)> {
        self.shapers.counts()
    }
}

/// Refuses a pod whose packets another kernel than the node's sees.
pub(super) fn refuse_own_kernel(pod: &str, pid: u32, container_id: &str) -> Result<(), FaultError> {
    match proc::own_kernel(pid, container_id) {
        Some(by) => Err(FaultError::OwnKernel { pod: pod.to_owned(), by }),
        None => Ok(()),
    }
}

/// The network namespace of this process of the pod; nothing if it has ended.
fn namespace_of(pod: &str, holder: &Holder) -> Result<Option<NetNs>, FaultError> {
    match NetNs::of_pid(holder.pid) {
        // It still runs, so that the number was its own.
        Ok(namespace) if holder.runs() => Ok(Some(namespace)),
        Err(NetNsError::Own { .. }) if holder.runs() => Err(FaultError::HostNetwork { pod: pod.to_owned() }),
        Err(error) if is_refused(&error) && holder.runs() => {
            Err(kernel("opening the pod's network namespace", error))
        }
        Ok(_) | Err(NetNsError::Own { .. } | NetNsError::Open { .. }) => Ok(None),
        Err(error) => Err(kernel("opening the pod's network namespace", error)),
    }
}

/// Whether we may not look, which says nothing about the process.
fn is_refused(error: &NetNsError) -> bool {
    matches!(error, NetNsError::Open { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

pub(super) fn kernel(operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> FaultError {
    rights::failed(operation, source.into(), &[Buys::Partition, Buys::Netem, Buys::Shaper])
}

fn impossible(error: &LayoutError) -> FaultError {
    let cure = match error {
        LayoutError::NoBackend { .. } => {
            "load sch_netem, or nfnetlink_queue with nft_queue; squall doctor says what is missing"
        }
        LayoutError::Shaping(_) => "use the same version of Squall everywhere",
        LayoutError::TooMany(_) => "run fewer experiments on this pod at once",
    };
    FaultError::Impossible { what: error.to_string(), cure }
}

/// What was found in the kernel's listing, in a line.
fn evidence(layout: &Layout, shaped: &Shaped, drained: Drained) -> String {
    let rules: usize = layout.table.chains.iter().map(|chain| chain.rules.len()).sum();
    let addresses: usize = layout.table.sets.iter().map(|set| set.networks.len()).sum();
    let table = format!("nf_tables lists table inet {TABLE}: rules {rules}, addresses {addresses}");
    let shaped = shaped.evidence().map(|shaped| format!("{shaped}; ")).unwrap_or_default();
    with_drained(format!("{shaped}{table}"), drained)
}

/// With what became of packets that waited in queues that are no more.
fn with_drained(text: String, drained: Drained) -> String {
    match drained {
        Drained { delivered: 0, dropped: 0 } => text,
        Drained { delivered, dropped } => {
            format!("{text}; of the packets that waited {delivered} were delivered, {dropped} dropped")
        }
    }
}
