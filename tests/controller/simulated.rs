//! What stands in for a cluster: an API server in this process, and what a daemon answers. Shared with the benchmarks.

use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::{Request, Response};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use squall::api::{Injection, InjectionStatus, TargetPhase, TargetStatus, admit, custom_kinds};
use squall::apiserver::{
    Admission, ApiServer, ByteStream, Cause, Config, LogOptions, NodeAccess, Resource as Served, StatusError,
};

struct Admit;

impl Admission for Admit {
    fn admit(&self, resource: &Served, old: Option<&Value>, new: &mut Value) -> Result<(), Vec<Cause>> {
        let cause = |problem: squall::api::Problem| Cause { field: problem.path, message: problem.what };
        admit(resource.group, resource.kind, old, new)
            .map_err(|problems| problems.into_iter().map(cause).collect())
    }
}

/// Nobody asks for logs or proxies here.
struct Nowhere;

impl NodeAccess for Nowhere {
    fn log(&self, _: &str, _: &str, _: LogOptions) -> BoxFuture<'static, Result<ByteStream, StatusError>> {
        async { Ok(futures::stream::empty().boxed() as ByteStream) }.boxed()
    }

    fn proxy(
        &self,
        _: &str,
        _: &str,
        _: Option<u16>,
        _: Request<bytes::Bytes>,
    ) -> BoxFuture<'static, Result<Response<bytes::Bytes>, StatusError>> {
        async { Ok(Response::new(bytes::Bytes::new())) }.boxed()
    }
}

/// An API server on which the CRDs of these kinds are not installed, and all others are.
pub(crate) fn server(without: &[&str]) -> ApiServer {
    let mut resources = Served::builtin();
    let installed = custom_kinds().iter().filter(|kind| !without.contains(&kind.kind));
    resources.extend(installed.map(|kind| Served {
        group: kind.group,
        version: kind.version,
        plural: kind.plural,
        kind: kind.kind,
        namespaced: kind.namespaced,
        status: kind.status,
        selectable: kind.selectable,
    }));
    ApiServer::new(Config::new(resources, Arc::new(Admit), Arc::new(Nowhere)))
}

/// Creates an object.
pub(crate) async fn make<K>(api: &Api<K>, value: Value)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug,
{
    let mut value = value;
    value["apiVersion"] = K::api_version(&()).into();
    value["kind"] = K::kind(&()).into();
    let object: K = serde_json::from_value(value).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// What a daemon says that does at once what the Injection asks for.
pub(crate) fn obey(injection: &Injection) -> InjectionStatus {
    let spec = &injection.spec;
    let old = injection.status.clone().unwrap_or_default();
    let mut status = InjectionStatus {
        observed_generation: injection.metadata.generation.unwrap_or_default(),
        observed_run: spec.run,
        ..InjectionStatus::default()
    };
    let same_run = old.observed_run == spec.run;
    status.started_at = old.started_at.clone().filter(|_| same_run);
    status.ended = old.ended.clone().filter(|_| same_run);
    let since = status.started_at.as_ref().map(|started| Timestamp::now().duration_since(started.0));
    let is_over = spec
        .effective_remaining()
        .zip(since)
        .is_some_and(|(left, since)| since >= SignedDuration::try_from(left).unwrap());
    if is_over && !spec.paused {
        status.ended = Some("DurationElapsed".to_owned());
    }
    let absent = injection.metadata.deletion_timestamp.is_some() || status.ended.is_some() || spec.paused;
    let word = match (absent, injection.metadata.deletion_timestamp.is_some()) {
        (false, _) => "Present",
        (true, true) => "Deleted",
        (true, false) => "Paused",
    };
    status.wanted = Some(word.to_owned());
    if spec.paused {
        status.elapsed = Some("0s".to_owned());
    }
    status.targets = spec
        .targets
        .iter()
        .map(|target| {
            let known = old.targets.iter().find(|status| status.target == *target);
            let was = known.map_or(TargetPhase::Waiting, |status| status.phase);
            let phase = match was {
                _ if !absent => TargetPhase::Injected,
                TargetPhase::Injected => TargetPhase::Recovered,
                other => other,
            };
            TargetStatus {
                target: target.clone(),
                phase,
                evidence: Some("seen".to_owned()),
                error: None,
                since: known.filter(|_| was == phase).map_or_else(now, |status| status.since.clone()),
                injected_count: u32::from(phase != TargetPhase::Waiting),
                recovered_count: u32::from(phase == TargetPhase::Recovered),
            }
        })
        .collect();
    if !absent {
        status.started_at.get_or_insert_with(now);
    }
    status
}

/// As the API server stores it: whole seconds.
fn now() -> Time {
    Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap())
}
