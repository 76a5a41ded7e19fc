use std::os::unix::process::ExitStatusExt;

use super::find::{
    Sighting, container_in_environment, containers_in_cgroup, find_in, look_around_in, own_kernel_in,
};
use super::*;

const UID: &str = "1b4df0a6-3b9c-4f0e-9a51-0d2a4b6c8e10";
const ID: &str = "4f1f3a4c0d4b";

#[test]
fn cgroup_paths_of_kubelets_and_runtimes() {
    let slice = "1b4df0a6_3b9c_4f0e_9a51_0d2a4b6c8e10";
    let found = [
        format!("/kubepods/burstable/pod{UID}/{ID}"),
        format!("/kubepods/pod{UID}/{ID}/init.scope"),
        format!("/../../pod{UID}/{ID}"),
        format!("/kubepods.slice/kubepods-pod{slice}.slice/cri-containerd-{ID}.scope"),
        format!(
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{slice}.slice/crio-{ID}.scope"
        ),
        format!("/kubepods.slice/kubepods-burstable-pod{slice}.slice/crio-{ID}.scope/container"),
        format!("/kubepods.slice/kubepods-burstable-pod{slice}.slice/docker-{ID}.scope"),
        format!("/system.slice/containerd.service/kubepods-burstable-pod{slice}.slice:cri-containerd:{ID}"),
        // cri-o with the driver cgroupfs
        format!("/kubepods/burstable/pod{UID}/crio-{ID}"),
        // the node is a container itself: kind, and minikube's driver docker
        format!(
            "/docker/7d1c/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
             kubelet-kubepods-besteffort-pod{slice}.slice/cri-containerd-{ID}.scope"
        ),
        // a kubelet with --cgroup-root
        format!("/squall-10-140/machine2/kubepods/besteffort/pod{UID}/{ID}"),
        // seen from a pod with a cgroup namespace of its own: of the same class, and of another one
        format!("/../../kubepods-burstable-pod{slice}.slice/cri-containerd-{ID}.scope"),
        format!(
            "/../../../kubepods-besteffort.slice/kubepods-besteffort-pod{slice}.slice/crio-{ID}.scope/system.slice"
        ),
        format!("/../../../pod{UID}/{ID}"),
    ];
    for path in found {
        assert_eq!(containers_in_cgroup(&path), [(UID.to_owned(), ID.to_owned())], "{path}");
    }
    let not_found = [
        "/".to_owned(),
        "/kubepods/burstable/podffffffff-3b9c-4f0e-9a51-0d2a4b6c8e10/4f1f3a4c0d4b".to_owned(),
        format!("/kubepods/burstable/pod{UID}"),
        format!("/kubepods/burstable/xpod{UID}/{ID}"),
        format!("/kubepods.slice/kubepods-pod{slice}.slice"),
        format!("/kubepods.slice/kubepods-pod{slice}.slice/crio-conmon-{ID}.scope"),
    ];
    for path in not_found {
        assert!(containers_in_cgroup(&path).iter().all(|(pod, _)| pod != UID), "{path}");
    }
}

#[test]
fn static_pods_are_found_by_their_hash() {
    let hash = "5f3a0c9f0a9d2f1f8ad1b1e33f0b7b4e";
    for path in [
        format!("/kubepods/burstable/pod{hash}/{ID}"),
        format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice/cri-containerd-{ID}.scope"
        ),
        format!("/../../kubepods-burstable-pod{hash}.slice/docker-{ID}.scope"),
    ] {
        assert_eq!(containers_in_cgroup(&path), [(hash.to_owned(), ID.to_owned())], "{path}");
    }
}

#[test]
fn a_container_that_another_kernel_runs_is_known() {
    let proc = tempfile::tempdir().unwrap();
    for (pid, line) in [
        (5, "/usr/bin/mongod\0--bind_ip_all\0"),
        (6, "runsc-sandbox\0--root=/run/containerd/runsc/k8s.io\0boot\0"),
        (7, "/usr/local/bin/runsc\0gofer\0"),
        (8, "/usr/bin/runsched\0"),
        (9, ""),
    ] {
        let folder = proc.path().join(pid.to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("cmdline"), line).unwrap();
    }
    let by = |pid, id| own_kernel_in(proc.path(), pid, id);
    assert_eq!(by(5, ID), None);
    assert_eq!(by(6, ID), Some("gVisor"));
    assert_eq!(by(7, ID), Some("gVisor"));
    assert_eq!(by(8, ID), None);
    assert_eq!(by(9, ID), None, "a kernel thread, or one that ends");
    assert_eq!(by(10, ID), None, "no such process");
    assert_eq!(by(5, &format!("kata_{ID}")), Some("Kata Containers"));
}

#[test]
fn environment_names_pod_and_container() {
    let environment = |value: &str| format!("PATH=/bin\0SQUALL_CONTAINER={value}\0HOME=/\0").into_bytes();
    let found = |value: &str| container_in_environment(&environment(value));
    let container = Some((UID.to_owned(), ID.to_owned()));
    assert_eq!(found(&format!("{UID}/{ID}")), container);
    assert_eq!(found(&format!("{UID}/squall://{ID}")), container);
    assert_eq!(found(&format!("{UID}/")), None);
    assert_eq!(found("nonsense"), None);
    assert_eq!(container_in_environment(b"PATH=/bin\0"), None);
}

#[test]
fn processes_are_found_by_cgroup_and_by_environment() {
    let proc = tempfile::tempdir().unwrap();
    let process = |pid: u32, cgroup: &str, environ: &str| {
        let folder = proc.path().join(pid.to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("cgroup"), cgroup).unwrap();
        fs::write(folder.join("environ"), environ).unwrap();
        let zeros = "0 ".repeat(18);
        fs::write(folder.join("stat"), format!("{pid} (a) b) S {zeros}{} 0", pid * 10)).unwrap();
    };
    process(7, &format!("1:cpu:/x\n0::/kubepods/pod{UID}/a\n"), "A=1\0");
    process(8, &format!("0::/kubepods/pod{UID}/b\n"), &format!("SQUALL_CONTAINER={UID}/b\0"));
    process(9, "0::/\n", "");
    fs::create_dir(proc.path().join("sys")).unwrap();
    let expected = |pid: u32, container_id: &str| Process {
        pid,
        start_time: u64::from(pid) * 10,
        container_id: container_id.to_owned(),
    };
    let find = |finder, id| find_in(proc.path(), finder, UID, id).unwrap();
    assert_eq!(find(Finder::Cgroup, None), [expected(7, "a"), expected(8, "b")]);
    assert_eq!(find(Finder::Cgroup, Some("containerd://a")), [expected(7, "a")]);
    assert_eq!(find(Finder::Environment, None), [expected(8, "b")]);
    assert_eq!(find(Finder::Environment, Some("a")), []);
}

#[test]
fn what_was_seen_once_is_believed_while_it_is_the_same() {
    let proc = tempfile::tempdir().unwrap();
    let process = |pid: u32, path: &str| {
        let folder = proc.path().join(pid.to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cgroup"), format!("0::{path}\n")).unwrap();
    };
    let ours = format!("/kubepods/pod{UID}/{ID}");
    process(21, &ours);
    process(3, &format!("/kubepods/pod{UID}/other"));
    process(100, &format!("/kubepods/podouter/node{ours}"));
    process(9, "/");
    let all = look_around_in(proc.path(), Finder::Cgroup).unwrap();
    let seen = |pid, id: &str| Sighting { pid, container_id: id.to_owned() };
    assert_eq!(
        all,
        [(UID.to_owned(), seen(3, "other")), ("outer".to_owned(), seen(100, "node"))].into(),
        "each pod's first process"
    );
    let is_still = |seen: &Sighting| seen.is_still_of_in(proc.path(), Finder::Cgroup, UID);
    assert!(is_still(&seen(21, ID)));
    assert!(is_still(&seen(100, ID)), "in a pod of a pod");
    assert!(!is_still(&seen(21, "other")), "another container of the pod");
    assert!(!is_still(&seen(22, ID)), "no such process");
    process(21, "/");
    assert!(!is_still(&seen(21, ID)), "the number is of no pod");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a child to find and to signal")]
fn a_child_is_found_signalled_and_waited_for() {
    let pod = format!("uid-{}", std::process::id());
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .env("SQUALL_CONTAINER", format!("{pod}/c1"))
        .spawn()
        .unwrap();
    // The child shows our environment until it has executed its program.
    let deadline = Instant::now() + Duration::from_secs(5);
    let found = loop {
        let found = find(Finder::Environment, &pod, Some("c1")).unwrap();
        if !found.is_empty() || Instant::now() > deadline {
            break found;
        }
    };
    assert_eq!(found.iter().map(|process| process.pid).collect::<Vec<_>>(), [child.id()]);
    assert_eq!(found[0].start_time, start_time(child.id()).unwrap());

    let pidfd = PidFd::open(child.id()).unwrap();
    assert!(!pidfd.wait(Duration::ZERO).unwrap(), "ended before it was killed");
    pidfd.send_signal(Signal::SIGKILL).unwrap();
    assert!(pidfd.wait(Duration::from_secs(5)).unwrap(), "still there 5 s after SIGKILL");
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert_eq!(pidfd.send_signal(Signal::SIGKILL).unwrap_err().raw_os_error(), Some(libc::ESRCH));
}

#[test]
fn a_folder_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let first = lock_dir(folder.path()).unwrap().expect("nobody has it yet");
    assert!(lock_dir(folder.path()).unwrap().is_none(), "locked twice");
    drop(first);
    assert!(lock_dir(folder.path()).unwrap().is_some(), "not free after the lock was dropped");
    assert!(lock_dir(&folder.path().join("absent")).is_err());
}

/// Who opened it just before its owner removed it would have a lock that nobody else knows of.
#[test]
fn what_was_removed_cannot_be_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let first = lock_file(&path).unwrap().expect("nobody has it yet");
    let late = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    drop(first);
    assert!(lock(late, &path).unwrap().is_none());
    let next = lock_file(&path).unwrap().expect("another one is made");
    let late = File::open(&path).unwrap();
    drop(next);
    assert!(lock(late, &path).unwrap().is_some(), "what is still there can be");
}

#[test]
fn boot_clock_and_identity() {
    assert_eq!(boot_id().unwrap().len(), 36);
    let now = boot_time().unwrap();
    assert!(boot_time().unwrap() >= now);
    // This process started after the boot and before now; a tick is 10 ms (USER_HZ is 100 on every architecture).
    let started = Duration::from_millis(10 * start_time(std::process::id()).unwrap());
    assert!(started <= now, "started {started:?} after boot, now is {now:?}");
}

#[test]
fn the_parent_must_still_be_there() {
    let parent = u32::try_from(getppid().as_raw()).unwrap();
    die_with_parent(parent).unwrap();
    prctl::set_pdeathsig(None).unwrap();
    assert!(die_with_parent(parent + 1).is_err());
    prctl::set_pdeathsig(None).unwrap();
}
