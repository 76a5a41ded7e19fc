//! What Squall's own parts do and use, read from the API server again and again. Nothing is asked of the parts themselves.

mod usage;

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::core::ClusterResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::Kind;
use crate::api::{CONTROLLER_LEASE, Halt, Injection, SYSTEM_NAMESPACE};
use crate::report::top::Seen;
use crate::report::{INSTALL, Trouble, status, word};
use usage::Meter;

/// Looks at everything, and remembers of each look what the next one needs.
pub struct Observer {
    client: Client,
    meter: Meter,
}

impl Observer {
    /// One that has seen nothing yet.
    pub fn new(client: Client) -> Self {
        Self { meter: Meter::new(client.clone()), client }
    }

    /// Reads it all once. What the user may not read is left out and named ([`Seen::unknown`]).
    ///
    /// # Errors
    /// The API server does not answer, or Squall is not installed there.
    pub async fn look(&mut self) -> Result<Seen, Trouble> {
        let client = &self.client;
        let (nodes, pods, lease, injections, halts, experiments) = tokio::try_join!(
            everywhere(client, "nodes"),
            listed(Api::namespaced(client.clone(), SYSTEM_NAMESPACE), "pods of squall-system"),
            lease(client),
            listed(Api::<Injection>::namespaced(client.clone(), SYSTEM_NAMESPACE), "injections"),
            everywhere::<Halt>(client, "halts"),
            experiments(client),
        )?;
        let mut seen = Seen::default();
        let unknown = &mut seen.unknown;
        let (nodes, pods) = (known(nodes, unknown), known(pods, unknown));
        let (injections, halts) = (known(injections, unknown), known(halts, unknown));
        seen.lease = known(lease, unknown).flatten();
        seen.experiments = known(experiments, unknown).unwrap_or_default();
        seen.nodes = nodes;
        seen.pods = pods.unwrap_or_default();
        seen.injections = injections.unwrap_or_default();
        seen.halts = halts.unwrap_or_default();
        self.meter.measure(&mut seen).await;
        Ok(seen)
    }

    /// Whether another look can tell more of what the parts use: processor time takes two samples, and a kubelet takes one
    /// every ten seconds or so.
    pub fn is_waiting_for_samples(&self) -> bool {
        self.meter.is_waiting()
    }
}

/// What was read, or why it may not be read.
type Answer<T> = Result<T, Trouble>;

/// Keeps why something may not be read with the rest of it.
fn known<T>(answer: Answer<T>, unknown: &mut Vec<Trouble>) -> Option<T> {
    answer.map_err(|trouble| unknown.push(trouble)).ok()
}

/// A refusal is an answer; anything else ends the look.
fn answer<T>(what: &str, answered: kube::Result<T>) -> Result<Answer<T>, Trouble> {
    match answered {
        Ok(value) => Ok(Ok(value)),
        Err(error) => {
            let trouble = Trouble::api(what, &error);
            let refused = matches!(&error, kube::Error::Api(status) if status.is_forbidden());
            if refused { Ok(Err(trouble)) } else { Err(trouble) }
        }
    }
}

/// What an API server remembers will do: it is not asked of its store every two seconds.
async fn listed<K>(api: Api<K>, what: &str) -> Result<Answer<Vec<K>>, Trouble>
where
    K: Clone + Debug + DeserializeOwned,
{
    let list = api.list(&ListParams::default().match_any()).await;
    let list = match list {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            return Err(Trouble::new(format!("the API server does not have {what}")).cure(INSTALL));
        }
        list => list.map(|list| list.items),
    };
    answer(&format!("list {what}"), list)
}

async fn everywhere<K>(client: &Client, what: &str) -> Result<Answer<Vec<K>>, Trouble>
where
    K: Resource<Scope = ClusterResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    listed(Api::<K>::all(client.clone()), what).await
}

async fn lease(client: &Client) -> Result<Answer<Option<Lease>>, Trouble> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    answer(&format!("get leases/{CONTROLLER_LEASE}"), leases.get_opt(CONTROLLER_LEASE).await)
}

/// How many experiments are in each phase.
async fn experiments(client: &Client) -> Result<Answer<BTreeMap<String, u32>>, Trouble> {
    let mut phases = BTreeMap::new();
    for kind in Kind::experiments() {
        let objects = match listed(kind.api(client, None), &kind.resource.plural).await? {
            Ok(objects) => objects,
            Err(refused) => return Ok(Err(refused)),
        };
        for object in objects {
            let phase = word(&status(&object), object.metadata.deletion_timestamp.is_some());
            *phases.entry(phase.to_owned()).or_default() += 1;
        }
    }
    Ok(Ok(phases))
}
