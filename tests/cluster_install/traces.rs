//! What is on a node besides its own: read from the kernel with other programs than ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use test_cluster::node_name;

use super::world::World;

/// Prints what every pod's network has, and the processes of Squall, in sections. Pods' networks are named where the container
/// runtime names them. One line, which is what a virtual machine takes.
const SCRIPT: &str = "cd /run/netns; for name in *; do echo \"== $name\"; tc -n \"$name\" qdisc show; \
    ip netns exec \"$name\" nft list ruleset; done; echo '== processes'; for process in /proc/[0-9]*; do \
    tr '\\0' ' ' <\"$process/cmdline\" 2>/dev/null | grep -E '^/?squall ' || true; done";

/// A node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    /// Queueing disciplines and rules of each pod's network, by its name.
    networks: BTreeMap<String, String>,
    /// Command lines.
    pub(crate) processes: Vec<String>,
}

pub(crate) fn of(world: &World, node: u8) -> Traces {
    let text = world.on_node(node, SCRIPT);
    let mut networks = BTreeMap::new();
    let mut processes = Vec::new();
    for section in text.split("== ").skip(1) {
        let (name, rest) = section.split_once('\n').unwrap_or((section, ""));
        if name == "processes" {
            processes = rest.lines().map(|line| line.trim().to_owned()).collect();
        } else {
            networks.insert(name.to_owned(), rest.to_owned());
        }
    }
    processes.sort();
    Traces { networks, processes }
}

/// All nodes, by number.
pub(crate) fn everywhere(world: &World) -> BTreeMap<u8, Traces> {
    (1..=world.shape.all()).map(|node| (node, of(world, node))).collect()
}

impl Traces {
    /// How many pods' networks have something of Squall's.
    pub(crate) fn faulted(&self) -> usize {
        let ours = ["squall", "netem", "qdisc prio"];
        self.networks.values().filter(|text| ours.iter().any(|word| text.contains(word))).count()
    }

    /// What pods that were there before and are there now have that they had not, or the other way round.
    pub(crate) fn changed_since(&self, before: &Self) -> Vec<String> {
        let changed = self
            .networks
            .iter()
            .filter(|(name, now)| before.networks.get(*name).is_some_and(|was| was != *now));
        changed.map(|(name, now)| format!("{name}: {now}")).collect()
    }
}

/// That no network of a pod is other than it was, and none has anything of ours.
pub(crate) fn nothing_is_left(world: &World, before: &BTreeMap<u8, Traces>) {
    for (node, now) in everywhere(world) {
        let name = node_name(node);
        assert_eq!(now.faulted(), 0, "{name}: {now:#?}");
        let was = before.get(&node).unwrap_or_else(|| panic!("nothing is known of {name}"));
        assert_eq!(now.changed_since(was), Vec::<String>::new(), "{name}");
    }
}

/// What Squall has in its two folders on a node. They themselves are the kubelet's, which made them for the daemon's volumes.
pub(crate) fn files(world: &World, node: u8) -> String {
    world.on_node(node, "find /run/squall /var/lib/squall -mindepth 1")
}

/// A process of Squall on a node on this kernel, as this machine numbers it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) path: PathBuf,
    /// Its arguments, from the verb on.
    pub(crate) verb: String,
    /// Its control groups, a hierarchy in each line (cgroups(7)).
    groups: String,
}

/// Those of the cluster, without the kubelet's looks at them, which come and go.
pub(crate) fn processes(world: &World) -> Vec<Process> {
    let cluster = format!("/{}/", world.cluster.block().unwrap().name());
    let of_it = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let line = fs::read_to_string(path.join("cmdline")).ok()?;
        let groups = fs::read_to_string(path.join("cgroup")).ok()?;
        let (program, rest) = line.split_once('\0')?;
        let is_ours = program.trim_start_matches('/') == "squall"
            && groups.contains(&cluster)
            && !rest.starts_with("alive\0");
        is_ours.then(|| Process { path, verb: rest.replace('\0', " ").trim().to_owned(), groups })
    };
    fs::read_dir("/proc").unwrap().filter_map(of_it).collect()
}

impl Process {
    pub(crate) fn number(&self) -> i32 {
        self.path.file_name().unwrap().to_str().unwrap().parse().unwrap()
    }

    /// The sockets that others could send to, by the table that lists each: TCP that listens, UDP that has a port.
    pub(crate) fn listens(&self) -> Vec<String> {
        /// `TCP_LISTEN` in `net/tcp_states.h`; an unconnected UDP socket is in state 7.
        const STATES: [(&str, &str); 4] = [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")];
        let links = fs::read_dir(self.path.join("fd")).unwrap();
        let own: Vec<_> = links.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect();
        let mut found = Vec::new();
        for (table, state) in STATES {
            let text = fs::read_to_string(self.path.join("net").join(table)).unwrap();
            for line in text.lines().skip(1) {
                let fields: Vec<_> = line.split_whitespace().collect();
                let socket = format!("socket:[{}]", fields[9]);
                if fields[3] == state && own.iter().any(|link| link == Path::new(&socket)) {
                    found.push(format!("{table} {}", fields[1]));
                }
            }
        }
        found
    }

    /// What it has in memory, in KiB, by a line of its status.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        self.kib("status", line)
    }

    /// Its share of the memory that it uses, in KiB: a page of the program counts in part for each process that has it.
    pub(crate) fn share(&self) -> u64 {
        self.kib("smaps_rollup", "Pss:")
    }

    fn kib(&self, file: &str, line: &str) -> u64 {
        let text = fs::read_to_string(self.path.join(file)).unwrap();
        let amount = text.lines().find_map(|text| text.strip_prefix(line)).unwrap();
        amount.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Whether it is one of a pod's, by the pod's UID.
    pub(crate) fn is_of(&self, pod: &str) -> bool {
        self.groups.contains(&format!("/pod{pod}/"))
    }

    /// The name of its node.
    pub(crate) fn node(&self) -> String {
        let mut parts = self.groups.split('/').skip_while(|part| !part.starts_with("machine"));
        parts.next().unwrap().to_owned()
    }

    /// The processor time that its container has had, with everything that was run in it.
    pub(crate) fn time_of_container(&self) -> Duration {
        time_of_group(&self.groups, str::to_owned)
    }

    /// The same of its whole node: pods, kubelet, container runtime.
    pub(crate) fn time_of_node(&self) -> Duration {
        let node = self.node();
        time_of_group(&self.groups, |path| {
            format!("{}/{node}", path.split_once(&format!("/{node}")).unwrap().0)
        })
    }

    /// The processor time that it has had, in hundredths of a second.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(self.path.join("stat")).unwrap();
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split_whitespace().collect();
        // utime and stime are fields 14 and 15; these begin with the third.
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

/// The processor time of a control group, in either version of them; `of` is what is wanted of a process's own.
fn time_of_group(groups: &str, of: impl Fn(&str) -> String) -> Duration {
    let path = |controller: &str| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            controllers.split(',').any(|one| one == controller).then(|| format!("{controllers}{}", of(path)))
        })
    };
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    if let Some(path) = path("cpuacct") {
        let usage = fs::read_to_string(format!("/sys/fs/cgroup/{path}/cpuacct.usage")).unwrap();
        return Duration::from_nanos(number(&usage));
    }
    let stat = fs::read_to_string(format!("/sys/fs/cgroup{}/cpu.stat", path("").unwrap())).unwrap();
    let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
    Duration::from_micros(number(usage))
}
