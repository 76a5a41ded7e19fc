//! The recorded hour, as `record` writes it: what the pods told at /metrics, word for word.

use std::fmt::Write;

/// A pod that was asked.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) node: String,
    /// What stands before the values, in the order in which it is told.
    series: Vec<String>,
    /// What was told last: the whole numbers that changes refer to.
    whole: Vec<i64>,
    /// Whether it is not told now.
    silent: Vec<bool>,
}

/// What became of asking a pod.
pub(crate) struct Answer {
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    /// The number of the pod.
    pub(crate) pod: usize,
    /// The exposition; none if there was no answer.
    pub(crate) text: Option<String>,
}

/// Reads a recording: the pods, by their numbers, and the answers in the order of time.
pub(crate) fn read(recording: &str) -> (Vec<Pod>, Vec<Answer>) {
    let (mut pods, mut answers) = (Vec::<Pod>::new(), Vec::new());
    for line in recording.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let first = words.next().unwrap();
        match first {
            "pod" => {
                let mut name = || words.next().unwrap().to_owned();
                let (name, node) = (name(), name());
                let series = pods.last().map(|pod| pod.series.clone()).unwrap_or_default();
                let (whole, silent) = (vec![0; series.len()], vec![false; series.len()]);
                pods.push(Pod { name, node, series, whole, silent });
            }
            "series" => {
                let pod: usize = words.next().unwrap().parse().unwrap();
                pods[pod].series.push(words.next().unwrap().to_owned());
                pods[pod].whole.push(0);
                pods[pod].silent.push(false);
            }
            at => {
                let pod: usize = words.next().unwrap().parse().unwrap();
                let changes: Vec<_> = words.collect();
                let text = (changes != ["!"]).then(|| pods[pod].tell(&changes));
                answers.push(Answer { at: at.parse().unwrap(), pod, text });
            }
        }
    }
    (pods, answers)
}

impl Pod {
    /// The exposition after these changes.
    fn tell(&mut self, changes: &[&str]) -> String {
        let mut text = String::new();
        let parts = changes.iter().map(|change| {
            let (number, change) = change.split_at(change.find(['+', '-', '=']).unwrap());
            (number.parse::<usize>().unwrap(), change)
        });
        let mut changes = parts.peekable();
        // What a counter has grown by is told as what it is more than that of the series before it.
        let mut before = 0;
        for (number, series) in self.series.iter().enumerate() {
            let change = changes.next_if(|change| change.0 == number);
            let (whole, silent) = (&mut self.whole[number], &mut self.silent[number]);
            let change = match change.map(|change| change.1) {
                Some("=-") => {
                    (*whole, *silent) = (0, true);
                    continue;
                }
                None if *silent => continue,
                None => "+0",
                Some(change) => change,
            };
            *silent = false;
            if let Some(value) = change.strip_prefix('=') {
                writeln!(text, "{series} {value}").unwrap();
            } else {
                before += change.parse::<i64>().unwrap();
                *whole += before;
                writeln!(text, "{series} {whole}").unwrap();
            }
        }
        assert!(changes.peek().is_none(), "a change of a series that there is not: {:?}", changes.peek());
        text
    }
}
