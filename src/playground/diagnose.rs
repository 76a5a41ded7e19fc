//! Why this machine refuses a sandbox, and what cures it.
//!
//! The kernel answers with a bare errno; the reason is in sysctls and in the surroundings. Reading those is one
//! function, drawing the conclusion another, so that every conclusion is tested without the machine that causes it.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::geteuid;

/// The step of entering the sandbox that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// `unshare(2)` of the user namespace and those it owns.
    Unshare,
    /// The write of `setgroups`, `uid_map` or `gid_map` (`user_namespaces(7)`).
    Map,
    /// The first use of a capability inside.
    Capability,
}

/// What was found around a refusal.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) step: Step,
    pub(crate) errno: Errno,
    /// `kernel.unprivileged_userns_clone` (Debian's kernels).
    pub(crate) userns_clone: Option<u64>,
    /// `user.max_user_namespaces`.
    pub(crate) max_user_namespaces: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns` (Ubuntu 23.10 and later).
    pub(crate) apparmor_restricts: Option<u64>,
    /// The root folder of this process is not the root of its mount namespace.
    pub(crate) chroot: bool,
    /// A seccomp filter is installed, as container engines do.
    pub(crate) seccomp: bool,
    /// The effective user is root.
    pub(crate) root: bool,
    /// This program, for a profile of `AppArmor`.
    pub(crate) program: PathBuf,
}

impl Facts {
    /// Reads the facts of this machine and process.
    pub(crate) fn read(step: Step, errno: Errno) -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self {
            step,
            errno,
            userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            // In a chroot the mount that holds "/" lies outside what mountinfo shows (proc_pid_mountinfo(5)).
            chroot: !mounts.is_empty() && !mounts.lines().any(|line| line.split(' ').nth(4) == Some("/")),
            seccomp: status.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2')),
            root: geteuid().is_root(),
            program: fs::read_link("/proc/self/exe").unwrap_or_else(|_| PathBuf::from("/usr/bin/squall")),
        }
    }

    /// What is wrong, and the command or change that cures it.
    pub(crate) fn cure(&self) -> String {
        match (self.step, self.errno) {
            (Step::Unshare, Errno::ENOSPC) if self.max_user_namespaces == Some(0) => {
                "user namespaces are switched off. To switch them on: sudo sysctl -w user.max_user_namespaces=10000"
                    .to_owned()
            }
            (Step::Unshare, Errno::ENOSPC | Errno::EUSERS) => {
                "too many namespaces are in use or nested. To allow more: sudo sysctl -w \
                 user.max_user_namespaces=10000, and the same for max_net_namespaces, max_pid_namespaces and \
                 max_mnt_namespaces if they are low"
                    .to_owned()
            }
            (Step::Unshare, Errno::EINVAL | Errno::ENOSYS) => {
                "this kernel was built without user namespaces (CONFIG_USER_NS): use a distribution's stock kernel"
                    .to_owned()
            }
            (_, Errno::EPERM | Errno::EACCES) => self.cure_of_denial(),
            (step, errno) => format!("the kernel refused {step:?} with {errno}: run `squall doctor`"),
        }
    }

    fn cure_of_denial(&self) -> String {
        if self.userns_clone == Some(0) && self.step == Step::Unshare {
            return "user namespaces are reserved for root. To allow them: sudo sysctl -w \
                    kernel.unprivileged_userns_clone=1"
                .to_owned();
        }
        if self.apparmor_restricts == Some(1) {
            return format!(
                "AppArmor takes the rights away inside user namespaces. Either allow them for all programs: sudo \
                 sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or for this one: write to \
                 /etc/apparmor.d/squall\n\n    abi <abi/4.0>,\n    profile squall {} flags=(unconfined) {{ userns, \
                 }}\n\nand run: sudo apparmor_parser -r /etc/apparmor.d/squall",
                self.program.display()
            );
        }
        if self.chroot {
            return "user namespaces cannot be made inside a chroot: run squall outside it, or enter it with \
                    pivot_root (systemd-nspawn, bubblewrap)"
                .to_owned();
        }
        if self.seccomp {
            return "a seccomp filter forbids user namespaces, as container engines install: start the container \
                    with --security-opt seccomp=unconfined (Docker, Podman), or run squall outside it"
                .to_owned();
        }
        if self.root && self.step == Step::Map {
            return "root without the capability CAP_SETFCAP cannot map itself into a user namespace: add it, or \
                    run squall as an ordinary user"
                .to_owned();
        }
        "a security policy of this machine forbids user namespaces: run `squall doctor`, and look for the denial in \
         the kernel's log (sudo dmesg)"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(step: Step, errno: Errno) -> Facts {
        Facts {
            step,
            errno,
            userns_clone: None,
            max_user_namespaces: Some(10_000),
            apparmor_restricts: None,
            chroot: false,
            seccomp: false,
            root: false,
            program: PathBuf::from("/opt/squall"),
        }
    }

    #[test]
    fn each_refusal_names_its_cure() {
        use Step::{Capability, Map, Unshare};
        let denied = |step| facts(step, Errno::EPERM);
        let cases = [
            (Facts { userns_clone: Some(0), ..denied(Unshare) }, "kernel.unprivileged_userns_clone=1"),
            (
                Facts { max_user_namespaces: Some(0), ..facts(Unshare, Errno::ENOSPC) },
                "sudo sysctl -w user.max_user_namespaces=10000",
            ),
            (facts(Unshare, Errno::ENOSPC), "too many namespaces"),
            (facts(Unshare, Errno::EUSERS), "too many namespaces"),
            (facts(Unshare, Errno::EINVAL), "CONFIG_USER_NS"),
            (
                Facts { apparmor_restricts: Some(1), ..denied(Unshare) },
                "apparmor_restrict_unprivileged_userns=0",
            ),
            (Facts { apparmor_restricts: Some(1), ..denied(Map) }, "profile squall /opt/squall flags"),
            (
                Facts { apparmor_restricts: Some(1), ..facts(Map, Errno::EACCES) },
                "apparmor_restrict_unprivileged_userns=0",
            ),
            (Facts { apparmor_restricts: Some(1), ..denied(Capability) }, "apparmor_parser -r"),
            (Facts { chroot: true, ..denied(Unshare) }, "chroot"),
            (Facts { seccomp: true, ..denied(Unshare) }, "seccomp=unconfined"),
            (Facts { root: true, ..denied(Map) }, "CAP_SETFCAP"),
            (denied(Unshare), "dmesg"),
            (facts(Unshare, Errno::ENOMEM), "ENOMEM"),
        ];
        for (facts, expected) in cases {
            let cure = facts.cure();
            assert!(cure.contains(expected), "{facts:?}\nsays: {cure}\nwithout: {expected}");
        }
    }

    #[test]
    fn switches_that_are_on_are_not_blamed() {
        let on = Facts {
            userns_clone: Some(1),
            apparmor_restricts: Some(0),
            ..facts(Step::Unshare, Errno::EPERM)
        };
        let cure = on.cure();
        assert!(!cure.contains("sysctl"), "{cure}");
    }
}
