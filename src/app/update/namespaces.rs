//! Which namespace is shown.

use super::Effects;
use crate::app::effect::Effect;
use crate::app::popup::{Choose, Popup, Purpose};
use crate::app::state::State;

/// Shows what is in this namespace, or in all. Where all of them may not be listed, it is watched instead of the one before.
pub(super) fn show(state: &mut State, namespace: Option<String>, effects: &mut Effects) {
    if state.data.narrowed().is_some_and(|watched| namespace.as_deref() != Some(watched)) {
        effects.push(Effect::Watch(namespace.clone()));
    }
    state.namespace = namespace;
    state.refresh();
}

/// The namespaces that have something in them.
pub(super) fn all(state: &State) -> Vec<String> {
    let of_pods = state.data.pods.iter().map(|pod| pod.namespace.clone());
    let of_experiments = state.data.all_experiments().map(|experiment| experiment.namespace());
    let all: std::collections::BTreeSet<_> = of_pods.chain(of_experiments).collect();
    all.into_iter().collect()
}

pub(super) fn choose(state: &mut State) {
    let mut names = vec!["all namespaces".to_owned()];
    names.extend(all(state));
    let index = names.iter().position(|name| Some(name) == state.namespace.as_ref()).unwrap_or(0);
    let title = "Show which namespace?".to_owned();
    state.popup = Some(Popup::Choose(Choose { purpose: Purpose::Namespace, title, names, index }));
}
