//! Kubernetes events on experiments, with the reference's reasons.
//!
//! An event is news, not state: one that cannot be published is logged and forgotten.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event as Published, EventType, Recorder, Reporter};

use crate::experiment::kind::Experiment;
use crate::experiment::status::Event;

/// The API server's limit for the note of an event, in bytes (`events.k8s.io/v1`).
const NOTE_LIMIT: usize = 1024;

/// Publishes events in the name of this controller.
pub(super) struct Events(Recorder);

impl Events {
    pub(super) fn new(client: Client, instance: &str) -> Self {
        let reporter =
            Reporter { controller: "squall-controller".to_owned(), instance: Some(instance.to_owned()) };
        Self(Recorder::new(client, reporter))
    }

    pub(super) async fn publish(&self, event: &Event, chaos: &dyn Experiment) {
        let published = Published {
            type_: if event.warning { EventType::Warning } else { EventType::Normal },
            reason: event.reason.to_owned(),
            note: Some(shortened(&event.note)),
            action: event.reason.to_owned(),
            secondary: None,
        };
        let reference = chaos.reference();
        let regarding = ObjectReference {
            api_version: Some("chaos-mesh.org/v1alpha1".to_owned()),
            kind: Some(reference.kind),
            namespace: Some(reference.namespace),
            name: Some(reference.name),
            uid: Some(reference.uid),
            resource_version: chaos.metadata().resource_version.clone(),
            field_path: None,
        };
        if let Err(error) = self.0.publish(&published, &regarding).await {
            let reason = event.reason;
            tracing::warn!(error = &error as &dyn std::error::Error, reason, "event not published");
        }
    }
}

fn shortened(note: &str) -> String {
    if note.len() <= NOTE_LIMIT {
        return note.to_owned();
    }
    let end = "…";
    let limit = NOTE_LIMIT - end.len();
    let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= limit;
    note.char_indices().take_while(fits).map(|(_, c)| c).chain(end.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_fit() {
        assert_eq!(shortened("short"), "short");
        let long = shortened(&"é".repeat(1000));
        assert!(long.len() <= NOTE_LIMIT && long.ends_with('…'), "{} bytes", long.len());
    }
}
