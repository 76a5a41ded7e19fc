//! The servers of a control plane: their files and their command lines.

use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;

use super::ClusterError;
use super::certificates::{Authority, signing_keys};

pub(crate) const ETCD: &str = "etcd";
pub(crate) const API_SERVER: &str = "kube-apiserver";
pub(crate) const CONTROLLER_MANAGER: &str = "kube-controller-manager";
pub(crate) const SCHEDULER: &str = "kube-scheduler";

/// Where the first address is the API server's own Service.
const SERVICES: &str = "10.96.0.0/16";
const SERVICE: &str = "10.96.0.1";

/// Soft limits of the servers' heaps, in MiB: Go collects harder as it gets there. Ten thousand pods fit.
const MEMORY: [(&str, u32); 4] =
    [(ETCD, 1024), (API_SERVER, 2560), (CONTROLLER_MANAGER, 1024), (SCHEDULER, 512)];

/// Most that etcd stores, in bytes.
const ETCD_QUOTA: u64 = 2 * 1024 * 1024 * 1024;

/// Writes certificates, kubeconfigs and the commands of all servers into a folder. The API server will listen on an address
/// that somebody else reserved. Gives the authority that signed for all of them.
pub(crate) fn write(
    folder: &Path,
    programs: &Path,
    address: SocketAddrV4,
) -> Result<Authority, ClusterError> {
    for name in ["servers", "log"] {
        let path = folder.join(name);
        fs::create_dir(&path).map_err(|source| ClusterError::write(&path, source))?;
    }
    let authority = certificates(folder, address)?;
    let files = |name: &str| folder.join(name).display().to_string();
    let servers = [
        (ETCD, etcd(&files)),
        (API_SERVER, api_server(&files, address)),
        (CONTROLLER_MANAGER, controller_manager(&files)),
        (SCHEDULER, scheduler(&files)),
    ];
    for (name, arguments) in servers {
        let memory = MEMORY.iter().find(|(of, _)| *of == name).map_or(512, |(_, memory)| *memory);
        let program = programs.join(name).display().to_string();
        let mut command = vec!["env".to_owned(), format!("GOMEMLIMIT={memory}MiB"), program];
        command.extend(arguments);
        write_server(folder, name, &command)?;
    }
    Ok(authority)
}

/// Writes the command that the supervisor runs for a server.
pub(crate) fn write_server(folder: &Path, name: &str, command: &[String]) -> Result<(), ClusterError> {
    let path = folder.join("servers").join(name);
    fs::write(&path, command.join("\0") + "\0").map_err(|source| ClusterError::write(&path, source))
}

/// Where clients find the API server.
pub(crate) fn url(address: SocketAddrV4) -> String {
    format!("https://{address}")
}

fn certificates(folder: &Path, address: SocketAddrV4) -> Result<Authority, ClusterError> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|source| ClusterError::write(&path, source))
    };
    let (url, host) = (url(address), address.ip().to_string());
    let authority = Authority::new()?;
    write("ca.crt", &authority.certificate)?;
    write("ca.key", &authority.key)?;
    let addresses = ["localhost", "127.0.0.1", "kubernetes.default.svc", SERVICE, &host];
    for (name, user, group, addresses) in [
        ("api", "kube-apiserver", None, addresses.as_slice()),
        ("front", "front-proxy-client", None, &[]),
        ("kubelet-client", "kube-apiserver-kubelet-client", Some("system:masters"), &[]),
    ] {
        let identity = authority.identity(user, group, addresses)?;
        write(&format!("{name}.crt"), &identity.certificate)?;
        write(&format!("{name}.key"), &identity.key)?;
    }
    for (name, user, group) in [
        ("kubeconfig", "admin", Some("system:masters")),
        (CONTROLLER_MANAGER, "system:kube-controller-manager", None),
        (SCHEDULER, "system:kube-scheduler", None),
    ] {
        let identity = authority.identity(user, group, &[])?;
        write(name, &authority.kubeconfig(&url, &identity))?;
    }
    let (private, public) = signing_keys()?;
    write("accounts.key", &private)?;
    write("accounts.pub", &public)?;
    Ok(authority)
}

/// Without a port: only who may read the folder reaches the data.
fn etcd(file: &impl Fn(&str) -> String) -> Vec<String> {
    vec![
        format!("--data-dir={}", file("etcd")),
        format!("--listen-client-urls=unix://{}", file("etcd.sock")),
        // A socket cannot be advertised, and there is nobody who would ask.
        "--advertise-client-urls=http://127.0.0.1:0".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        "--log-level=warn".to_owned(),
        "--auto-compaction-mode=periodic".to_owned(),
        "--auto-compaction-retention=5m".to_owned(),
        format!("--quota-backend-bytes={ETCD_QUOTA}"),
        // What a power cut would lose is not wanted after one.
        "--unsafe-no-fsync=true".to_owned(),
    ]
}

fn api_server(file: &impl Fn(&str) -> String, address: SocketAddrV4) -> Vec<String> {
    let mut arguments = vec![
        format!("--bind-address={}", address.ip()),
        format!("--advertise-address={}", address.ip()),
        format!("--secure-port={}", address.port()),
        format!("--etcd-servers=unix://{}", file("etcd.sock")),
    ];
    if address.ip().is_loopback() {
        // No Service may have a loopback address for an endpoint.
        arguments.push("--endpoint-reconciler-type=none".to_owned());
    }
    let files = [
        ("tls-cert-file", "api.crt"),
        ("tls-private-key-file", "api.key"),
        ("client-ca-file", "ca.crt"),
        ("service-account-key-file", "accounts.pub"),
        ("service-account-signing-key-file", "accounts.key"),
        ("kubelet-client-certificate", "kubelet-client.crt"),
        ("kubelet-client-key", "kubelet-client.key"),
        ("requestheader-client-ca-file", "ca.crt"),
        ("proxy-client-cert-file", "front.crt"),
        ("proxy-client-key-file", "front.key"),
    ];
    arguments.extend(files.map(|(option, name)| format!("--{option}={}", file(name))));
    let fixed = [
        // The port is reserved by a socket that is bound to it, too.
        "--permit-port-sharing=true",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--kubelet-preferred-address-types=InternalIP",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        "--allow-privileged=true",
        "--event-ttl=30m",
    ];
    arguments.extend(fixed.map(ToOwned::to_owned));
    arguments.push(format!("--service-cluster-ip-range={SERVICES}"));
    arguments
}

fn controller_manager(file: &impl Fn(&str) -> String) -> Vec<String> {
    let mut arguments = kubeconfigs(&file(CONTROLLER_MANAGER));
    for (option, name) in [
        ("service-account-private-key-file", "accounts.key"),
        ("root-ca-file", "ca.crt"),
        ("cluster-signing-cert-file", "ca.crt"),
        ("cluster-signing-key-file", "ca.key"),
    ] {
        arguments.push(format!("--{option}={}", file(name)));
    }
    arguments.push("--use-service-account-credentials=true".to_owned());
    // It makes that folder, by default on the host.
    arguments.push(format!("--flex-volume-plugin-dir={}", file("volume-plugins")));
    arguments
}

fn scheduler(file: &impl Fn(&str) -> String) -> Vec<String> {
    kubeconfigs(&file(SCHEDULER))
}

/// What controller manager and scheduler have in common. They have no port, since nobody asks them anything.
fn kubeconfigs(kubeconfig: &str) -> Vec<String> {
    let mut arguments: Vec<_> = ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
        .map(|option| format!("--{option}={kubeconfig}"))
        .into();
    // The defaults are for the good of others; there are none. Tests make thousands of objects.
    arguments.extend(
        ["--secure-port=0", "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000"]
            .map(ToOwned::to_owned),
    );
    arguments
}
