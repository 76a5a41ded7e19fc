//! Nodes on the host's kernel: each is a set of namespaces with containerd, kubelet and kube-proxy of its own.
//!
//! What a kubelet is told is the same on every kind of node: its files are in `/run/kubernetes`, and `files` makes them.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::ClusterError;
use super::certificates::Authority;
use super::control_plane;
use super::network::{Block, node_name};

/// Where a node finds its files.
const FILES: &str = "/run/kubernetes";

/// The namespaces of a node: what nsenter(1) calls each, and the file of the process that made them.
pub(crate) const NAMESPACES: [(&str, &str); 6] = [
    ("mount", "mnt"),
    ("net", "net"),
    ("pid", "pid_for_children"),
    ("cgroup", "cgroup"),
    ("uts", "uts"),
    ("ipc", "ipc"),
];

/// The cluster's name server, were there one.
const DNS: &str = "10.96.0.10";

/// The image of every pod's first container.
pub const PAUSE: &str = "squall.test/pause:1";

/// What a node needs to be part of a cluster.
pub(crate) struct Membership<'a> {
    pub(crate) authority: &'a Authority,
    /// How nodes reach the API server.
    pub(crate) url: &'a str,
    pub(crate) block: Block,
}

/// The node as the API server knows it before its kubelet comes: with its pods' addresses.
pub(crate) fn object(block: Block, node: u8) -> Value {
    let pods = block.pods(node);
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": node_name(node) },
        "spec": { "podCIDR": pods, "podCIDRs": [pods] },
    })
}

/// Whether pods are placed on a node: it says that it is ready, and nobody keeps them away.
pub(crate) fn takes_pods(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.is_some_and(|all| {
        all.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    });
    ready && node.spec.as_ref().is_some_and(|spec| spec.taints.as_ref().is_none_or(Vec::is_empty))
}

/// The files of a node, by their names below `/run/kubernetes`.
fn files(of: &Membership<'_>, node: u8) -> Result<Vec<(&'static str, String)>, ClusterError> {
    let name = node_name(node);
    let address = of.block.node(node).to_string();
    let kubelet = of.authority.identity(
        &format!("system:node:{name}"),
        Some("system:nodes"),
        &[&name, &address, "127.0.0.1"],
    )?;
    let proxy = of.authority.identity("system:kube-proxy", None, &[])?;
    Ok(vec![
        ("kubelet.kubeconfig", of.authority.kubeconfig(of.url, &kubelet)),
        ("kube-proxy.kubeconfig", of.authority.kubeconfig(of.url, &proxy)),
        ("kubelet.json", format!("{:#}\n", kubelet_configuration())),
        ("kube-proxy.json", format!("{:#}\n", proxy_configuration(&name))),
        ("containerd.toml", containerd_configuration()),
        ("cni/10-pods.conflist", format!("{:#}\n", pod_network(&of.block.pods(node)))),
        ("resolv.conf", format!("nameserver {DNS}\n")),
        ("ca.crt", of.authority.certificate.clone()),
        ("kubelet.crt", kubelet.certificate),
        ("kubelet.key", kubelet.key),
    ])
}

/// A node's own folder, in the cluster's.
pub(crate) fn place(folder: &Path, node: u8) -> PathBuf {
    folder.join("nodes").join(node_name(node))
}

/// Writes the files of a node into `kubernetes` in its folder.
pub(crate) fn write_files(folder: &Path, of: &Membership<'_>, node: u8) -> Result<(), ClusterError> {
    for (file, text) in files(of, node)? {
        let path = place(folder, node).join("kubernetes").join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|source| ClusterError::write(parent, source))?;
        }
        fs::write(&path, text).map_err(|source| ClusterError::write(&path, source))?;
    }
    Ok(())
}

/// Writes what a node on this kernel needs into the cluster's folder, and the command that starts it as a server of its name.
pub(crate) fn write(
    folder: &Path,
    programs: &Path,
    of: &Membership<'_>,
    node: u8,
) -> Result<(), ClusterError> {
    write_files(folder, of, node)?;
    let (name, place) = (node_name(node), place(folder, node));
    let script = folder.join("node.sh");
    fs::write(&script, include_str!("node.sh")).map_err(|source| ClusterError::write(&script, source))?;
    let command = [
        "env".to_owned(),
        format!("GROUP={}/{name}", of.block.name()),
        format!("PLACE={}", place.display()),
        format!("PROGRAMS={}", programs.display()),
        format!("ADDRESS={}", of.block.node(node)),
        format!("IMAGES={}", folder.join("images").display()),
        "bash".to_owned(),
        script.display().to_string(),
        "join".to_owned(),
        name.clone(),
    ];
    control_plane::write_server(folder, &name, &command)
}

fn kubelet_configuration() -> Value {
    let file = |name: &str| format!("{FILES}/{name}");
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        // There are machines with nothing else.
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "tlsCertFile": file("kubelet.crt"), "tlsPrivateKeyFile": file("kubelet.key"),
        "authentication": {
            "anonymous": { "enabled": false }, "webhook": { "enabled": true },
            "x509": { "clientCAFile": file("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "healthzBindAddress": "127.0.0.1",
        "clusterDNS": [DNS], "clusterDomain": "cluster.local", "resolvConf": file("resolv.conf"),
        // Pods that are files of their node, if somebody makes this folder.
        "staticPodPath": file("static"), "fileCheckFrequency": "1s",
        // The default is a folder of the host.
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "failSwapOn": false,
        // Only whoever has CAP_SYS_RESOURCE may ask for less.
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": false,
        // Memory and disk are the host's, and nodes have not filled them.
        "evictionHard": { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        // What was imported cannot be fetched again.
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "720h", "imageMaximumGCAge": "0s",
        "serializeImagePulls": false,
        "maxPods": 200,
    })
}

fn proxy_configuration(name: &str) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249",
        "clientConnection": { "kubeconfig": format!("{FILES}/kube-proxy.kubeconfig") },
        "hostnameOverride": name,
        "detectLocalMode": "NodeCIDR",
        "oomScoreAdj": 0,
        // These are the whole machine's.
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    })
}

fn containerd_configuration() -> String {
    format!(
        r#"version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_tcp_service = true
  # runc dies where it may not lower it.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{FILES}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#
    )
}

/// A link for each pod and no bridge: through one, answers of a pod to its neighbour would bypass the translation of a
/// Service's address, unless the kernel has the module that prevents that.
fn pod_network(pods: &str) -> Value {
    let addresses =
        json!({ "type": "host-local", "ranges": [[{ "subnet": pods }]], "routes": [{ "dst": "0.0.0.0/0" }] });
    json!({
        "cniVersion": "0.4.0", "name": "pods",
        "plugins": [{ "type": "ptp", "ipMasq": false, "ipam": addresses }],
    })
}
