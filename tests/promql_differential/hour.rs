//! An hour of the movies server, simulated: two replicas, a delay of the database for ten minutes, a partition for one, and a
//! replica that starts anew. The nine panels show the same over it as Prometheus does.

use std::path::Path;

use squall::steady_state::board::Board;
use squall::steady_state::promql::Query;
use squall::steady_state::series::{Labels, NAME, STALE};

use super::draw::{Draw, START};
use super::prometheus::{Prometheus, Series};
use super::{difference, ours};

/// From one scrape to the next, in seconds, and how many there are.
const STEP: i64 = 5;
const STEPS: i64 = 3600 / STEP;

const PATHS: [&str; 5] = ["/", "/message1", "/message2", "/message3", "/movies"];

/// What a replica has counted.
struct Replica {
    target: Labels,
    /// By path and status.
    counts: Vec<Count>,
    processor: f64,
    memory: f64,
}

struct Count {
    path: &'static str,
    status: &'static str,
    requests: f64,
    seconds: f64,
    /// How many requests each bucket has more than the one below.
    buckets: Vec<f64>,
}

/// The movies server's bounds: 0.1 and steps of a quarter from 50 µs to 10 s.
fn bounds() -> Vec<(String, f64)> {
    let mut bounds: Vec<f64> = std::iter::successors(Some(50e-6), |bound| Some(bound * 1.25))
        .take_while(|bound| *bound < 10.0)
        .collect();
    bounds.extend([0.1, 10.0]);
    bounds.sort_by(f64::total_cmp);
    bounds
        .into_iter()
        .map(|bound| (bound.to_string(), bound))
        .chain([("+Inf".to_owned(), f64::INFINITY)])
        .collect()
}

impl Replica {
    fn new(target: Labels) -> Self {
        let count = |path, status| Count {
            path,
            status,
            requests: 0.0,
            seconds: 0.0,
            buckets: vec![0.0; bounds().len()],
        };
        let counts = PATHS.iter().map(|path| count(*path, "200")).chain([count("/movies", "500")]).collect();
        Self { target, counts, processor: 0.0, memory: 20e6 }
    }

    /// What happens in so many seconds at the second `at`.
    fn run(&mut self, draw: &mut Draw, at: i64, seconds: f64, bounds: &[(String, f64)]) {
        let delayed = (600..1200).contains(&at);
        let cut_off = (2400..2460).contains(&at);
        for count in &mut self.counts {
            let database = count.path == "/movies";
            let rate = match (database && cut_off, count.status) {
                (true, "500") => 2.0,
                (false, "200") => {
                    if cut_off {
                        10.0
                    } else if delayed {
                        40.0
                    } else {
                        55.0
                    }
                }
                _ => 0.0,
            };
            let base = match (database, count.status) {
                (_, "500") => 0.8,
                (true, _) if delayed => 0.15185,
                (true, _) => 0.00185,
                _ => 0.00011,
            };
            for _ in 0..(rate * seconds) as u64 {
                let time = base * (1.0 - (1.0 - draw.part()).ln() * 0.3);
                count.requests += 1.0;
                count.seconds += time;
                count.buckets[bounds.partition_point(|(_, bound)| *bound < time)] += 1.0;
            }
        }
        self.processor += seconds * (0.05 + 0.05 * draw.part());
        self.memory += 4096.0 * (draw.below(21) as f64 - 10.0);
    }

    /// What it tells: name, labels, value.
    fn tell(&self, bounds: &[(String, f64)], mut to: impl FnMut(&str, &[(&str, &str)], f64)) {
        for count in &self.counts {
            let labels = [("method", "GET"), ("path", count.path), ("status", count.status)];
            let mut below = 0.0;
            for (value, (bound, _)) in count.buckets.iter().zip(bounds) {
                below += value;
                let [method, path, status] = labels;
                to("http_request_duration_seconds_bucket", &[method, path, status, ("le", bound)], below);
            }
            to("http_request_duration_seconds_sum", &labels, count.seconds);
            to("http_request_duration_seconds_count", &labels, count.requests);
            to("http_requests_total", &labels, count.requests);
        }
        to("process_cpu_seconds_total", &[], self.processor);
        to("process_resident_memory_bytes", &[], self.memory);
    }
}

#[test]
fn the_nine_panels_agree_over_an_hour() {
    let Some(prometheus) = Prometheus::start() else { return };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/steady-state/movies.yaml");
    let board = Board::read(&std::fs::read(file).unwrap()).unwrap();
    let target =
        |pod: &str, node: &str| Labels::new([("namespace", "default"), ("pod", pod), ("node", node)]);
    let names = [("server-app-7d4-abcde", "machine2"), ("server-app-7d4-fghij", "machine3")];
    let mut replicas = names.map(|(pod, node)| Replica::new(target(pod, node)));
    let (mut draw, mut store, bounds) = (Draw(1), board.store(), bounds());
    // The labels of each replica's series, in the order in which it tells them.
    let mut known = [Vec::new(), Vec::new()];
    let (mut compared, mut values) = (0, 0);
    for step in 0..STEPS {
        let second = step * STEP;
        let mut told: Vec<Series> = Vec::new();
        for (number, replica) in replicas.iter_mut().enumerate() {
            let at = START + second * 1000 + 137 + 211 * number as i64;
            // The second replica is down for 15 s at the middle of the hour. A replica begins 1.2 s before it is asked for the
            // first time: less than half an interval, where Prometheus 2 and 3 agree on what was before.
            let down = number == 1 && (1800..1815).contains(&second);
            let new = second == 0 || number == 1 && second == 1815;
            if new {
                *replica = Replica::new(replica.target.clone());
            }
            replica.run(&mut draw, second, if new { 1.2 } else { STEP as f64 }, &bounds);
            let mut scrape = store.scrape(&replica.target, at);
            let mut index = 0;
            replica.tell(&bounds, |name, labels, value| {
                if known[number].len() == index {
                    let own = labels.iter().copied().chain(replica.target.iter()).chain([(NAME, name)]);
                    known[number].push(Labels::new(own));
                }
                // Ends only once: there is nothing to end twice.
                if !down || second == 1800 {
                    told.push((known[number][index].clone(), vec![(at, if down { STALE } else { value })]));
                }
                scrape.sample(name, labels.iter().copied(), value, None);
                index += 1;
            });
            if down { scrape.fail() } else { scrape.end() }
        }
        prometheus.write(&told);
        if step % 12 != 11 && !(360..366).contains(&step) {
            continue;
        }
        let at = START + second * 1000 + 1000;
        for panel in &board.dashboard().panels {
            for query in &panel.queries {
                let (ours, theirs) =
                    (ours(&Query::read(&query.expr).unwrap(), &store, at), prometheus.query(&query.expr, at));
                if let Some(difference) = difference(&ours, &theirs) {
                    panic!("{} at {second} s: {difference}", panel.title);
                }
                compared += 1;
                values += theirs.unwrap().len();
            }
        }
    }
    println!(
        "an hour, simulated, of {} series: {compared} comparisons of panels with {values} values agree",
        store.len()
    );
    assert_eq!(board.dashboard().panels.len(), 9);
    assert!(values > compared * 2, "{values} values in {compared} panels");
}
