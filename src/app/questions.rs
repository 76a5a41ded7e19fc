//! What is asked before something is done that can harm: always whom it concerns and how many they are.

use std::collections::BTreeSet;

use super::action::Action;
use super::effect::Deed;
use super::input::Input;
use super::list::Row as _;
use super::popup::{Confirm, Line, Popup, Tone, Turning, Typed};
use super::screens::experiments::reference;
use super::state::State;
use super::store::Experiment;
use super::{rights, turn};
use crate::report::Trouble;
use crate::report::plan::{Conflict, Report, Verdict};

/// From how many targets on the experiment's name must be typed.
pub const MANY: usize = 20;

/// How many targets a question names before it counts the others.
const NAMED: usize = 8;

/// The pods that this experiment has as targets, by its parts on the nodes, else by its own records.
fn targets(state: &State, experiment: &Experiment) -> BTreeSet<String> {
    let parts = state.data.parts(experiment.id());
    let of_parts: BTreeSet<String> = parts
        .flat_map(|part| part.spec.targets.iter())
        .map(|target| format!("{}/{}", target.namespace, target.pod))
        .collect();
    if !of_parts.is_empty() {
        return of_parts;
    }
    let records = experiment.0.data.pointer("/status/experiment/containerRecords");
    let records = records.and_then(serde_json::Value::as_array).into_iter().flatten();
    records.filter_map(|record| record.get("id")?.as_str().map(str::to_owned)).collect()
}

fn named(targets: &BTreeSet<String>) -> Vec<Line> {
    let mut lines: Vec<_> =
        targets.iter().take(NAMED).map(|target| Line::new(Tone::Plain, format!("  {target}"))).collect();
    if targets.len() > NAMED {
        lines.push(Line::new(Tone::Dim, format!("  and {} more", targets.len() - NAMED)));
    }
    lines
}

/// `1 target`, `3 targets`.
pub fn counted(count: usize) -> String {
    format!("{count} {}", if count == 1 { "target" } else { "targets" })
}

/// Pause, resume or stop this experiment?
pub(super) fn about(state: &State, experiment: &Experiment, deed: Deed) -> Popup {
    let targets = targets(state, experiment);
    let overview = experiment.glance();
    let (verb, effect) = match deed {
        Deed::Pause(_) => ("Pause", "The fault is undone on all of them; the remaining time stands still."),
        Deed::Resume(_) => ("Resume", "The fault is injected again on all of them, for the remaining time."),
        _ => ("Stop", "The fault is undone on all of them and the experiment is deleted."),
    };
    let mut lines =
        vec![Line::new(Tone::Heading, format!("{}, on {}:", overview.phase, counted(targets.len())))];
    lines.extend(named(&targets));
    lines.push(Line::new(Tone::Plain, effect));
    if matches!(deed, Deed::Stop(_)) {
        lines.extend(lacking(state, Action::Stop));
    }
    // What is made worse for many is asked twice; what takes a fault away must never be hard to do.
    let typed = matches!(deed, Deed::Resume(_)).then_some(targets.len()).filter(|count| *count >= MANY);
    Popup::Confirm(Box::new(Confirm {
        title: format!("{verb} {} {}/{}?", overview.kind, overview.namespace, overview.name),
        targets: targets.len(),
        lines,
        offset: 0,
        deed,
        typed: typed.map(|_| Typed { word: overview.name.clone(), input: Input::default() }),
        turning: None,
    }))
}

/// Turn the fault up or down?
pub(super) fn turning(state: &State, experiment: &Experiment, steps: i32) -> Option<Popup> {
    let turned = turn::turned(&experiment.0, steps)?;
    let targets = targets(state, experiment);
    let what = format!("{} {} → {}", turned.name, turned.from, turned.to);
    let mut lines = vec![
        Line::new(Tone::Heading, what.clone()),
        Line::new(Tone::Dim, "+ and - turn it further"),
        Line::new(Tone::Plain, format!("Changed in place on {}:", counted(targets.len()))),
    ];
    lines.extend(named(&targets));
    let object = reference(experiment);
    Some(Popup::Confirm(Box::new(Confirm {
        title: format!("Turn {}?", object.label()),
        targets: targets.len(),
        lines,
        offset: 0,
        deed: Deed::Patch { object, patch: turned.patch, what },
        typed: None,
        turning: Some(Turning { uid: experiment.id().to_owned(), steps }),
    })))
}

/// That it will probably be refused, and what would change that.
fn lacking(state: &State, action: Action) -> Vec<Line> {
    let right = rights::missing(state, action);
    let trouble = right.map(|right| state.rights.trouble(&right));
    let lines = trouble.into_iter().flat_map(|Trouble { what, cure, .. }| {
        let tried =
            Line::new(Tone::Danger, format!("It will be refused: {what}. Enter tries it all the same."));
        [Some(tried), cure.map(|cure| Line::new(Tone::Good, cure))]
    });
    lines.flatten().collect()
}

/// Undo everything?
pub(super) fn halt(state: &State) -> Popup {
    let active = state.active();
    let count = active
        .iter()
        .filter_map(|overview| overview.targets)
        .map(|targets| usize::try_from(targets.selected).unwrap_or(usize::MAX))
        .sum();
    let mut lines = Vec::new();
    if active.is_empty() {
        lines.push(Line::new(Tone::Plain, "No experiment runs. Nothing will start until it is released."));
    } else {
        lines.push(Line::new(
            Tone::Danger,
            format!(
                "Every fault is undone at once: {} {}, {}.",
                active.len(),
                if active.len() == 1 { "experiment" } else { "experiments" },
                counted(count)
            ),
        ));
        for overview in active.iter().take(NAMED) {
            lines.push(Line::new(
                Tone::Plain,
                format!("  {} {}/{}  {}", overview.kind, overview.namespace, overview.name, overview.phase),
            ));
        }
        lines.push(Line::new(
            Tone::Plain,
            "They are finished, also those of others. Nothing starts until it is released; that starts nothing \
             again by itself.",
        ));
    }
    lines.extend(lacking(state, Action::Halt));
    Popup::Confirm(Box::new(Confirm {
        title: "Emergency stop?".to_owned(),
        targets: count,
        lines,
        offset: 0,
        deed: Deed::Halt { reason: "stopped from the console".to_owned() },
        typed: None,
        turning: None,
    }))
}

/// Release the emergency stop?
pub(super) fn release(state: &State) -> Popup {
    let mut lines =
        vec![Line::new(Tone::Plain, "Experiments can start again. What was stopped stays finished.")];
    for halt in state.data.halts.iter() {
        let reason = halt.0.spec.reason.as_deref().unwrap_or("no reason given");
        lines.push(Line::new(
            Tone::Dim,
            format!("  {}: {reason}", halt.0.metadata.name.as_deref().unwrap_or_default()),
        ));
    }
    Popup::Confirm(Box::new(Confirm {
        title: "Release the emergency stop?".to_owned(),
        targets: 0,
        lines,
        offset: 0,
        deed: Deed::Release,
        typed: None,
        turning: None,
    }))
}

/// Launch what these reports preview? What cannot run is refused here, with the place and the cure.
pub(super) fn launch(text: String, namespace: Option<String>, reports: &[Report]) -> Popup {
    let names: Vec<_> = reports.iter().map(named_short).collect();
    let title = names.first().cloned().unwrap_or_else(|| "nothing".to_owned());
    let refused: Vec<_> = reports.iter().filter(|report| report.verdict == Verdict::Refused).collect();
    if !refused.is_empty() || reports.is_empty() {
        let lines = refused.iter().flat_map(|report| problems(report)).collect();
        let what = if reports.is_empty() {
            "the file holds no experiment"
        } else {
            "it cannot run as it is written"
        };
        return Popup::Failed {
            title: format!("Launch {title}"),
            trouble: Trouble::new(what).cure("change the file and try again"),
            lines,
            offset: 0,
        };
    }
    let targets: BTreeSet<String> = reports
        .iter()
        .flat_map(|report| report.nodes.iter())
        .flat_map(|node| node.targets.iter())
        .map(|target| target.pod.clone())
        .collect();
    let mut lines = if targets.is_empty() {
        vec![Line::new(Tone::Warning, "It acts on 0 targets now, and waits until there are some.")]
    } else {
        vec![Line::new(Tone::Heading, format!("It acts on {}:", counted(targets.len())))]
    };
    lines.extend(named(&targets));
    for report in reports {
        lines.extend(preview(report));
    }
    let word = reports
        .first()
        .map(|report| report.experiment.rsplit('/').next().unwrap_or_default().to_owned())
        .unwrap_or_default();
    Popup::Confirm(Box::new(Confirm {
        title: format!("Launch {}?", names.join(", ")),
        targets: targets.len(),
        lines,
        offset: 0,
        deed: Deed::Apply { text, namespace },
        typed: (targets.len() >= MANY).then(|| Typed { word, input: Input::default() }),
        turning: None,
    }))
}

/// `networkchaos/network-delay in default`.
fn named_short(report: &Report) -> String {
    let kind = report.experiment.split(['.', '/']).next().unwrap_or_default();
    let name = report.experiment.rsplit('/').next().unwrap_or_default();
    format!("{kind}/{name} in {}", report.namespace)
}

fn problems(report: &Report) -> Vec<Line> {
    let problem = |problem: &crate::report::plan::Wrong| {
        [
            Line::new(Tone::Danger, format!("{}: {}", problem.path, problem.what)),
            Line::new(Tone::Good, format!("  {}", problem.cure)),
        ]
    };
    report.problems.iter().flat_map(problem).collect()
}

fn preview(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    let time = match (&report.duration, report.one_shot) {
        (_, true) => "It is done once; nothing is left to undo.".to_owned(),
        (Some(duration), _) => format!("It lasts {duration} and is then undone."),
        (None, _) => "It lasts until it is stopped.".to_owned(),
    };
    lines.push(Line::new(Tone::Plain, time));
    lines.extend(report.effect.iter().map(|effect| Line::new(Tone::Good, format!("expect: {effect}"))));
    lines.extend(report.halt.iter().map(|halt| Line::new(Tone::Danger, halt.clone())));
    lines.extend(report.conflicts.iter().map(|conflict| Line::new(Tone::Warning, beside(conflict))));
    lines
        .extend(report.warnings.iter().map(|warning| Line::new(Tone::Warning, format!("beware: {warning}"))));
    lines
}

/// An experiment that stands beside the one that is launched, or is that very one.
pub fn beside(conflict: &Conflict) -> String {
    let Conflict { experiment, pods, .. } = conflict;
    if pods.is_empty() {
        format!("{experiment} is there already: launching changes it in place")
    } else {
        format!("also acts on {}: {experiment}", pods.join(", "))
    }
}
