//! Waiting for what becomes of one object.

use std::future::ready;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};

use super::apply::Target;
use super::exit::{Failure, Result};

/// How long a watch may be silent, in seconds. Without it a connection that died looks alive for minutes.
const WATCH_TIMEOUT: u32 = 20;

/// A watch that ends in time when the other side is gone.
pub(crate) fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_TIMEOUT)
}

/// What is known of the object `name`: as it is, `None` when it does not exist. Errors are followed by new attempts,
/// further and further apart.
pub(crate) fn object(
    api: Api<DynamicObject>,
    name: &str,
) -> impl Stream<Item = watcher::Result<Option<DynamicObject>>> + use<> {
    let config = watch_config().fields(&format!("metadata.name={name}"));
    watcher(api, config)
        .default_backoff()
        .scan(false, |seen, event| {
            let known = match event {
                Ok(Event::Init) => {
                    *seen = false;
                    None
                }
                Ok(Event::InitApply(object)) => {
                    *seen = true;
                    Some(Ok(Some(object)))
                }
                Ok(Event::InitDone) if *seen => None,
                Ok(Event::InitDone | Event::Delete(_)) => Some(Ok(None)),
                Ok(Event::Apply(object)) => Some(Ok(Some(object))),
                Err(error) => Some(Err(error)),
            };
            ready(Some(known))
        })
        .filter_map(ready)
}

/// Deletes the object, if it is still the one with this UID; gone is as good.
pub(crate) async fn delete(target: &Target, uid: Option<&str>) -> Result<()> {
    let mut parameters = kube::api::DeleteParams::default();
    if let Some(uid) = uid {
        parameters = parameters
            .preconditions(kube::api::Preconditions { uid: Some(uid.to_owned()), resource_version: None });
    }
    match target.api.delete(&target.name, &parameters).await {
        Ok(_) => Ok(()),
        // A conflict means that another object has the name now.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(Failure::api(format!("delete {}", target.label()), &error)),
    }
}

/// Waits until the object with this UID is gone. `false` if it is still there after `timeout`.
pub(crate) async fn gone(target: &Target, uid: Option<&str>, timeout: Duration) -> bool {
    let mut states = pin!(object(target.api.clone(), &target.name));
    let wait = async {
        while let Some(state) = states.next().await {
            if let Ok(state) = state
                && state.is_none_or(|object| object.uid().as_deref() != uid)
            {
                return;
            }
        }
    };
    tokio::time::timeout(timeout, wait).await.is_ok()
}
