//! What runs: the controllers and the daemons.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, Deployment, DeploymentSpec, DeploymentStrategy,
    RollingUpdateDaemonSet, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    ExecAction, HostPathVolumeSource, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec,
    Probe, ResourceRequirements, SELinuxOptions, SeccompProfile, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;

use super::{CONTROLLER, DAEMON, Options, PRIORITY, Part, labels, meta_in_system, words};
use crate::capabilities::CAPABILITIES;

/// Label that tells the pods of the controller from those of the daemons.
const COMPONENT: &str = "app.kubernetes.io/component";

/// Where the program is in the image, which has nothing else.
const PROGRAM: &str = "/squall";

/// Two: one that acts, and one that takes over.
const REPLICAS: i32 = 2;

/// An id that no user of a node has; the image has no list of users.
const NOBODY: i64 = 65_532;

/// How long a daemon has to undo everything when it is asked to end. It takes 25 s at most.
const GRACE_SECONDS: i64 = 30;

/// The controllers, what keeps a drain from ending both at once, and the daemons.
pub fn workloads(options: &Options) -> Vec<Part> {
    let budget = PodDisruptionBudget {
        metadata: meta_in_system(CONTROLLER),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector("controller")),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    vec![Part::of(&budget), Part::of(&controller(options)), Part::of(&daemon(options))]
}

fn selector(component: &str) -> LabelSelector {
    let label = (COMPONENT.to_owned(), component.to_owned());
    LabelSelector { match_labels: Some([label].into()), ..LabelSelector::default() }
}

fn template(component: &str, options: &Options, mut spec: PodSpec) -> PodTemplateSpec {
    let mut labels = labels();
    labels.insert(COMPONENT.to_owned(), component.to_owned());
    let mut metadata = ObjectMeta { labels: Some(labels), ..ObjectMeta::default() };
    if let Some(port) = options.metrics_port {
        metadata.annotations = Some(scraped(port));
        spec.containers.iter_mut().for_each(|container| tell_metrics(container, port));
    }
    PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) }
}

/// By which many a Prometheus finds a pod to scrape.
fn scraped(port: u16) -> BTreeMap<String, String> {
    let annotation = |name: &str, value: String| (format!("prometheus.io/{name}"), value);
    [
        annotation("scrape", "true".to_owned()),
        annotation("port", port.to_string()),
        annotation("path", "/metrics".to_owned()),
    ]
    .into()
}

/// Has a container listen on the pod's address alone, which is the node's where the pod shares the host's network.
fn tell_metrics(container: &mut Container, port: u16) {
    container.args.get_or_insert_default().push(format!("--metrics-listen=$({POD_ADDRESS}):{port}"));
    container.env.get_or_insert_default().push(env_of_field(POD_ADDRESS, "status.podIP"));
    container.ports = Some(vec![ContainerPort {
        name: Some("metrics".to_owned()),
        container_port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }]);
}

/// The variable that holds the pod's address.
const POD_ADDRESS: &str = "POD_IP";

fn controller(options: &Options) -> Deployment {
    // There is a leader at every moment of an upgrade, or the daemons would take faults away for want of a heartbeat.
    let rolling = RollingUpdateDeployment {
        max_surge: Some(IntOrString::Int(1)),
        max_unavailable: Some(IntOrString::Int(0)),
    };
    let spread = TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector("controller")),
        ..TopologySpreadConstraint::default()
    };
    let container = Container {
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { add: None, drop: Some(words(&["ALL"])) }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        env: Some(vec![
            env("SQUALL_FAILURE_IMAGE", &options.image),
            env("SQUALL_PROTECTED_NAMESPACES", &options.protected.join(",")),
            env("SQUALL_ALIVE_FILE", "/run/squall/alive"),
        ]),
        volume_mounts: Some(vec![mount("run", "/run/squall")]),
        ..container(options, "controller", "32Mi", "10m")
    };
    let run = Volume {
        name: "run".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { medium: Some("Memory".to_owned()), ..Default::default() }),
        ..Volume::default()
    };
    let pod = PodSpec {
        containers: vec![container],
        volumes: Some(vec![run]),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NOBODY),
            run_as_group: Some(NOBODY),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..Default::default()
            }),
            ..PodSecurityContext::default()
        }),
        topology_spread_constraints: Some(vec![spread]),
        ..pod(CONTROLLER)
    };
    Deployment {
        metadata: meta_in_system(CONTROLLER),
        spec: Some(DeploymentSpec {
            replicas: Some(REPLICAS),
            selector: selector("controller"),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(rolling),
            }),
            template: template("controller", options, pod),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn daemon(options: &Options) -> DaemonSet {
    let folders =
        [("state", "/var/lib/squall", "DirectoryOrCreate"), ("run", "/run/squall", "DirectoryOrCreate")];
    let container = Container {
        security_context: Some(SecurityContext {
            app_armor_profile: Some(AppArmorProfile { type_: "Unconfined".to_owned(), ..Default::default() }),
            capabilities: Some(Capabilities {
                add: Some(words(&CAPABILITIES.map(|one| one.name))),
                drop: Some(words(&["ALL"])),
            }),
            read_only_root_filesystem: Some(true),
            run_as_user: Some(0),
            se_linux_options: Some(SELinuxOptions { type_: Some("spc_t".to_owned()), ..Default::default() }),
            seccomp_profile: Some(SeccompProfile { type_: "Unconfined".to_owned(), ..Default::default() }),
            ..SecurityContext::default()
        }),
        env: Some(vec![
            env_of_field("NODE_NAME", "spec.nodeName"),
            env("SQUALL_ALIVE_FILE", "/run/squall/$(NODE_NAME)/alive"),
        ]),
        volume_mounts: Some(folders.iter().map(|(name, path, _)| mount(name, path)).collect()),
        ..container(options, "daemon", "16Mi", "10m")
    };
    let pod = PodSpec {
        containers: vec![container],
        volumes: Some(folders.map(|(name, path, kind)| host_path(name, path, kind)).into()),
        host_pid: Some(true),
        // It opens no port unless it is told to. What ends faults must reach the API server when the network of pods does not work, also where it
        // was broken on purpose, and it needs none of the node's addresses for pods.
        host_network: Some(true),
        dns_policy: Some("Default".to_owned()),
        // Faults have to be undone on nodes that are cordoned, tainted or not ready as well.
        tolerations: Some(vec![Toleration { operator: Some("Exists".to_owned()), ..Default::default() }]),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        ..pod(DAEMON)
    };
    // A daemon that ends undoes its faults, and the next one makes them again: on a tenth of the nodes at a time.
    let rolling = RollingUpdateDaemonSet {
        max_unavailable: Some(IntOrString::String("10%".to_owned())),
        max_surge: Some(IntOrString::Int(0)),
    };
    DaemonSet {
        metadata: meta_in_system(DAEMON),
        spec: Some(DaemonSetSpec {
            selector: selector("daemon"),
            template: template("daemon", options, pod),
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(rolling),
            }),
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

fn pod(account: &str) -> PodSpec {
    PodSpec {
        service_account_name: Some(account.to_owned()),
        priority_class_name: Some(PRIORITY.to_owned()),
        node_selector: Some([("kubernetes.io/os".to_owned(), "linux".to_owned())].into()),
        // Variables of Services are not read, and grow with their number.
        enable_service_links: Some(false),
        ..PodSpec::default()
    }
}

fn container(options: &Options, verb: &str, memory: &str, cpu: &str) -> Container {
    let requests = [("memory", memory), ("cpu", cpu)];
    let requests = requests.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
    Container {
        name: verb.to_owned(),
        image: Some(options.image.clone()),
        image_pull_policy: Some(options.pull_policy.clone()),
        command: Some(words(&[PROGRAM])),
        args: Some(words(&[verb])),
        resources: Some(ResourceRequirements { requests: Some(requests.into()), ..Default::default() }),
        // Neither listens on a port: the program itself looks at what the running one wrote.
        liveness_probe: Some(probe(&["alive"], 30, 3)),
        readiness_probe: Some(probe(&["alive", "--ready"], 10, 2)),
        ..Container::default()
    }
}

fn probe(arguments: &[&str], period: i32, failures: i32) -> Probe {
    let command = [&[PROGRAM], arguments].concat();
    Probe {
        exec: Some(ExecAction { command: Some(words(&command)) }),
        period_seconds: Some(period),
        timeout_seconds: Some(10),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn env(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn env_of_field(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { field_path: path.to_owned(), ..Default::default() };
    let from = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(from) }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn host_path(name: &str, path: &str, kind: &str) -> Volume {
    let source = HostPathVolumeSource { path: path.to_owned(), type_: Some(kind.to_owned()) };
    Volume { name: name.to_owned(), host_path: Some(source), ..Volume::default() }
}
