//! A dashboard in use: it takes in what pods answer, and tells what the panels show.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::board::{Board, Source};
use super::discovery::Endpoint;
use super::exposition::{self, Format};
use super::frame::{Frame, PanelFrame, Target};
use super::series::{Labels, Presence, Store};

/// How long it is said that a counter began anew, in milliseconds: as long as most expressions look back.
const NEWS: i64 = 60_000;

/// A board, its series, and how each pod answered last.
#[derive(Debug)]
pub struct Monitor {
    board: Board,
    store: Store,
    targets: BTreeMap<Endpoint, Known>,
}

/// What is known of a pod that is asked.
#[derive(Debug)]
struct Known {
    labels: Labels,
    /// Nothing until it answered for the first time, or did not.
    answer: Option<Result<usize, String>>,
    complaint: Option<String>,
}

impl Known {
    fn of(endpoint: &Endpoint) -> Self {
        let instance = format!("{}:{}", endpoint.pod, endpoint.port);
        let labels = Labels::new([
            ("namespace", endpoint.namespace.as_str()),
            ("pod", endpoint.pod.as_str()),
            ("node", endpoint.node.as_str()),
            ("instance", instance.as_str()),
        ]);
        Self { labels, answer: None, complaint: None }
    }
}

impl Monitor {
    /// One that was told nothing yet.
    pub fn new(board: Board) -> Self {
        let store = board.store();
        Self { board, store, targets: BTreeMap::new() }
    }

    /// From now on these are asked; the series of those that are not any more end.
    pub fn ask(&mut self, endpoints: &[Endpoint], now: Timestamp) {
        let gone: Vec<_> =
            self.targets.keys().filter(|endpoint| !endpoints.contains(endpoint)).cloned().collect();
        for endpoint in gone {
            if let Some(known) = self.targets.remove(&endpoint) {
                self.store.remove_target(&known.labels, now.as_millisecond());
            }
        }
        for endpoint in endpoints {
            self.targets.entry(endpoint.clone()).or_insert_with(|| Known::of(endpoint));
        }
    }

    /// A pod answered with this when it was asked at `at_ms`.
    pub fn answered(&mut self, endpoint: &Endpoint, at_ms: i64, body: &[u8], format: Format) {
        let Some(known) = self.targets.get_mut(endpoint) else { return };
        let wanted = self.board.wanted();
        let mut scrape = self.store.scrape(&known.labels, at_ms);
        let read = exposition::read(body, format, |name| wanted.wants(name), |sample| scrape.take(sample));
        match read {
            Ok(summary) => {
                // What was cut off is not known to be over.
                if summary.cut_off {
                    scrape.fail();
                } else {
                    scrape.end();
                }
                known.answer = Some(Ok(summary.samples + summary.skipped));
                known.complaint = summary.complaint();
            }
            Err(foreign) => {
                scrape.fail();
                known.answer = Some(Err(foreign.to_string()));
                known.complaint = None;
            }
        }
    }

    /// A pod that was asked at `at_ms` gave no answer of use.
    pub fn failed(&mut self, endpoint: &Endpoint, at_ms: i64, why: String) {
        let Some(known) = self.targets.get_mut(endpoint) else { return };
        self.store.scrape(&known.labels, at_ms).fail();
        (known.answer, known.complaint) = (Some(Err(why)), None);
    }

    /// What the dashboard shows now.
    pub fn frame(&self, now: Timestamp) -> Frame {
        let shown = self.board.show(&self.store, now);
        let sources = self.board.sources(&self.store, now.as_millisecond());
        let panels = shown.panels.into_iter().zip(shown.omitted).zip(&sources);
        let panels = panels.map(|((lines, omitted), sources)| {
            let is_empty = lines.as_ref().is_ok_and(Vec::is_empty);
            PanelFrame { lines, omitted, note: note(sources, is_empty, now.as_millisecond()) }
        });
        let targets = self.targets.iter().filter_map(|(endpoint, known)| {
            let (answer, complaint) = (known.answer.clone()?, known.complaint.clone());
            Some(Target { pod: endpoint.label(), answer, complaint })
        });
        Frame { at: now, panels: panels.collect(), targets: targets.collect() }
    }

    /// About how many bytes all series take.
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }
}

/// Why a panel is empty, or that what it counts began anew.
fn note(sources: &[Source], is_empty: bool, now: i64) -> Option<String> {
    let ago = |at: i64| format!("{} s ago", now.saturating_sub(at) / 1000);
    if is_empty {
        let missing = sources.iter().find_map(|source| match source.presence {
            Presence::Missing => Some(format!("nothing was counted yet: {}", source.selector)),
            Presence::Ended { at } => Some(format!("{} ended {}", source.selector, ago(at))),
            Presence::Present { .. } => None,
        });
        return missing.or_else(|| Some("it takes two answers to tell how fast something grows".to_owned()));
    }
    let latest = sources.iter().filter_map(|source| match source.presence {
        Presence::Present { reset: Some(at), .. } if now.saturating_sub(at) < NEWS => Some(at),
        _ => None,
    });
    latest.max().map(|at| format!("a counter began anew {}: its program restarted", ago(at)))
}

#[cfg(test)]
mod tests {
    use super::super::discovery::Reach;
    use super::*;

    const BOARD: &str = "title: T\nscrape: {port: 80}\npanels:\n- title: Rate\n  queries:\n  - expr: sum by (pod) (rate(x_total[1m]))\n    legend: '{{pod}}'\n- title: Other\n  queries:\n  - expr: y\n";

    fn endpoint(pod: &str) -> Endpoint {
        Endpoint {
            namespace: "default".to_owned(),
            pod: pod.to_owned(),
            uid: pod.to_owned(),
            node: "n".to_owned(),
            reach: Reach::Proxy { tls: false },
            port: 80,
            path: "/metrics".to_owned(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn tell(monitor: &mut Monitor, pod: &str, second: i64, body: &str) {
        monitor.answered(&endpoint(pod), second * 1000, body.as_bytes(), Format::Text);
    }

    #[test]
    fn answers_become_lines_and_what_is_missing_is_named() {
        let mut monitor = Monitor::new(Board::read(BOARD.as_bytes()).unwrap());
        monitor.ask(&[endpoint("a"), endpoint("b")], at(0));
        for second in 1..=30 {
            tell(&mut monitor, "a", second, &format!("x_total {}\nz 1\n", second * 10));
            tell(&mut monitor, "b", second, "x_total 5\ny{\n");
        }
        let frame = monitor.frame(at(30));
        let lines = frame.panels[0].lines.as_ref().unwrap();
        let values: Vec<_> = lines.iter().map(|line| (line.name.as_str(), line.value.round())).collect();
        assert_eq!(values, [("a", 5.0), ("b", 0.0)], "half of the minute, as Prometheus has it: {frame:?}");
        assert_eq!(frame.panels[1].note.as_deref(), Some("nothing was counted yet: y"));
        assert_eq!(frame.targets[0].answer, Ok(2));
        assert!(
            frame.targets[1].complaint.as_ref().unwrap().contains("one line cannot be read"),
            "{frame:?}"
        );
    }

    #[test]
    fn a_series_is_the_same_in_other_words_and_at_another_place() {
        let mut monitor = Monitor::new(Board::read(BOARD.as_bytes()).unwrap());
        monitor.ask(&[endpoint("a"), endpoint("b")], at(0));
        let bodies = [
            "y{a=\"1\",b=\"2\"} 1\ny{a=\"3\"} 1\n",
            "y{a=\"1\",b=\"2\"} 2\ny{a=\"3\"} 2\n",
            "y{b=\"2\", a=\"1\"} 3\ny{a=\"3\"} 3\n",
            "y{a=\"3\",} 4\ny{b=\"2\", a=\"1\"} 4\n",
            "y{a=\"3\"} 5\n",
        ];
        for (second, body) in (1..).zip(bodies) {
            tell(&mut monitor, "a", second, body);
            // Written alike, and another's all the same.
            tell(&mut monitor, "b", second, body);
            let frame = monitor.frame(at(second));
            let lines = frame.panels[1].lines.as_ref().unwrap();
            let values: Vec<_> = lines.iter().map(|line| line.value.to_string()).collect();
            let expected = if second == 5 { 2 } else { 4 };
            assert_eq!(values, vec![second.to_string(); expected], "{frame:?}");
        }
    }

    #[test]
    fn a_pod_that_fails_or_goes_ends_and_a_restart_is_told() {
        let mut monitor = Monitor::new(Board::read(BOARD.as_bytes()).unwrap());
        monitor.ask(&[endpoint("a"), endpoint("b")], at(0));
        for second in 1..=20 {
            let count = if second < 15 { second * 10 } else { second };
            tell(&mut monitor, "a", second, &format!("x_total {count}\ny 1\n"));
            tell(&mut monitor, "b", second, "y 2\n");
        }
        let frame = monitor.frame(at(20));
        assert_eq!(
            frame.panels[0].note.as_deref(),
            Some("a counter began anew 5 s ago: its program restarted")
        );
        assert_eq!(frame.panels[1].lines.as_ref().unwrap().len(), 2);
        monitor.failed(&endpoint("b"), 21_000, "nothing listens".to_owned());
        let frame = monitor.frame(at(21));
        assert_eq!(frame.panels[1].lines.as_ref().unwrap().len(), 1);
        assert_eq!(frame.targets[1].answer, Err("nothing listens".to_owned()));
        monitor.ask(&[endpoint("b")], at(22));
        let frame = monitor.frame(at(25));
        assert_eq!(frame.panels[1].note.as_deref(), Some("y ended 3 s ago"));
        assert_eq!(frame.targets.len(), 1);
    }
}
