//! The capabilities that a daemon takes (capabilities(7)), and what each of them buys.
//!
//! One list for what is installed, what `squall doctor` looks for, what an error names and what docs/security.md says.
//! `tests/cluster_install` takes each away and holds what then fails against it.

/// A fault that may take a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Buys {
    /// Packets are dropped.
    Partition,
    /// Delay, loss and the like where the kernel has netem.
    Netem,
    /// The same where it has not.
    Shaper,
    /// `container-kill` of a container whose user is root.
    KillOfRoot,
    /// The same of a container with another user.
    KillOfOthers,
}

/// A right of the daemon's container.
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    /// As a security context has it, `NET_ADMIN`.
    pub name: &'static str,
    /// Its number in `linux/capability.h`.
    pub number: u8,
    /// The faults that fail without it.
    pub buys: &'static [Buys],
    /// What they do with it.
    pub what_for: &'static str,
}

/// All faults of a pod's network.
const NETWORK: &[Buys] = &[Buys::Partition, Buys::Netem, Buys::Shaper];

/// What a daemon takes. What no fault needs is not here.
pub const CAPABILITIES: [Capability; 5] = [
    Capability {
        name: "SYS_ADMIN",
        number: 21,
        buys: NETWORK,
        what_for: "entering a pod's network namespace (setns(2))",
    },
    Capability {
        name: "SYS_PTRACE",
        number: 19,
        buys: NETWORK,
        what_for: "opening /proc/PID/ns/net of processes that have other rights or another user",
    },
    Capability {
        name: "NET_ADMIN",
        number: 12,
        buys: NETWORK,
        what_for: "nf_tables, queueing disciplines and packet queues in there",
    },
    Capability {
        name: "NET_RAW",
        number: 13,
        buys: &[Buys::Shaper],
        what_for: "sending packets that the shaper held",
    },
    Capability {
        name: "KILL",
        number: 5,
        buys: &[Buys::KillOfOthers],
        what_for: "a signal to processes of users other than root",
    },
];

impl Buys {
    /// In a few words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Netem => "delay, loss, … by netem",
            Self::Shaper => "delay, loss, … by the shaper",
            Self::KillOfRoot => "container-kill of root's",
            Self::KillOfOthers => "container-kill of a container that is not root's",
        }
    }
}

impl Capability {
    /// Whether it is among these bits, as `CapEff` in `/proc/PID/status` has them.
    pub const fn is_in(&self, bits: u64) -> bool {
        bits & (1 << self.number) != 0
    }

    /// What it buys, in a few words.
    pub fn bought(&self) -> String {
        self.buys.iter().map(|fault| fault.words()).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_security_has_the_same_list() {
        let page = include_str!("../docs/security.md");
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| CAP_")).collect();
        let ours = CAPABILITIES
            .iter()
            .map(|one| format!("| CAP_{} | {} | {} |", one.name, one.bought(), one.what_for));
        assert_eq!(rows, ours.collect::<Vec<_>>());
    }
}
