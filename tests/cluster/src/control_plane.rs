//! The servers of a control plane: their files and their command lines.

use std::fs;
use std::os::unix::ffi::OsStrExt;
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

/// Writes certificates, kubeconfigs and the commands of all servers into a folder. The API server will listen on a port of
/// 127.0.0.1 that somebody else reserved.
pub(crate) fn write(folder: &Path, programs: &Path, port: u16) -> Result<(), ClusterError> {
    for name in ["servers", "log"] {
        let path = folder.join(name);
        fs::create_dir(&path).map_err(|source| ClusterError::write(&path, source))?;
    }
    certificates(folder, port)?;
    let files = |name: &str| folder.join(name).display().to_string();
    let servers = [
        (ETCD, etcd(&files)),
        (API_SERVER, api_server(&files, port)),
        (CONTROLLER_MANAGER, controller_manager(&files)),
        (SCHEDULER, scheduler(&files)),
    ];
    for (name, arguments) in servers {
        let memory = MEMORY.iter().find(|(of, _)| *of == name).map_or(512, |(_, memory)| *memory);
        let mut command = format!("env\0GOMEMLIMIT={memory}MiB\0").into_bytes();
        command.extend_from_slice(programs.join(name).as_os_str().as_bytes());
        for argument in arguments {
            command.push(0);
            command.extend_from_slice(argument.as_bytes());
        }
        command.push(0);
        let path = folder.join("servers").join(name);
        fs::write(&path, command).map_err(|source| ClusterError::write(&path, source))?;
    }
    Ok(())
}

fn certificates(folder: &Path, port: u16) -> Result<(), ClusterError> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|source| ClusterError::write(&path, source))
    };
    let url = format!("https://127.0.0.1:{port}");
    let authority = Authority::new()?;
    write("ca.crt", &authority.certificate)?;
    write("ca.key", &authority.key)?;
    let addresses = ["localhost", "127.0.0.1", "kubernetes.default.svc", SERVICE];
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
    write("accounts.pub", &public)
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

fn api_server(file: &impl Fn(&str) -> String, port: u16) -> Vec<String> {
    let mut arguments =
        vec![format!("--secure-port={port}"), format!("--etcd-servers=unix://{}", file("etcd.sock"))];
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
        "--bind-address=127.0.0.1",
        // The port is reserved by a socket that is bound to it, too.
        "--permit-port-sharing=true",
        "--advertise-address=127.0.0.1",
        // No Service may have a loopback address for an endpoint.
        "--endpoint-reconciler-type=none",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--kubelet-preferred-address-types=InternalIP",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        "--allow-privileged=true",
        "--profiling=false",
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
