//! Experiments, as their users apply them and wait for them.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::kubectl::{apply, within};
use super::world::World;

/// How long something may take that is done as soon as it is asked for, with every program waiting for a processor.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// How long a deletion may take beyond the lease, whatever is away.
pub(crate) const BEYOND_LEASE: Duration = Duration::from_secs(10);

/// One experiment of the namespace `default`.
#[derive(Clone, Debug)]
pub(crate) struct Experiment {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

/// Applies one of the tutorial's files as it is.
pub(crate) fn tutorial(world: &World, file: &str, kind: &'static str, name: &str) -> Experiment {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/valid").join(file);
    world.kubectl(&format!("apply -n default -f {}", path.display()));
    Experiment { kind, name: name.to_owned() }
}

/// Applies a NetworkChaos with this spec; with `lease`, what daemons do without a controller for so long.
pub(crate) fn network(world: &World, name: &str, lease: Option<&str>, spec: &Value) -> Experiment {
    create(world, "NetworkChaos", name, lease, spec);
    Experiment { kind: "networkchaos", name: name.to_owned() }
}

/// The same for a PodChaos.
pub(crate) fn pods(world: &World, name: &str, lease: Option<&str>, spec: &Value) -> Experiment {
    create(world, "PodChaos", name, lease, spec);
    Experiment { kind: "podchaos", name: name.to_owned() }
}

fn create(world: &World, kind: &str, name: &str, lease: Option<&str>, spec: &Value) {
    let annotations = lease.map(|lease| json!({ "squall.dev/lease": lease }));
    let object = json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind,
        "metadata": { "namespace": "default", "name": name, "annotations": annotations }, "spec": spec,
    });
    apply(&world.cluster, &object);
}

/// A selector of the pods of an application.
pub(crate) fn pods_of(app: &str) -> Value {
    json!({ "namespaces": ["default"], "labelSelectors": { "app": app } })
}

/// Every packet of the pods of an application waits.
pub(crate) fn delay(app: &str, milliseconds: u32) -> Value {
    json!({
        "action": "delay", "mode": "all", "selector": pods_of(app),
        "delay": { "latency": format!("{milliseconds}ms") },
    })
}

impl Experiment {
    fn order(&self, verb: &str) -> String {
        format!("{verb} {}/{}", self.kind, self.name)
    }

    /// Waits for a condition as scripts do.
    pub(crate) fn wait(&self, world: &World, condition: &str) {
        let order = self.order("wait");
        world.kubectl(&format!("{order} --for=condition={condition} --timeout={}s", SOON.as_secs()));
    }

    /// Waits until every target has it; gives how long that took.
    pub(crate) fn injected(&self, world: &World) -> Duration {
        let start = Instant::now();
        self.wait(world, "AllInjected");
        start.elapsed()
    }

    pub(crate) fn status(&self, world: &World) -> Value {
        world.json(&self.order("get"))["status"].take()
    }

    /// Whether a condition is true.
    pub(crate) fn is(&self, world: &World, condition: &str) -> bool {
        let status = self.status(world);
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == condition && one["status"] == "True")
    }

    /// Deletes it and waits until it is gone, at most so long.
    pub(crate) fn delete(&self, world: &World, limit: Duration) -> Duration {
        let start = Instant::now();
        world.kubectl(&format!("{} --timeout={}s", self.order("delete"), limit.as_secs()));
        start.elapsed()
    }

    /// Its Injections.
    pub(crate) fn injections(&self, world: &World) -> Vec<Value> {
        let all = world.json("-n squall-system get injections");
        let all = all["items"].as_array().unwrap();
        let of_it = |one: &&Value| one["spec"]["experiment"]["name"] == self.name.as_str();
        all.iter().filter(of_it).cloned().collect()
    }

    /// What was read back on a node of its targets.
    pub(crate) fn evidence(&self, world: &World, node: &str) -> String {
        let of_node = self.injections(world).into_iter().filter(|one| one["spec"]["node"] == node);
        let targets =
            of_node.flat_map(|one| one["status"]["targets"].as_array().cloned().unwrap_or_default());
        targets
            .map(|target| target["evidence"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Waits until no Injection is left.
pub(crate) fn no_injection_is_left(world: &World) {
    within(SOON, "no Injection is left", || {
        world.json("-n squall-system get injections")["items"].as_array().unwrap().is_empty()
    });
}
