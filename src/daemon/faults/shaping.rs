//! What shapes packets on this node: netem where the kernel has it, else queues of the shaper, and the guardian
//! that takes away what would outlive this process.
//!
//! All of it is tried and started when it is first needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::network::{LISTING, kernel};
use crate::daemon::guardian::Guardian;
use crate::daemon::kernel::{Before, FaultError, Queue as PodQueue};
use crate::daemon::shaper::{Counts, Direction, Drained, QueueSpec, Shaper};
use crate::daemon::sys::netlink::Socket;
use crate::daemon::sys::netns::{NetNs, NetNsId};
use crate::daemon::sys::nft;
use crate::daemon::sys::tc::{self, Root};
use crate::network::layout::{Backends, Layout, Queue};
use crate::network::plan::{NetworkPlan, Side};
use crate::network::qdisc::QdiscTree;

/// See the module.
#[derive(Debug)]
pub(super) struct Shapers {
    folder: PathBuf,
    ended: Arc<AtomicBool>,
    backends: Option<Backends>,
    shaper: Option<Shaper>,
    guardian: Option<Guardian>,
}

/// What shapes the packets of one pod.
#[derive(Debug, Default)]
pub(super) struct Shaped {
    /// Trees by the index of their interface, with its name.
    trees: BTreeMap<u32, (String, QdiscTree)>,
    queues: Vec<Queue>,
    /// The shaper process that serves the queues.
    shaper: Option<u32>,
    /// Whether this process has changed something here: else all that is there is of a process before it.
    prepared: bool,
}

impl Shapers {
    /// Nothing is started yet. `folder` is where the guardian's lock lives; `ended` becomes true when a helper ends
    /// by itself.
    pub(super) const fn new(folder: PathBuf, ended: Arc<AtomicBool>) -> Self {
        Self { folder, ended, backends: None, shaper: None, guardian: None }
    }

    /// What the kernel has for a plan. It is tried once, and only for a plan that needs it.
    pub(super) fn backends(&mut self, plan: &NetworkPlan) -> Result<Backends, FaultError> {
        if let Some(backends) = self.backends {
            return Ok(backends);
        }
        if !plan.shapes() {
            return Ok(Backends::default());
        }
        let support = tc::probe().map_err(|error| kernel("trying what the kernel can shape with", error))?;
        let queue =
            nft::probe_queue().map_err(|error| kernel("trying what the kernel can shape with", error))?;
        let backends = Backends { netem: support.is_complete(), queue };
        tracing::info!(netem = backends.netem, queue = ?backends.queue, "what this kernel can shape with");
        Ok(*self.backends.insert(backends))
    }

    /// The shaper, started anew if it is not there or has ended.
    fn shaper(&mut self) -> Result<&mut Shaper, FaultError> {
        if self.shaper.as_ref().is_none_or(|shaper| !shaper.is_alive()) {
            let ended = Arc::clone(&self.ended);
            let started = Shaper::start(move || ended.store(true, Ordering::Release));
            self.shaper = Some(started.map_err(|error| kernel("starting the shaper", error))?);
        }
        self.shaper.as_mut().ok_or_else(|| FaultError::NotReadBack("the shaper is gone".to_owned()))
    }

    fn guardian(&mut self) -> Result<&mut Guardian, FaultError> {
        if self.guardian.is_none() {
            let ended = Arc::clone(&self.ended);
            let started = Guardian::start(&self.folder, move || ended.store(true, Ordering::Release));
            self.guardian = Some(started.map_err(|error| kernel("starting the guardian", error))?);
        }
        self.guardian.as_mut().ok_or_else(|| FaultError::NotReadBack("the guardian is gone".to_owned()))
    }

    /// What the queues of all pods did so far; nothing of a shaper that does not run.
    pub(super) fn counts(&mut self) -> Vec<(PodQueue, Counts)> {
        let Some(shaper) = self.shaper.as_mut().filter(|shaper| shaper.is_alive()) else { return Vec::new() };
        let mut all = Vec::new();
        for pod in shaper.pods() {
            // One that has just ended is started anew by whoever needs it.
            let counts = shaper.counts(&pod).unwrap_or_default();
            all.extend(counts.into_iter().map(|(number, counts)| ((pod.clone(), number), counts)));
        }
        all
    }

    /// The number of the shaper process, while it runs.
    fn running(&self) -> Option<u32> {
        self.shaper.as_ref().filter(|shaper| shaper.is_alive()).map(Shaper::id)
    }
}

/// A pod's network namespace, as shaping needs it.
pub(super) struct Place<'a> {
    pub(super) pod: &'a str,
    pub(super) namespace: &'a NetNs,
    pub(super) route: &'a mut Socket,
}

impl Shaped {
    /// Whether packets may wait in queues.
    pub(super) fn has_queues(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Whether something of it is, or may be, in the kernel.
    pub(super) fn is_anything(&self) -> bool {
        !self.trees.is_empty() || self.has_queues()
    }

    /// Before the table changes: everything that the old or the new rules lead to is there, as the new layout wants
    /// it.
    pub(super) fn prepare(
        &mut self,
        place: &mut Place<'_>,
        layout: &Layout,
        before: Option<&Before>,
        shapers: &mut Shapers,
    ) -> Result<(), FaultError> {
        self.prepared = true;
        for (device, tree) in &layout.qdiscs {
            let index = interface(place.route, device)?;
            let root = root_before(before, index);
            shapers
                .guardian()?
                .guard(place.namespace, index, &root)
                .map_err(|error| kernel("handing the interface to the guardian", error))?;
            let mut all = tree.clone();
            let old = self.trees.get(&index).map(|(_, tree)| tree);
            for (band, netem) in old.into_iter().flat_map(|tree| &tree.bands) {
                all.bands.entry(*band).or_insert(*netem);
            }
            tc::install(place.route, index, &all).map_err(refused)?;
            self.trees.insert(index, (device.clone(), all));
        }
        if !layout.queues.is_empty() {
            let mut all = layout.queues.clone();
            let is_new = |queue: &&Queue| layout.queues.iter().all(|new| new.number != queue.number);
            all.extend(self.queues.iter().filter(is_new).cloned());
            self.serve(place, &all, shapers)?;
        }
        Ok(())
    }

    /// After the table changed: what no rule leads to any more goes. Gives what became of packets that waited there.
    pub(super) fn finish(
        &mut self,
        place: &mut Place<'_>,
        layout: &Layout,
        before: Option<&Before>,
        shapers: &mut Shapers,
    ) -> Result<Drained, FaultError> {
        let known: Vec<_> = self.trees.iter().map(|(index, (device, _))| (*index, device.clone())).collect();
        let mut dropped = 0;
        for (index, device) in known {
            match layout.qdiscs.get(&device) {
                Some(tree) => {
                    tc::install(place.route, index, tree).map_err(refused)?;
                    self.trees.insert(index, (device, tree.clone()));
                }
                None => dropped += self.remove_tree(place, index, before, shapers)?,
            }
        }
        let drained = if layout.queues == self.queues {
            Drained::default()
        } else {
            self.serve(place, &layout.queues, shapers)?
        };
        Ok(Drained { dropped: drained.dropped + dropped, ..drained })
    }

    fn serve(
        &mut self,
        place: &Place<'_>,
        queues: &[Queue],
        shapers: &mut Shapers,
    ) -> Result<Drained, FaultError> {
        // A shaper that is gone holds nothing any more, and none is started to hold nothing.
        if queues.is_empty() && (self.shaper.is_none() || shapers.running() != self.shaper) {
            (self.queues, self.shaper) = (Vec::new(), None);
            return Ok(Drained::default());
        }
        let specs: Vec<_> = queues.iter().map(spec).collect();
        let shaper = shapers.shaper()?;
        let drained = shaper
            .serve(place.pod, place.namespace, &specs)
            .map_err(|error| kernel("handing queues to the shaper", error))?;
        self.shaper = Some(shaper.id());
        self.queues = queues.to_vec();
        Ok(drained)
    }

    /// Gives how many packets waited there: they are gone with it.
    fn remove_tree(
        &mut self,
        place: &mut Place<'_>,
        index: u32,
        before: Option<&Before>,
        shapers: &mut Shapers,
    ) -> Result<u64, FaultError> {
        let state = tc::read_back(place.route, index)
            .map_err(|error| kernel("reading the queueing disciplines back", error))?;
        let bands = state.iter().flat_map(|state| state.bands.values());
        let waiting = bands.map(|band| u64::from(band.statistics.waiting)).sum();
        tc::remove(place.route, index, &root_before(before, index))
            .map_err(|error| kernel("removing the queueing disciplines", error))?;
        self.trees.remove(&index);
        if let Some(guardian) = &mut shapers.guardian {
            guardian.release(place.namespace.id(), index);
        }
        Ok(waiting)
    }

    /// Everything goes, also what a process before this one left. Called when no rule leads to a queue any more; gives
    /// what became of packets that waited.
    pub(super) fn remove(
        &mut self,
        place: &mut Place<'_>,
        before: Option<&Before>,
        shapers: &mut Shapers,
    ) -> Result<Drained, FaultError> {
        let left = tc::ours(place.route).map_err(|error| kernel(LISTING, error))?;
        let mut all: BTreeSet<u32> = left.into_iter().chain(self.trees.keys().copied()).collect();
        if !self.prepared {
            // Who took a tree away may have been killed before it put back what had stood there.
            let roots = before.into_iter().flat_map(|before| &before.roots);
            let replaced = roots.filter(|(_, root)| matches!(root, Root::Classless { .. }));
            all.extend(replaced.map(|(index, _)| *index));
        }
        let mut dropped = 0;
        for index in all {
            dropped += self.remove_tree(place, index, before, shapers)?;
        }
        let drained = self.serve(place, &[], shapers)?;
        Ok(Drained { dropped: drained.dropped + dropped, ..drained })
    }

    /// The pod has left this network: whatever shaped its packets goes with it.
    pub(super) fn forget(self, pod: &str, namespace: NetNsId, shapers: &mut Shapers) {
        if let Some(guardian) = &mut shapers.guardian {
            self.trees.keys().for_each(|index| guardian.release(namespace, *index));
        }
        if let Some(shaper) = shapers.shaper.as_mut().filter(|_| self.has_queues())
            && let Err(error) = shaper.release(pod)
        {
            tracing::warn!(
                pod,
                error = &error as &dyn std::error::Error,
                "the shaper did not let go of a pod"
            );
        }
    }

    /// Reads back that everything is there.
    pub(super) fn verify(&self, route: &mut Socket, shapers: &mut Shapers) -> Result<(), FaultError> {
        for (index, (device, tree)) in &self.trees {
            let state = tc::read_back(route, *index)
                .map_err(|error| kernel("reading the queueing disciplines back", error))?;
            let state =
                state.ok_or_else(|| FaultError::NotReadBack(format!("no tree of ours on {device}")))?;
            state.matches(tree).map_err(|difference| FaultError::NotReadBack(difference.to_string()))?;
        }
        if !self.trees.is_empty() && !shapers.guardian.as_mut().is_some_and(Guardian::is_alive) {
            return Err(FaultError::NotReadBack(
                "the guardian of the queueing disciplines is gone".to_owned(),
            ));
        }
        if self.has_queues() && shapers.running() != self.shaper {
            return Err(FaultError::NotReadBack("the shaper that served the queues is gone".to_owned()));
        }
        Ok(())
    }

    /// What was found, in a few words; nothing if nothing is shaped.
    pub(super) fn evidence(&self) -> Option<String> {
        let of_tree = |(device, tree): &(String, QdiscTree)| {
            let bands =
                tree.bands.iter().map(|(band, netem)| format!("{netem}: netem in band {band} of {device}"));
            bands.collect::<Vec<_>>()
        };
        let mut parts: Vec<String> = self.trees.values().flat_map(of_tree).collect();
        parts.extend(self.queues.iter().map(|queue| {
            let side = if queue.side == Side::Egress { "out" } else { "in" };
            let Queue { number, netem, .. } = queue;
            format!("{netem}: shaper, queue {number} {side} (100,000 packets/s a core at most)")
        }));
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// What is put back on an interface. A tree that a process before us left hides what was there before it.
fn root_before(before: Option<&Before>, index: u32) -> Root {
    match before.and_then(|before| before.roots.get(&index)) {
        None | Some(Root::Ours) => Root::Default,
        Some(root) => root.clone(),
    }
}

fn interface(route: &mut Socket, device: &str) -> Result<u32, FaultError> {
    let found = tc::interface(route, device).map_err(|error| kernel("looking for the interface", error))?;
    found.map(|interface| interface.index).ok_or_else(|| FaultError::Impossible {
        what: format!("the pod has no interface {device}"),
        cure: "write the name of one in spec.device or spec.targetDevice",
    })
}

/// What stands in the way belongs to somebody else, or the kernel refused.
fn refused(error: tc::TcError) -> FaultError {
    match error {
        tc::TcError::Foreign { .. } => FaultError::Impossible {
            what: error.to_string(),
            cure: "remove it, or choose pods whose network nobody else shapes",
        },
        error => kernel("installing the queueing disciplines", error),
    }
}

fn spec(queue: &Queue) -> QueueSpec {
    let direction = match queue.side {
        Side::Egress => Direction::Egress,
        Side::Ingress => Direction::Ingress,
    };
    QueueSpec { number: queue.number, direction, netem: queue.netem }
}
