//! Waiting for what becomes of one object.

use std::fmt::Debug;
use std::future::ready;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt};

use serde::de::DeserializeOwned;

use super::Target;
use crate::client::is_expired;

/// How long a watch may be silent, in seconds. Without it a connection that died looks alive for minutes.
const WATCH_TIMEOUT: u32 = 20;

/// The shortest time between two attempts: somebody waits.
const SHORTEST: Duration = Duration::from_millis(250);

/// The longest.
const LONGEST: Duration = Duration::from_secs(3);

/// A watch that ends in time when the other side is gone.
pub fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_TIMEOUT)
}

/// A watch that begins anew after each failure, with a new list: only that tells that the API server answers again, and
/// what happened meanwhile. Errors are followed by new attempts, further and further apart.
pub fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let begin = move || watcher(api.clone(), config.clone()).boxed();
    let first = begin();
    stream::unfold((first, begin, Duration::ZERO, false), async |(mut events, begin, wait, failed)| {
        if failed {
            tokio::time::sleep(wait).await;
            events = begin();
        }
        loop {
            match events.next().await {
                Some(Ok(event)) => {
                    // That a list begins tells of no answer yet.
                    let wait = if matches!(event, Event::Init) { wait } else { Duration::ZERO };
                    return Some((Ok(event), (events, begin, wait, false)));
                }
                Some(Err(error)) if is_expired(&error) => events = begin(),
                Some(Err(error)) => {
                    let wait = (wait * 2).clamp(SHORTEST, LONGEST);
                    return Some((Err(error), (events, begin, wait, true)));
                }
                None => events = begin(),
            }
        }
    })
}

/// What is known of the object `name`: as it is, `None` when it does not exist.
pub fn object(
    api: Api<DynamicObject>,
    name: &str,
) -> impl Stream<Item = watcher::Result<Option<DynamicObject>>> + use<> {
    let config = watch_config().fields(&format!("metadata.name={name}"));
    watch(api, config)
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
