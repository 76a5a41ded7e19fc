//! Network namespaces of a test's own, as root or as an ordinary user, and the wires between them.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use squall::daemon::sys::netns::NetNs;

#[path = "../unshared/mod.rs"]
pub(crate) mod unshared;

/// Runs the rest of the calling test in new user and network namespaces. `name` is the test's own.
pub(crate) fn in_sandbox(name: &str, test: impl FnOnce()) {
    unshared::run(name, &["--net"], || {
        run("ip", &["link", "set", "lo", "up"]);
        test();
    });
}

/// Runs a tool that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {text}", arguments.join(" "));
}

/// A new network namespace with its loopback up.
pub(crate) fn namespace() -> NetNs {
    let namespace = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        NetNs::open("/proc/thread-self/ns/net").unwrap()
    });
    let namespace = namespace.join().unwrap();
    ip(&namespace, "link set lo up");
    namespace
}

/// Runs `ip` in a namespace.
pub(crate) fn ip(namespace: &NetNs, arguments: &str) {
    namespace.run_in(|| run("ip", &arguments.split(' ').collect::<Vec<_>>())).unwrap();
}

/// Connects `here` (the sandbox's own namespace if none) with `there` by a pair of interfaces.
pub(crate) fn connect(here: Option<&NetNs>, name: &str, there: &NetNs, peer: &str) {
    // ip wants a process to name a namespace.
    let mut holder = there.run_in(|| Command::new("sleep").arg("60").spawn().unwrap()).unwrap();
    let add = format!("link add {name} type veth peer name {peer} netns {}", holder.id());
    let up = format!("link set {name} up");
    for command in [&add, &up] {
        match here {
            Some(namespace) => ip(namespace, command),
            None => run("ip", &command.split(' ').collect::<Vec<_>>()),
        }
    }
    ip(there, &format!("link set {peer} up"));
    holder.kill().unwrap();
    holder.wait().unwrap();
}

/// An address and a port.
pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}
