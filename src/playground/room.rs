//! The machine room: the one process that runs the cluster, put together from its parts.
//!
//! API server, controllers, name server and the kubelets of three nodes are tasks here. Squall's own controller and
//! daemons are not: they are pods, processes of their own, so that killing one is a real test.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kube::Client;
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::controllers::{self, Progress};
use super::kubelet::{Images, Kubelet, Node, PodRegistry};
use super::network::{self, Addresses, Network};
use super::{API_SOCKET, dns, objects, seed, services};
use crate::api;
use crate::apiserver::{Admission, ApiServer, Cause, Config, NodeAccess, Resource};

/// How long the pods may take to stop when the playground ends.
const SHUTDOWN: Duration = Duration::from_secs(4);

/// Why the machine room could not be set up.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoomError {
    #[error("cannot {action}")]
    System {
        action: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the sandbox has no network")]
    Network(#[from] network::NetworkError),
    #[error("Services cannot work")]
    Services(#[from] services::ServiceError),
    #[error("the cluster cannot be filled")]
    Objects(#[from] objects::ObjectsError),
}

fn system(action: &'static str) -> impl FnOnce(io::Error) -> RoomError {
    move |source| RoomError::System { action, source }
}

/// The rules of our own kinds; all others are stored as they are.
struct Admit;

impl Admission for Admit {
    fn admit(&self, resource: &Resource, old: Option<&Value>, new: &mut Value) -> Result<(), Vec<Cause>> {
        let cause = |problem: api::Problem| Cause {
            message: format!("Invalid value: {}; {}", problem.what, problem.cure),
            field: problem.path,
        };
        api::admit(resource.group, resource.kind, old, new)
            .map_err(|problems| problems.into_iter().map(cause).collect())
    }
}

/// Every kind that the playground's API server stores.
fn resources() -> Vec<Resource> {
    let custom = |kind: &api::CustomKind| Resource {
        group: kind.group,
        version: kind.version,
        plural: kind.plural,
        kind: kind.kind,
        namespaced: kind.namespaced,
        status: kind.status,
        selectable: kind.selectable,
    };
    let mut resources = Resource::builtin();
    resources.extend(api::custom_kinds().iter().map(custom));
    resources
}

/// Runs the cluster until SIGTERM. Standard input is the socket that the user's terminals connect to.
pub(super) async fn run(socket: &str) -> Result<(), RoomError> {
    let begun = Instant::now();
    let mut terminate = signal(SignalKind::terminate()).map_err(system("receive signals"))?;
    let outside = inherited_listener().map_err(system("take over the socket"))?;
    let inside = UnixListener::bind(API_SOCKET).map_err(system("make the socket of the sandbox"))?;
    let network = Network::create().await?;
    let registry = Arc::new(PodRegistry::default());
    let resources = resources();
    let node_access: Arc<dyn NodeAccess> = Arc::<PodRegistry>::clone(&registry);
    let server = ApiServer::new(Config::new(resources.clone(), Arc::new(Admit), node_access));
    let client = server.client(objects::DEFAULT_NAMESPACE);
    objects::create(&client, &resources).await?;

    let mut tasks = JoinSet::new();
    tasks.spawn(server.clone().serve_unix(outside));
    tasks.spawn(server.serve_unix(inside));
    let (records, known_records) = watch::channel(Arc::default());
    let names = dns::Server::bind().await.map_err(system("open the name server's sockets"))?;
    tasks.spawn(names.run(known_records));
    let services = services::Services::new(client.clone(), network.clone(), records)?;
    let (progress, reached) = watch::channel(Progress::default());
    tasks.spawn(controllers::run(client.clone(), services, progress));
    let shutdown = CancellationToken::new();
    let mut kubelets = JoinSet::new();
    for kubelet in nodes(&client, &network, &registry, &shutdown) {
        kubelets.spawn(kubelet.run());
    }
    tasks.spawn(announce(client, reached, begun, socket.to_owned()));

    terminate.recv().await;
    say("ending the playground");
    shutdown.cancel();
    if tokio::time::timeout(SHUTDOWN, kubelets.join_all()).await.is_err() {
        tracing::warn!("some pods did not stop in time: they are killed");
    }
    Ok(())
}

fn inherited_listener() -> io::Result<UnixListener> {
    let listener = std::os::unix::net::UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

fn nodes(
    client: &Client,
    network: &Network,
    registry: &Arc<PodRegistry>,
    shutdown: &CancellationToken,
) -> Vec<Kubelet> {
    let images = Images::find(&std::env::var_os("PATH").unwrap_or_default());
    let node = |(number, (name, address)): (u8, &(&str, _))| {
        Kubelet::new(Arc::new(Node {
            name: (*name).to_owned(),
            address: *address,
            client: client.clone(),
            network: network.clone(),
            addresses: Mutex::new(Addresses::new(number)),
            images: images.clone(),
            registry: Arc::clone(registry),
            shutdown: shutdown.clone(),
        }))
    };
    (0..).zip(&objects::MACHINES).map(node).collect()
}

/// Tells how the start goes, fills the database and says what can be done now.
async fn announce(client: Client, mut progress: watch::Receiver<Progress>, begun: Instant, socket: String) {
    let mut told = BTreeSet::new();
    loop {
        let now = progress.borrow_and_update().clone();
        for name in &now.ready {
            if told.insert(name.clone()) {
                say(&format!("  ready after {:4} ms  {name}", begun.elapsed().as_millis()));
            }
        }
        if now.is_complete() {
            for name in &now.crashed {
                let (namespace, pod) = name.split_once('/').unwrap_or_default();
                say(&format!("  not running: {name}; see `squall logs -n {namespace} {pod}`"));
            }
            break;
        }
        if progress.changed().await.is_err() {
            return;
        }
    }
    if let Err(error) = seed::run(&client).await {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(%error, cause, "the database has no films");
    }
    let took = begun.elapsed().as_secs_f64();
    say(&format!(
        "playground is up: all pods ready after {took:.1} s\n\
         socket: {socket}\n\n\
         In another terminal:\n\
         \x20 squall get pods\n\
         \x20 squall run -f templates/partition.yaml\n\n\
         Ctrl-C here ends it."
    ));
}

/// Writes a line to the user's terminal, through the supervisor.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        tracing::debug!(%error, "the supervisor is gone");
    }
}
