//! `squall doctor`: what this machine and this world offer.

mod kernel;
mod probe;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use schemars::JsonSchema;
use serde::Serialize;

use super::Out;
use super::exit::{Exit, Failure, Result};
use super::world::{World, WorldArgs};
pub(super) use probe::run as probe;

use crate::api::{CONTROLLER_LEASE, DEFAULT_LEASE, Injection, SYSTEM_NAMESPACE};
use crate::operations::{installed, why};
use crate::report::{Trouble, age};

/// How long the API server may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer slower than this makes every phase of an experiment late.
const SLOW: Duration = Duration::from_millis(500);

/// Pods of the daemon carry this label.
const DAEMON_LABEL: &str = "app=squall-daemon";

/// Check what this machine and the cluster offer
///
/// Checks the API server, the controller's sign of life, the daemons and this machine's kernel. Each line says what was
/// found, and what cures it if something is wrong. Ends in 1 if anything failed.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall doctor
  squall doctor --context staging -o json")]
pub(crate) struct Args {
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One line for each check
    #[default]
    Table,
    /// JSON
    Json,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Verdict {
    /// Glyph and word: neither colour nor Unicode is needed to read it.
    const fn shown(self) -> &'static str {
        match self {
            Self::Ok => "✓ ok",
            Self::Warn => "! warn",
            Self::Fail => "✗ fail",
        }
    }
}

impl Check {
    fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, what: what.into(), cure: None }
    }

    fn warn(name: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, what: what.into(), cure: Some(cure.into()) }
    }

    fn fail(name: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(name, what, cure) }
    }
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let mut checks = Vec::new();
        kernel::checks(&mut checks).await;
        match World::find(world).await {
            Ok(world) => cluster(&world, &mut checks).await,
            Err(failure) => {
                let cure = failure.to_do().unwrap_or("choose another with --context or --playground");
                checks.push(Check::fail("world", failure.reason(), cure));
            }
        }
        match self.output {
            Output::Json => out.line(&serde_json::to_string_pretty(&checks).map_err(Failure::new)?)?,
            Output::Table => {
                for check in &checks {
                    out.line(&format!("{:<6}  {:<16}  {}", check.verdict.shown(), check.name, check.what))?;
                    if let Some(cure) = &check.cure {
                        out.line(&format!("{:26}to do: {cure}", ""))?;
                    }
                }
            }
        }
        let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
        Ok(if failed { Exit::Error } else { Exit::Success })
    }
}

async fn cluster(world: &World, checks: &mut Vec<Check>) {
    checks.push(Check::ok("world", world.name.clone()));
    let leases = Api::<Lease>::namespaced(world.client.clone(), SYSTEM_NAMESPACE);
    let asked = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, leases.get_opt(CONTROLLER_LEASE)).await;
    let took = asked.elapsed();
    let lease = match answer {
        Err(_elapsed) => {
            let what = format!("no answer within {} s", PATIENCE.as_secs());
            checks.push(Check::fail("API server", what, "check the network between here and the API server"));
            return;
        }
        Ok(Err(error)) if !matches!(error, kube::Error::Api(_)) => {
            checks.push(Check::fail(
                "API server",
                why(&error),
                "start it, or choose another with --context or --playground",
            ));
            return;
        }
        Ok(lease) => lease,
    };
    checks.push(latency(took));
    checks.extend(kubernetes(&world.client).await);
    checks.push(match lease {
        Ok(lease) => controller(lease.as_ref(), Timestamp::now()),
        Err(error) => unreadable("controller", "the leader Lease", &error),
    });
    daemons(&world.client, checks).await;
}

fn latency(took: Duration) -> Check {
    let what = format!("answers in {:.1} ms", took.as_secs_f64() * 1000.0);
    if took < SLOW {
        Check::ok("API server", what)
    } else {
        Check::warn("API server", what, "experiments start and end late by that much")
    }
}

/// Its version, and our kinds in it.
async fn kubernetes(client: &Client) -> Vec<Check> {
    let wrong =
        |name, trouble: Trouble| Check::fail(name, trouble.to_string(), trouble.cure.unwrap_or_default());
    let version = match installed::version(client).await {
        Ok((version, None)) => Check::ok("Kubernetes", version),
        Ok((_, Some(trouble))) | Err(trouble) => wrong("Kubernetes", trouble),
    };
    let mut kinds: Vec<_> =
        installed::kinds(client).await.into_iter().map(|trouble| wrong("kinds", trouble)).collect();
    if kinds.is_empty() {
        kinds.push(Check::ok("kinds", "all kinds are installed, as this release has them"));
    }
    kinds.insert(0, version);
    kinds
}

fn unreadable(name: &'static str, object: &str, error: &kube::Error) -> Check {
    Check::warn(
        name,
        format!("cannot read {object}: {}", why(error)),
        format!("ask for the right to read {object}"),
    )
}

/// The controller renews its Lease every two seconds; the daemons undo everything when it falls silent.
fn controller(lease: Option<&Lease>, now: Timestamp) -> Check {
    const CURE: &str =
        "look at its log: `squall get pods -n squall-system`; in a playground start the playground again";
    let Some(spec) = lease.and_then(|lease| lease.spec.as_ref()) else {
        return Check::fail("controller", "no controller has ever led here", CURE);
    };
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let Some(renewed) = spec.renew_time.as_ref().filter(|_| !holder.is_empty()) else {
        return Check::fail("controller", "no controller leads", CURE);
    };
    let what = format!("{holder} leads, last heard of {} ago", age::since(renewed.0, now));
    let silent = u64::try_from(now.as_second() - renewed.0.as_second()).unwrap_or_default();
    // Two clocks are compared; a few seconds may be their difference.
    if silent < DEFAULT_LEASE.as_secs() / 2 {
        Check::ok("controller", what)
    } else if silent < DEFAULT_LEASE.as_secs() {
        Check::warn("controller", what, CURE)
    } else {
        Check::fail("controller", what, CURE)
    }
}

/// Which nodes have a daemon that answers: their pods tell it, and the Injections that they work on.
async fn daemons(client: &Client, checks: &mut Vec<Check>) {
    let everything = ListParams::default();
    let nodes = match Api::<Node>::all(client.clone()).list(&everything).await {
        Ok(nodes) => nodes,
        Err(error) => {
            checks.push(unreadable("daemons", "nodes", &error));
            return;
        }
    };
    let pods = Api::<Pod>::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let pods = pods
        .list(&ListParams::default().labels(DAEMON_LABEL))
        .await
        .map(|pods| pods.items)
        .unwrap_or_default();
    let injections = Api::<Injection>::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let injections = injections.list(&everything).await.map(|list| list.items).unwrap_or_default();
    let names: Vec<_> = nodes.iter().map(ResourceExt::name_any).collect();
    checks.push(daemons_of(&names, &pods, &injections));
}

fn daemons_of(nodes: &[String], pods: &[Pod], injections: &[Injection]) -> Check {
    let ready = |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for injection in injections {
        let answered = injection.status.as_ref().is_some_and(|status| status.observed_generation > 0);
        let word = if answered { "answered an Injection" } else { "has not answered an Injection" };
        known.insert(&injection.spec.node, word);
    }
    for pod in pods {
        if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
            known.insert(node, if ready(pod) { "ready" } else { "not ready" });
        }
    }
    let described: Vec<_> = nodes
        .iter()
        .map(|node| format!("{node} {}", known.get(node.as_str()).copied().unwrap_or("unknown")))
        .collect();
    let what = described.join(", ");
    let bad = known.values().any(|word| word.contains("not "));
    if nodes.is_empty() {
        Check::fail("daemons", "there are no nodes", "wait until the cluster or playground is up")
    } else if bad {
        Check::fail("daemons", what, "look at the daemon's log on that node")
    } else if nodes.iter().all(|node| known.contains_key(node.as_str())) {
        Check::ok("daemons", what)
    } else {
        Check::warn("daemons", what, "no daemon is known there: pods on these nodes cannot be targets")
    }
}

#[cfg(test)]
mod tests;
