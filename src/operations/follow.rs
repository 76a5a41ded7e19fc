//! Waiting for what becomes of one object.

use std::future::ready;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};

use super::Target;

/// How long a watch may be silent, in seconds. Without it a connection that died looks alive for minutes.
const WATCH_TIMEOUT: u32 = 20;

/// A watch that ends in time when the other side is gone.
pub fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_TIMEOUT)
}

/// What is known of the object `name`: as it is, `None` when it does not exist. Errors are followed by new attempts,
/// further and further apart.
pub fn object(
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

/// Waits until the object with this UID is gone. `false` if it is still there after `timeout`.
pub async fn gone(target: &Target, uid: Option<&str>, timeout: Duration) -> bool {
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
