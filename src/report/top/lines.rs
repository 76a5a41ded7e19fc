//! As people read it.

use jiff::Timestamp;

use super::{Controller, Halted, OnNode, Part, Top};
use crate::report::{Table, age};

/// What stands where there is nothing.
const NONE: &str = "-";

impl Top {
    /// The sums: parts that are ready, experiments by phase, Halts.
    pub fn head(&self) -> Vec<String> {
        let ready = |part: &Part| part.state == "Ready";
        let leader = self.controllers.iter().find(|controller| controller.leads);
        let leader = leader
            .map_or_else(|| "none is known to lead".to_owned(), |one| format!("{} leads", one.part.pod));
        let controllers = self.controllers.iter().filter(|one| ready(&one.part)).count();
        let daemons =
            self.nodes.iter().filter_map(|node| node.daemon.as_ref()).filter(|part| ready(part)).count();
        let injected: u32 = self.nodes.iter().map(|node| node.targets_injected).sum();
        let asked: u32 = self.nodes.iter().map(|node| node.targets_asked).sum();
        let mut lines = vec![
            format!("Controllers: {controllers} of {} ready, {leader}", self.controllers.len()),
            format!(
                "Daemons:     {daemons} of {} ready; {injected} of {asked} targets injected",
                self.nodes.len()
            ),
            format!("Experiments: {}", self.phases()),
        ];
        lines.extend(self.halts.iter().map(Halted::line));
        lines
    }

    fn phases(&self) -> String {
        let total: u32 = self.experiments.values().sum();
        let phases: Vec<_> =
            self.experiments.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
        if phases.is_empty() { "none".to_owned() } else { format!("{total}: {}", phases.join(", ")) }
    }

    /// The two tables.
    pub fn tables(&self, now: Timestamp) -> Vec<String> {
        let headers = ["CONTROLLER", "LEADS", "STATE", "CPU", "MEMORY", "AGE", "RESTARTS", "VERSION", "NODE"];
        let mut rows = vec![headers.map(str::to_owned).to_vec()];
        rows.extend(self.controllers.iter().map(|controller| controller.row(now)));
        let mut lines = Table::default().lines(&rows);
        lines.push(String::new());
        let headers = [
            "NODE", "DAEMON", "TARGETS", "OLDEST", "CPU", "MEMORY", "PROBLEMS", "AGE", "RESTARTS", "VERSION",
        ];
        let mut rows = vec![headers.map(str::to_owned).to_vec()];
        rows.extend(self.nodes.iter().map(|node| node.row(now)));
        lines.extend(Table::default().lines(&rows));
        lines
    }

    /// What is wrong, and what is not known.
    pub fn foot(&self) -> Vec<String> {
        let problems = |node: &OnNode| {
            let name = node.node.clone();
            node.problems.iter().map(move |problem| format!("{name}: {problem}")).collect::<Vec<_>>()
        };
        let mut lines: Vec<_> = self.nodes.iter().flat_map(problems).collect();
        for unknown in &self.unknown {
            lines.push(format!("not known: {unknown}"));
            lines.extend(unknown.cure.iter().map(|cure| format!("  to do: {cure}")));
        }
        lines
    }
}

impl Halted {
    fn line(&self) -> String {
        let scope =
            if self.namespaces.is_empty() { "everything".to_owned() } else { self.namespaces.join(", ") };
        let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        format!("HALT {} stops {scope}{reason}", self.name)
    }
}

impl Controller {
    fn row(&self, now: Timestamp) -> Vec<String> {
        let [state, cpu, memory, age, restarts, version] = cells(Some(&self.part), now);
        let leads = if self.leads { "yes" } else { NONE }.to_owned();
        let node = self.node.clone().unwrap_or_else(|| NONE.to_owned());
        vec![self.part.pod.clone(), leads, state, cpu, memory, age, restarts, version, node]
    }
}

impl OnNode {
    fn row(&self, now: Timestamp) -> Vec<String> {
        let [state, cpu, memory, age, restarts, version] = cells(self.daemon.as_ref(), now);
        let targets = match (self.targets_injected, self.targets_asked) {
            (0, 0) => NONE.to_owned(),
            (injected, asked) => format!("{injected}/{asked}"),
        };
        let oldest = self.oldest_seconds.map_or_else(|| NONE.to_owned(), age::human);
        let problems =
            if self.problems.is_empty() { NONE.to_owned() } else { self.problems.len().to_string() };
        vec![self.node.clone(), state, targets, oldest, cpu, memory, problems, age, restarts, version]
    }
}

/// State, processor time, memory, age, restarts and release. What is cut off on a narrow terminal is what comes last.
fn cells(part: Option<&Part>, now: Timestamp) -> [String; 6] {
    let none = || NONE.to_owned();
    let Some(part) = part else { return ["none".to_owned(), none(), none(), none(), none(), none()] };
    let why = || part.usage_unknown.clone().unwrap_or_else(none);
    [
        part.state.clone(),
        part.cpu_cores.map_or_else(why, millicores),
        part.memory_bytes.map_or_else(why, mebibytes),
        age::of(part.created.as_deref(), now),
        part.restarts.to_string(),
        part.version.clone().unwrap_or_else(none),
    ]
}

/// Thousandths of a core, as `kubectl top` has them, with a digit more where little is used.
fn millicores(cores: f64) -> String {
    let milli = cores * 1000.0;
    if milli < 9.95 { format!("{milli:.1}m") } else { format!("{milli:.0}m") }
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1024 * 1024);
    if tenths < 1000 { format!("{}.{}Mi", tenths / 10, tenths % 10) } else { format!("{}Mi", tenths / 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_a_digit_where_they_are_small() {
        for (cores, text) in [(0.0, "0.0m"), (0.0021, "2.1m"), (0.009_96, "10m"), (1.5, "1500m")] {
            assert_eq!(millicores(cores), text, "{cores}");
        }
        for (bytes, text) in
            [(0, "0.0Mi"), (2_936_013, "2.8Mi"), (104_857_599, "99.9Mi"), (104_857_600, "100Mi")]
        {
            assert_eq!(mebibytes(bytes), text, "{bytes}");
        }
    }
}
