//! What is to be said of a dashboard in words: whom it asks, how they answer, and what its panels mean.

use super::Measure;

/// The whole of it, the selected panel first.
pub fn lines(measure: &Measure, selected: usize) -> Vec<String> {
    let Some(dashboard) = &measure.dashboard else { return Vec::new() };
    let mut lines = vec![format!("{} ({})", dashboard.title, measure.name), String::new()];
    if let Some(trouble) = &measure.trouble {
        lines.extend([trouble.whole(), String::new()]);
    }
    lines.push(format!("Pods that are asked once a second: {}", measure.targets.len()));
    for target in &measure.targets {
        lines.push(match &target.answer {
            Ok(samples) => {
                let complaint = target.complaint.as_ref().map(|complaint| format!("; {complaint}"));
                format!("  {}  {samples} samples{}", target.pod, complaint.unwrap_or_default())
            }
            Err(trouble) => format!("  {}  {trouble}", target.pod),
        });
    }
    lines.extend(measure.left_out.iter().map(|pod| format!("  not asked: {pod}")));
    let (before, after) = dashboard.panels.split_at(selected.min(dashboard.panels.len()));
    for panel in after.iter().take(1).chain(before).chain(after.iter().skip(1)) {
        let unit = panel.unit.words();
        let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
        lines.extend([String::new(), format!("{}{unit}", panel.title)]);
        lines.extend(panel.queries.iter().map(|query| format!("  {}", query.expr)));
    }
    lines
}
