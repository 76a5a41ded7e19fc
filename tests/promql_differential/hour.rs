//! An hour of the movies server, recorded in the playground (`record`; `hour.txt` tells what was done meanwhile): the nine
//! panels show the same over it as Prometheus does.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use squall::steady_state::board::Board;
use squall::steady_state::exposition::{self, Format};
use squall::steady_state::promql::Query;
use squall::steady_state::series::{Labels, NAME, STALE, Store};

use super::prometheus::{Prometheus, Series};
use super::recording::{self, Pod};
use super::{difference, ours};

/// From one evaluation to the next, in milliseconds.
const STEP: i64 = 10_000;

/// A pod that was not asked for so long is gone.
const GONE: i64 = 20_000;

/// From one answer to the next, and how much each panel looks back.
const INTERVAL: i64 = 15_000;
const RANGE: i64 = 60_000;

/// A pod as both sides know it.
struct Target {
    labels: Labels,
    /// What it told last, and when.
    told: HashMap<Labels, f64>,
    at: i64,
    gone: bool,
    /// When counters began that were not 0 then.
    began: BTreeSet<i64>,
}

impl Target {
    fn new(pod: &Pod) -> Self {
        let labels =
            Labels::new([("namespace", "default"), ("pod", pod.name.as_str()), ("node", pod.node.as_str())]);
        Self { labels, told: HashMap::new(), at: i64::MIN, gone: false, began: BTreeSet::new() }
    }

    /// Gives an answer to our store; what Prometheus is to be given, the markers of series that ended among it.
    fn answered(&mut self, store: &mut Store, at: i64, text: Option<&str>) -> Vec<Series> {
        let mut told = HashMap::new();
        let mut scrape = store.scrape(&self.labels, at);
        match text {
            Some(text) => {
                let sink = |sample: &exposition::Sample<'_>| {
                    scrape.take(sample);
                    let own = sample.labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
                    let all = own.chain(self.labels.iter()).chain([(NAME, sample.name.as_ref())]);
                    told.insert(Labels::new(all), sample.value);
                };
                let summary = exposition::read(text.as_bytes(), Format::Text, |_| true, sink).unwrap();
                assert_eq!(summary.complaint(), None);
                scrape.end();
            }
            None => scrape.fail(),
        }
        self.at = at;
        self.turn(told, at)
    }

    /// The pod is no longer there.
    fn leaves(&mut self, store: &mut Store, at: i64) -> Vec<Series> {
        store.remove_target(&self.labels, at);
        self.gone = true;
        self.turn(HashMap::new(), at)
    }

    /// Whether Prometheus 3 and the 2.42 that is compared with may differ at this moment: where a counter begins in the middle
    /// of a range, 3 reckons with half an interval before it at most, and 2.42 with up to a whole one.
    fn versions_differ(&self, at: i64) -> bool {
        self.began.range(at - RANGE + INTERVAL..=at).next().is_some()
    }

    /// What Prometheus is given when this is told.
    fn turn(&mut self, told: HashMap<Labels, f64>, at: i64) -> Vec<Series> {
        let before = std::mem::replace(&mut self.told, told);
        let is_new = |(labels, value): (&Labels, &f64)| *value > 0.0 && !before.contains_key(labels);
        if self.told.iter().any(is_new) {
            self.began.insert(at);
        }
        let ended = before.into_keys().filter(|labels| !self.told.contains_key(labels));
        let values = self.told.iter().map(|(labels, value)| (labels.clone(), vec![(at, *value)]));
        values.chain(ended.map(|labels| (labels, vec![(at, STALE)]))).collect()
    }
}

#[test]
fn the_nine_panels_agree_over_a_recorded_hour() {
    let Some(prometheus) = Prometheus::start() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let board = Board::read(&fs::read(root.join("templates/steady-state/movies.yaml")).unwrap()).unwrap();
    let recording = fs::read_to_string(root.join("tests/promql_differential/hour.txt")).unwrap();
    let (pods, answers) = recording::read(&recording);
    let times: Vec<_> = answers.iter().map(|answer| answer.at).collect();
    let (first, last) = (times[0], *times.last().unwrap());
    assert!(times.is_sorted() && last - first > 3_570_000, "{} s", (last - first) / 1000);
    let mut targets: Vec<_> = pods.iter().map(Target::new).collect();
    let mut answers = answers.into_iter().peekable();
    let mut store = board.store();
    let (mut compared, mut values, mut left_out) = (0, 0, 0);
    let mut differences = Vec::new();
    for step in 1..=(last - first) / STEP {
        // Whether the edge of a range belongs to it is what Prometheus 3 changed, and the one that is compared with is older.
        let on_edge = |at: &i64| times.iter().any(|time| time == at || time + RANGE == *at);
        let at = (first + step * STEP..last + STEP).find(|at| !on_edge(at)).unwrap();
        while let Some(answer) = answers.next_if(|answer| answer.at <= at) {
            let told = targets[answer.pod].answered(&mut store, answer.at, answer.text.as_deref());
            prometheus.write(&told);
        }
        for target in
            targets.iter_mut().filter(|target| !target.gone && target.at > 0 && target.at + GONE < at)
        {
            prometheus.write(&target.leaves(&mut store, at));
        }
        // At first the counters of pods that ran before begin, too; they have gone far beyond what either reckons with.
        if at > first + RANGE && targets.iter().any(|target| target.versions_differ(at)) {
            left_out += 1;
            continue;
        }
        for panel in &board.dashboard().panels {
            for query in &panel.queries {
                let (ours, theirs) =
                    (ours(&Query::read(&query.expr).unwrap(), &store, at), prometheus.query(&query.expr, at));
                if let Some(difference) = difference(&ours, &theirs) {
                    differences.push(format!(
                        "{} {} s after the beginning: {difference}",
                        panel.title,
                        (at - first) / 1000
                    ));
                }
                compared += 1;
                values += theirs.unwrap().len();
            }
        }
    }
    println!(
        "a recorded hour of {} pods and {} answers: {compared} comparisons of panels with {values} values, {left_out} moments left out",
        pods.len(),
        times.len()
    );
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert_eq!(board.dashboard().panels.len(), 9);
    assert!(values > compared * 2, "{values} values in {compared} panels");
    assert!(left_out < 36, "{left_out} of 360 moments");
}
