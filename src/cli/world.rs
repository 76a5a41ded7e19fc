//! Which API server is meant: a playground on this machine, or a cluster.

use std::path::{Path, PathBuf};

use clap::Args;
use kube::Client;

use super::Out;
use super::exit::{Failure, Result};
use crate::api::SYSTEM_NAMESPACE;
use crate::client::{self, Acting, Connection, Kubeconfig};
use crate::paths;

/// The socket of the API server for the controller and daemons inside a playground.
const SOCKET_VARIABLE: &str = "SQUALL_API_SOCKET";

/// The namespace where neither a file nor the command line nor the kubeconfig names one.
const DEFAULT_NAMESPACE: &str = "default";

/// Flags that choose the world.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which world (default: the running playground, else the current context)")]
pub(crate) struct WorldArgs {
    /// Use the playground of this name
    #[arg(long, global = true, value_name = "NAME", conflicts_with_all = ["context", "kubeconfig"])]
    playground: Option<String>,
    /// Use this context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Use this kubeconfig file
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Act as this user, which takes the right to impersonate
    #[arg(long = "as", global = true, value_name = "USER", conflicts_with = "playground")]
    acting: Option<String>,
    /// Act as a member of this group; may be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "acting")]
    groups: Vec<String>,
}

impl WorldArgs {
    /// Whether a flag names a cluster.
    pub(crate) const fn names_a_cluster(&self) -> bool {
        self.context.is_some() || self.kubeconfig.is_some()
    }

    /// The kubeconfig that is meant, if one is.
    fn config(&self) -> Kubeconfig {
        let acting = Acting { user: self.acting.clone(), groups: self.groups.clone() };
        Kubeconfig { file: self.kubeconfig.clone(), acting }
    }

    /// The playground that a flag names.
    pub(crate) fn playground(&self) -> Option<&str> {
        self.playground.as_deref()
    }
}

/// The API server that a verb talks to.
pub(crate) struct World {
    /// A client of it.
    pub(crate) client: Client,
    /// What the user calls it.
    pub(crate) name: String,
    /// The namespace that its context names, if it names one.
    pub(crate) own_namespace: Option<String>,
    /// The kubeconfig that it was found in, if it was.
    pub(crate) kubeconfig: Option<Kubeconfig>,
    connection: Option<Connection>,
    playground: bool,
    in_pod: bool,
}

/// What the choice depends on, beside the flags.
#[derive(Debug, Default)]
struct Surroundings {
    socket: Option<PathBuf>,
    kubeconfig: Option<PathBuf>,
    running: Vec<String>,
    in_cluster: bool,
    default_kubeconfig: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// The kubeconfig that was named, that of KUBECONFIG, or the user's own.
    Kubeconfig,
    Playground(String),
    Socket(PathBuf),
    InCluster,
}

impl World {
    /// Finds the world that `args` and the surroundings mean.
    pub(crate) async fn find(args: &WorldArgs) -> Result<Self> {
        let choice = choose(args, Surroundings::read())?;
        if args.acting.is_some() && choice != Choice::Kubeconfig {
            return Err(Failure::bad_input("--as is for the user of a kubeconfig, and none is in use")
                .cure("name a cluster with --kubeconfig or --context"));
        }
        match choice {
            Choice::Kubeconfig => {
                let kubeconfig = args.config();
                let connection = kubeconfig.connect(args.context.as_deref()).await?;
                Ok(Self { kubeconfig: Some(kubeconfig), ..Self::of_connection(connection) })
            }
            Choice::InCluster => Ok(Self { in_pod: true, ..Self::of_connection(client::in_cluster()?) }),
            Choice::Socket(path) => Ok(Self {
                playground: false,
                name: format!("the API server on {}", path.display()),
                ..Self::over_unix(&path)
            }),
            Choice::Playground(name) => Ok(Self::of_playground(&name)),
        }
    }

    /// The playground of this name, whether or not it answers. Inside a tokio runtime, as all of these.
    pub(crate) fn of_playground(name: &str) -> Self {
        let socket = paths::socket(&paths::socket_folder(), name);
        Self { name: format!("playground {name}"), ..Self::over_unix(&socket) }
    }

    /// The running playground of this name, or the only one that runs.
    pub(crate) fn of_running_playground(name: Option<&str>) -> Result<Self> {
        let running = paths::running_playgrounds(&paths::socket_folder());
        choose_playground(name, &running).map(Self::of_playground)
    }

    fn over_unix(socket: &Path) -> Self {
        Self {
            client: client::over_unix(socket, DEFAULT_NAMESPACE),
            name: String::new(),
            own_namespace: None,
            kubeconfig: None,
            connection: None,
            playground: true,
            in_pod: false,
        }
    }

    fn of_connection(connection: Connection) -> Self {
        Self {
            client: connection.client.clone(),
            name: connection.name.clone(),
            own_namespace: connection.namespace.clone(),
            kubeconfig: None,
            connection: Some(connection),
            playground: false,
            in_pod: false,
        }
    }

    /// Logs in where a plugin does that, while it may use the terminal; afterwards it may not.
    pub(crate) async fn log_in(&self) -> Result<()> {
        let Some(connection) = &self.connection else { return Ok(()) };
        connection.log_in().await?;
        connection.leave_terminal();
        Ok(())
    }

    /// Whether it is a playground.
    pub(crate) const fn is_playground(&self) -> bool {
        self.playground
    }

    /// Refuses a pod that is not of our own namespace: the same image runs as somebody else's pod while that is failed, with
    /// that pod's arguments and account, and these may happen to be the name of a verb.
    pub(crate) fn demand_own_namespace(&self) -> Result<()> {
        let of_pod = self.own_namespace.as_deref().filter(|_| self.in_pod);
        match of_pod.filter(|namespace| *namespace != SYSTEM_NAMESPACE) {
            None => Ok(()),
            Some(namespace) => Err(Failure::message(format!("this is a pod of namespace {namespace}"))
                .cure(format!("controller and daemons run in {SYSTEM_NAMESPACE}: squall install"))),
        }
    }

    /// Whether it is a cluster, and no API server of ours.
    pub(crate) const fn is_cluster(&self) -> bool {
        self.connection.is_some()
    }

    /// The namespace that is meant: of the command line, or of the context.
    pub(crate) fn namespace(&self, of_flag: Option<&str>) -> String {
        of_flag.unwrap_or_else(|| self.client.default_namespace()).to_owned()
    }

    /// Says which world is about to be changed. Every verb that writes begins with it.
    pub(crate) fn announce(&self, out: &mut Out) {
        out.say(&format!("in {}", self.name));
    }
}

impl Surroundings {
    fn read() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            socket: variable(SOCKET_VARIABLE),
            kubeconfig: variable("KUBECONFIG"),
            running: paths::running_playgrounds(&paths::socket_folder()),
            in_cluster: variable("KUBERNETES_SERVICE_HOST").is_some(),
            default_kubeconfig: variable("HOME").is_some_and(|home| home.join(".kube/config").exists()),
        }
    }
}

/// Flags win over variables, variables over what happens to run. The socket variable wins over KUBECONFIG:
/// the daemons of a playground inherit the user's environment and must not reach for a real cluster.
fn choose(args: &WorldArgs, around: Surroundings) -> Result<Choice> {
    if args.names_a_cluster() {
        return Ok(Choice::Kubeconfig);
    }
    if let Some(name) = args.playground() {
        return choose_playground(Some(name), &around.running)
            .map(|name| Choice::Playground(name.to_owned()));
    }
    if let Some(path) = around.socket {
        return Ok(Choice::Socket(path));
    }
    if around.kubeconfig.is_some() {
        return Ok(Choice::Kubeconfig);
    }
    match around.running.as_slice() {
        [name] => Ok(Choice::Playground(name.clone())),
        [] if around.in_cluster => Ok(Choice::InCluster),
        [] if around.default_kubeconfig => Ok(Choice::Kubeconfig),
        [] => Err(Failure::message("no playground is running and there is no kubeconfig")
            .cure("start a playground with `squall playground`, or name a cluster with --kubeconfig FILE")),
        several => Err(ambiguous(several)),
    }
}

/// The running playground that is meant, where nothing but a playground is.
fn choose_playground<'a>(name: Option<&'a str>, running: &'a [String]) -> Result<&'a str> {
    match (name, running) {
        (Some(name), _) if running.iter().any(|other| other == name) => Ok(name),
        (Some(name), _) => Err(not_running(name, running)),
        (None, [name]) => Ok(name),
        (None, []) => {
            Err(Failure::message("no playground is running").cure("start one with `squall playground`"))
        }
        (None, several) => Err(ambiguous(several)),
    }
}

fn ambiguous(running: &[String]) -> Failure {
    Failure::bad_input(format!("several playgrounds are running: {}", running.join(", ")))
        .cure("say which one is meant with --playground NAME")
}

fn not_running(name: &str, running: &[String]) -> Failure {
    let cure = if running.is_empty() {
        format!("start it with `squall playground --name {name}`")
    } else {
        format!(
            "use one that runs: {}; or start it with `squall playground --name {name}`",
            running.join(", ")
        )
    };
    Failure::message(format!("no playground \"{name}\" is running")).cure(cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(names: &[&str]) -> Surroundings {
        Surroundings {
            running: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Surroundings::default()
        }
    }

    #[test]
    fn flags_then_variables_then_what_runs() {
        let flag = |text: &str| Some(text.to_owned());
        let everything = || Surroundings {
            socket: Some("/s".into()),
            kubeconfig: Some("/k".into()),
            in_cluster: true,
            default_kubeconfig: true,
            ..running(&["default"])
        };
        let context = WorldArgs { context: flag("prod"), ..WorldArgs::default() };
        let playground = WorldArgs { playground: flag("default"), ..WorldArgs::default() };
        let none = WorldArgs::default();
        for (args, around, expected) in [
            (&context, everything(), Choice::Kubeconfig),
            (&playground, everything(), Choice::Playground("default".into())),
            (&none, everything(), Choice::Socket("/s".into())),
            (&none, Surroundings { socket: None, ..everything() }, Choice::Kubeconfig),
            (&none, running(&["mine"]), Choice::Playground("mine".into())),
            (
                &none,
                Surroundings { in_cluster: true, default_kubeconfig: true, ..running(&[]) },
                Choice::InCluster,
            ),
            (&none, Surroundings { default_kubeconfig: true, ..running(&[]) }, Choice::Kubeconfig),
        ] {
            assert_eq!(choose(args, around).unwrap(), expected);
        }
    }

    #[test]
    fn without_a_clear_answer_it_asks() {
        let none = WorldArgs::default();
        for (args, around, words) in [
            (&none, running(&["a", "b"]), "a, b"),
            (&none, running(&[]), "squall playground"),
            (
                &WorldArgs { playground: Some("c".into()), ..none.clone() },
                running(&["a"]),
                "use one that runs: a",
            ),
        ] {
            let message = choose(args, around).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
