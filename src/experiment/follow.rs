//! Which pods an experiment acts on once it runs: those that it has, and others in the place of those that
//! are gone.
//!
//! A fault that ends its pods would chase them from one restart to the next, and a workload that grows would
//! carry the fault further than anybody agreed to. So there are never more targets than were confirmed at the
//! start, each replacement waits longer than the one before, and after a few there are no more. What that
//! needs to know stands in the experiment's status: a controller that starts again is as patient as the last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::kind::Experiment;
use super::lifecycle::Input;
use super::plan::{self, Chosen, End};
use super::selection::{Exclusion, Request, select};
use super::world::has_finished;
use crate::api::{Following, Injection, Mode};
use crate::network::stable_hash;
use std::sync::Arc;

/// After so many replacements within [`WINDOW`] there are no more.
pub const MOST_REPLACEMENTS: usize = 5;

/// The time in which replacements are counted.
pub const WINDOW: Duration = Duration::from_mins(10);

/// How long the first replacement waits; it doubles with each that follows.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What following came to.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    /// The pods to act on.
    pub chosen: Vec<Chosen>,
    /// What to remember.
    pub record: Following,
    /// How many pods more match than were confirmed.
    pub beyond: u32,
}

/// Stands for the selectors and modes of a spec: what was confirmed at the start.
fn fingerprint(chaos: &dyn Experiment) -> String {
    let of = |end: &End<'_>| {
        // A selector is plain data: it always has a text.
        let selector = serde_json::to_string(end.selector).unwrap_or_default();
        format!("{} {:?} {:?} {selector}\n", end.key, end.mode, end.value)
    };
    format!("{:016x}", stable_hash(&chaos.ends().iter().map(of).collect::<String>()))
}

/// What was confirmed for the selectors that the spec has now.
pub(super) fn record(chaos: &dyn Experiment) -> Option<&Following> {
    let record = chaos.status()?.experiment.following.as_ref()?;
    (record.selection == fingerprint(chaos)).then_some(record)
}

/// These pods are the ones that the experiment may have.
pub(super) fn confirm(chaos: &dyn Experiment, chosen: Vec<Chosen>) -> Followed {
    let mut confirmed = BTreeMap::new();
    for end in chaos.ends() {
        confirmed.insert(end.key.to_owned(), count(pods_of(&chosen, end.key).len()));
    }
    let record = Following { selection: fingerprint(chaos), confirmed, ..Following::default() };
    Followed { chosen, record, beyond: 0 }
}

/// Whether replacements are over.
pub fn is_unstable(record: &Following) -> bool {
    record.replaced.len() >= MOST_REPLACEMENTS
}

/// When a replacement may be made, if one is needed.
pub fn due(record: &Following) -> Option<Timestamp> {
    let since = record.missing_since.as_ref().filter(|_| !is_unstable(record))?;
    let doublings = u32::try_from(record.replaced.len()).unwrap_or(u32::MAX);
    let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_WAIT);
    Some(since.0.saturating_add(wait).unwrap_or(Timestamp::MAX))
}

/// The targets that are still there, and others in the place of those that are not, as soon as they may be.
pub(super) fn follow(input: &Input<'_>, live: &[Arc<Injection>], record: &Following) -> Followed {
    let Input { chaos, world, now, .. } = input;
    let stays = |target: &Chosen| world.pod(&target.target.uid).is_some_and(|pod| !has_finished(pod));
    let mut chosen: Vec<_> = plan::already_chosen(live, world).into_iter().filter(stays).collect();
    let paused = chaos.is_paused();
    let mut record = Following { replaced: recent(record, *now), ..record.clone() };
    if paused {
        // Whoever resumes it wants it whole again.
        record.replaced.clear();
    }
    let ends: Vec<_> = chaos.ends().into_iter().map(|end| free(input, end, &chosen, &record)).collect();
    let missing = ends.iter().any(|free| free.missing > 0);
    record.missing_since =
        record.missing_since.take().filter(|_| missing).or_else(|| missing.then_some(Time(*now)));
    let allowed = paused || due(&record).is_some_and(|due| due <= *now);
    let open = ends.iter().any(|free| free.missing > 0 && !free.pods.is_empty());
    let beyond = ends.iter().map(|free| free.beyond).sum();
    if !(allowed && open) {
        return Followed { chosen, record, beyond };
    }
    for free in &ends {
        chosen.extend(free.draw(*chaos).iter().flat_map(|pod| plan::chosen(*chaos, pod, free.end.key)));
    }
    let still_missing = ends.iter().any(|free| free.missing > free.pods.len());
    record.missing_since = still_missing.then_some(Time(*now));
    if !paused {
        record.replaced.push(Time(*now));
    }
    Followed { chosen, record, beyond }
}

/// The replacements that count. Once there were too many, none is forgotten.
fn recent(record: &Following, now: Timestamp) -> Vec<Time> {
    if is_unstable(record) {
        return record.replaced.clone();
    }
    let counts = |at: &&Time| at.0.saturating_add(WINDOW).unwrap_or(Timestamp::MAX) > now;
    // The passing of time alone is no news: they are forgotten when the next one is due.
    let missing = record.missing_since.is_some();
    record.replaced.iter().filter(|at| !missing || counts(at)).cloned().collect()
}

/// What one selector has to fill up and could be filled up with.
struct Free<'a> {
    end: End<'a>,
    missing: usize,
    pods: Vec<Arc<Pod>>,
    beyond: u32,
}

impl Free<'_> {
    /// The pods that join.
    fn draw(&self, chaos: &dyn Experiment) -> Vec<Arc<Pod>> {
        let mut rng = plan::draw_of(chaos, &self.end);
        let drawn = rand::seq::index::sample(&mut rng, self.pods.len(), self.missing.min(self.pods.len()));
        drawn.iter().filter_map(|index| self.pods.get(index)).cloned().collect()
    }
}

fn free<'a>(input: &Input<'a>, end: End<'a>, chosen: &[Chosen], record: &Following) -> Free<'a> {
    let Input { chaos, world, limits, .. } = input;
    let has = pods_of(chosen, end.key);
    let confirmed = record.confirmed.get(end.key).copied().unwrap_or_default() as usize;
    let request = Request {
        selector: end.selector,
        own_namespace: chaos.namespace(),
        mode: Mode::All,
        amount: 0,
        protected: &limits.protected_namespaces,
        unfit: &|pod| chaos.exclusion(pod).or_else(|| is_unready(pod).then_some(Exclusion::NotReady)),
        keep: &BTreeSet::new(),
    };
    // Nothing is drawn in mode all.
    let mut pods = select(&request, world, &mut plan::draw_of(*chaos, &end)).pods;
    pods.retain(|pod| pod.metadata.uid.as_deref().is_some_and(|uid| !has.contains(uid)));
    let missing = confirmed.saturating_sub(has.len());
    // One that is on its way out holds its place until it is gone; the pod that takes it is not one too many.
    let is_going = |uid: &&&str| world.pod(uid).is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
    let going = has.iter().filter(is_going).count();
    let beyond = if end.mode == Mode::All { pods.len().saturating_sub(missing + going) } else { 0 };
    Free { end, missing, pods, beyond: count(beyond) }
}

fn pods_of<'a>(chosen: &'a [Chosen], key: &str) -> BTreeSet<&'a str> {
    let of_key = chosen.iter().filter(|chosen| chosen.target.selector_key == key);
    of_key.map(|chosen| chosen.target.uid.as_str()).collect()
}

/// Whether its kubelet says that it is not ready.
fn is_unready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status != "True")
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
