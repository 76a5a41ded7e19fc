//! What becomes of qdiscs when a daemon ends without undoing them, on any kernel: the handle counts, not the kind.
//!
//! Every test runs in a sandbox with cgroups of its own making, so that no process leaves those of the tests.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what is wrong")]
#![expect(clippy::disallowed_methods, reason = "tests build their networks with ip and tc")]

#[expect(dead_code, reason = "shared with tests that need more of it")]
mod sandbox;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sandbox::{in_sandbox, namespace, run};
use squall::daemon::guardian::{Guardian, GuardianError, wait_for_predecessor};
use squall::daemon::sys::fingerprint::{Fingerprint, fingerprint};
use squall::daemon::sys::mount;
use squall::daemon::sys::netlink::Protocol;
use squall::daemon::sys::netns::NetNs;
use squall::daemon::sys::tc::{Root, observe_root, ours};

const PROGRAM: &str = env!("CARGO_BIN_EXE_squall");
/// Every namespace's loopback.
const LO: u32 = 1;
/// What every kernel has, with our handle.
const OURS: &str = "replace dev lo root handle ca05: tbf rate 1mbit burst 10k latency 50ms";
const THEIRS: &str = "replace dev lo root handle 7: pfifo limit 9";
/// How long a guardian may take.
const BOUND: Duration = Duration::from_secs(5);
const CGROUP: &str = "/proc/1/root/sys/fs/cgroup/cpu/cgroup.procs";
const FOLDER: &str = "SQUALL_TEST_FOLDER";
const HOLDERS: &str = "SQUALL_TEST_HOLDERS";

fn sandboxed(name: &str, test: impl FnOnce()) {
    in_sandbox(name, || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount::make_private(Path::new("/")).unwrap();
        // What a guardian takes for the first process of the node.
        mount::tmpfs(Path::new("/proc/1"), "mode=0755").unwrap();
        fs::create_dir_all(Path::new(CGROUP).parent().unwrap()).unwrap();
        fs::write(CGROUP, "").unwrap();
        test();
    });
}

fn tc(namespace: &NetNs, arguments: &str) {
    let arguments: Vec<_> = ["qdisc"].into_iter().chain(arguments.split(' ')).collect();
    namespace.run_in(|| run("tc", &arguments)).unwrap();
}

/// A pod with this root, and what it is like.
fn pod(theirs: Option<&str>) -> (NetNs, Root, Fingerprint) {
    let namespace = namespace();
    if let Some(theirs) = theirs {
        tc(&namespace, theirs);
    }
    let root = observe_root(&mut namespace.socket(Protocol::Route).unwrap(), LO).unwrap();
    let before = fingerprint(&namespace).unwrap();
    (namespace, root, before)
}

fn has_ours(namespace: &NetNs) -> bool {
    !ours(&mut namespace.socket(Protocol::Route).unwrap()).unwrap().is_empty()
}

fn start(folder: &Path) -> Guardian {
    Guardian::start_program(Path::new(PROGRAM), folder, || {}).unwrap()
}

fn signal(guardian: &Guardian, signal: Signal) {
    kill(pid(guardian), signal).unwrap();
}

fn pid(guardian: &Guardian) -> Pid {
    Pid::from_raw(guardian.id().expect("no guardian").try_into().unwrap())
}

/// Why there is no guardian.
fn reason(result: Result<Guardian, GuardianError>) -> ErrorKind {
    match result {
        Err(GuardianError::Start(error)) => error.kind(),
        other => panic!("{other:?}"),
    }
}

/// A process in a network namespace, by which others find it.
fn holder(namespace: &NetNs) -> Child {
    namespace.run_in(|| Command::new("sleep").arg("60").spawn().unwrap()).unwrap()
}

/// A process that guards and changes the namespaces of the holders, and says so.
fn daemon(folder: &Path, holders: &[&Child]) -> Child {
    let holders: Vec<_> = holders.iter().map(|holder| holder.id().to_string()).collect();
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .args(["as_daemon", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(HOLDERS, holders.join(" "))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("all is changed")), "the daemon ended too early");
    daemon
}

#[test]
#[ignore = "the other tests start it, to kill it"]
fn as_daemon() {
    let folder = std::env::var(FOLDER).unwrap();
    let mut guardian = start(Path::new(&folder));
    for holder in std::env::var(HOLDERS).unwrap().split(' ') {
        let namespace = NetNs::of_pid(holder.parse().unwrap()).unwrap();
        let root = observe_root(&mut namespace.socket(Protocol::Route).unwrap(), LO).unwrap();
        guardian.guard(&namespace, LO, &root).unwrap();
        tc(&namespace, OURS);
    }
    println!("all is changed");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    panic!("nobody killed it");
}

#[test]
fn the_sudden_end_of_a_daemon_is_undone() {
    sandboxed("the_sudden_end_of_a_daemon_is_undone", || {
        let folder = tempfile::tempdir().unwrap();
        let pods = [pod(None), pod(Some(THEIRS))];
        let mut holders = pods.each_ref().map(|(namespace, ..)| holder(namespace));
        let mut daemon = daemon(folder.path(), &holders.each_ref());
        assert!(pods.iter().all(|(namespace, ..)| has_ours(namespace)));

        // The next daemon comes while the guardian is at work.
        let next = thread::scope(|scope| {
            let next = scope.spawn(|| {
                let result = wait_for_predecessor(folder.path());
                (result, pods.iter().any(|(namespace, ..)| has_ours(namespace)))
            });
            thread::park_timeout(Duration::from_millis(100));
            assert!(!next.is_finished(), "the lock is free while a guardian is there");
            daemon.kill().unwrap();
            daemon.wait().unwrap();
            next.join().unwrap()
        });
        assert!(matches!(next, (Ok(()), false)), "{next:?}");
        for (namespace, root, before) in &pods {
            let after = fingerprint(namespace).unwrap();
            assert_eq!(before.difference(&after), None, "{root:?}");
        }
        for holder in &mut holders {
            holder.kill().unwrap();
            holder.wait().unwrap();
        }
    });
}

#[test]
fn a_guardian_is_deaf_and_leaves_its_cgroup() {
    sandboxed("a_guardian_is_deaf_and_leaves_its_cgroup", || {
        let folder = tempfile::tempdir().unwrap();
        let (namespace, root, before) = pod(Some(THEIRS));
        let (kept, _writer) = std::io::pipe().unwrap();
        // As a careless parent would: no close-on-exec.
        let inherited = nix::unistd::dup(kept.as_fd()).unwrap();
        let mut guardian = start(folder.path());
        drop(inherited);
        let files = fs::read_dir(format!("/proc/{}/fd", pid(&guardian))).unwrap();
        let pipes = files.filter(|file| {
            let link = fs::read_link(file.as_ref().unwrap().path()).unwrap_or_default();
            link == fs::read_link(format!("/proc/self/fd/{}", kept.as_raw_fd())).unwrap()
        });
        assert_eq!(pipes.count(), 0, "it keeps what it has inherited");
        assert_eq!(fs::read_to_string(CGROUP).unwrap(), "0");

        guardian.guard(&namespace, LO, &root).unwrap();
        for deaf in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
            signal(&guardian, deaf);
        }
        tc(&namespace, OURS);
        guardian.guard(&namespace, LO, &root).unwrap();
        assert!(guardian.is_alive());
        let pid = pid(&guardian);
        drop(guardian);
        assert_eq!(kill(pid, None), Err(Errno::ESRCH), "it stays");
        assert_eq!(before.difference(&fingerprint(&namespace).unwrap()), None);
    });
}

#[test]
fn a_dead_guardian_is_noticed_and_replaced_by_one_that_knows_as_much() {
    sandboxed("a_dead_guardian_is_noticed_and_replaced_by_one_that_knows_as_much", || {
        let folder = tempfile::tempdir().unwrap();
        let pods = [pod(None), pod(Some(THEIRS)), pod(Some(THEIRS))];
        let (ended, ends) = mpsc::channel();
        let on_end = move || ended.send(()).unwrap();
        let mut guardian = Guardian::start_program(Path::new(PROGRAM), folder.path(), on_end).unwrap();
        for (namespace, root, _) in &pods {
            guardian.guard(namespace, LO, root).unwrap();
            let first = pid(&guardian);
            signal(&guardian, Signal::SIGKILL);
            ends.recv_timeout(BOUND).expect("its end was not noticed");
            assert!(!guardian.is_alive());
            guardian.guard(namespace, LO, root).unwrap();
            assert!(guardian.is_alive());
            assert_ne!(pid(&guardian), first);
            tc(namespace, OURS);
        }
        signal(&guardian, Signal::SIGKILL);
        ends.recv_timeout(BOUND).expect("its end was not noticed");
        // What is released while there is none is not told to the next.
        guardian.release(pods[0].0.id(), LO);
        ends.recv_timeout(BOUND).expect("that the release did not arrive was not said");
        guardian.guard(&pods[1].0, LO, &pods[1].1).unwrap();
        drop(guardian);
        assert!(ends.recv().is_err(), "an end that was wanted was reported");
        assert!(has_ours(&pods[0].0), "what was released is none of its business");
        for (namespace, _, before) in &pods[1..] {
            assert_eq!(before.difference(&fingerprint(namespace).unwrap()), None);
        }
    });
}

#[test]
fn what_is_released_or_others_is_left_alone() {
    sandboxed("what_is_released_or_others_is_left_alone", || {
        let folder = tempfile::tempdir().unwrap();
        let [released, replaced] = [pod(None), pod(Some(THEIRS))];
        let mut guardian = start(folder.path());
        for (namespace, root, _) in [&released, &replaced] {
            guardian.guard(namespace, LO, root).unwrap();
            tc(namespace, OURS);
        }
        guardian.release(released.0.id(), LO);
        guardian.release(released.0.id(), LO);
        tc(&replaced.0, "replace dev lo root handle 9: bfifo limit 90000");
        let theirs = fingerprint(&replaced.0).unwrap();
        drop(guardian);
        assert!(has_ours(&released.0));
        assert_eq!(theirs.difference(&fingerprint(&replaced.0).unwrap()), None);
        wait_for_predecessor(folder.path()).expect("it has ended");
    });
}

#[test]
fn there_is_one_guardian_at_a_time() {
    sandboxed("there_is_one_guardian_at_a_time", || {
        let folder = tempfile::tempdir().unwrap();
        let guardian = start(folder.path());
        let second = Guardian::start_program(Path::new(PROGRAM), folder.path(), || {});
        assert_eq!(reason(second), ErrorKind::TimedOut);
        let mut guardian = guardian;
        assert!(guardian.is_alive());
        // One that cannot guard anything is none.
        let nowhere = Guardian::start_program(Path::new(PROGRAM), Path::new("/nowhere"), || {});
        assert_eq!(reason(nowhere), ErrorKind::NotFound);
        let other = tempfile::tempdir().unwrap();
        let other = Guardian::start_program(Path::new("/bin/false"), other.path(), || {});
        assert!(matches!(other, Err(GuardianError::Gone(_))), "{other:?}");
        drop(guardian);
        wait_for_predecessor(folder.path()).expect("it has ended");
    });
}
