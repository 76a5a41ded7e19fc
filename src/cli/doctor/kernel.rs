//! What this machine offers: its kernel, this user's rights, and which faults can be made with them.

use super::probe::{Findings, Flavour};
use super::{Check, PATIENCE};
use crate::capabilities::CAPABILITIES;

/// Where the modules of a kernel that lacks some are to be had.
const PACKAGE: &str =
    "some distributions keep it in a package of its own, such as linux-modules-extra-$(uname -r)";

/// Looks at this machine.
pub(super) async fn checks(checks: &mut Vec<Check>) {
    let child = tokio::process::Command::new("/proc/self/exe").arg("probe").kill_on_drop(true).output();
    let findings = match tokio::time::timeout(PATIENCE, child).await {
        Ok(Ok(output)) => {
            serde_json::from_slice::<Findings>(&output.stdout).map_err(|error| error.to_string())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_elapsed) => Err("it does not end".to_owned()),
    };
    match findings {
        Ok(findings) => checks.extend(found(&findings)),
        Err(why) => checks.push(Check::warn(
            "sandbox",
            format!("could not be tried: {why}"),
            "a playground tells more: `squall playground --headless`",
        )),
    }
}

/// What was found, and what follows for each fault.
pub(super) fn found(findings: &Findings) -> Vec<Check> {
    let mut checks = Vec::new();
    if cfg!(feature = "playground") {
        checks.push(match &findings.sandbox {
            Some(why) => Check::warn("sandbox", "a playground cannot run here", why),
            None => Check::ok("sandbox", "user namespaces are allowed: a playground can run"),
        });
    }
    checks.push(capabilities(findings.capabilities));
    checks.push(match &findings.tables {
        Ok(()) => Check::ok("nf_tables", "a table was made and read back in a namespace of its own"),
        Err(why) => Check::warn(
            "nf_tables",
            why,
            "load the module (sudo modprobe nf_tables), or use a kernel 5.12 or later with CONFIG_NF_TABLES",
        ),
    });
    checks.push(netem(findings));
    checks.push(queue(findings));
    checks.push(partition(findings));
    checks.push(shaping(findings));
    checks.push(Check::ok(
        "pod faults",
        "pod-kill and pod-failure are calls of the API: they need nothing here",
    ));
    checks
}

fn capabilities(has: u64) -> Check {
    let missing: Vec<_> = CAPABILITIES.iter().filter(|one| !one.is_in(has)).collect();
    if missing.is_empty() {
        return Check::ok("capabilities", "all that a daemon needs");
    }
    if missing.len() == CAPABILITIES.len() {
        return Check::ok(
            "capabilities",
            "none: an ordinary user, whose playgrounds have rights of their own; a daemon on a node needs more",
        );
    }
    let names: Vec<_> = missing.iter().map(|one| format!("CAP_{} ({})", one.name, one.bought())).collect();
    Check::warn(
        "capabilities",
        format!("missing: {}", names.join(", ")),
        "add them to the security context of the daemon's container",
    )
}

fn netem(findings: &Findings) -> Check {
    match &findings.netem {
        Err(why) => Check::warn("netem", why, "run squall doctor as a user who may make network namespaces"),
        Ok(has) if has.netem && has.prio => Check::ok("netem", "sch_netem and sch_prio are there"),
        Ok(has) => {
            let missing = [("sch_netem", has.netem), ("sch_prio", has.prio)];
            let missing: Vec<_> = missing.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
            Check::warn(
                "netem",
                format!("this kernel has no {}", missing.join(" and no ")),
                format!("sudo modprobe {}; {PACKAGE}", missing.join(" ")),
            )
        }
    }
}

fn queue(findings: &Findings) -> Check {
    match &findings.queue {
        Err(why) => {
            Check::warn("nfqueue", why, "run squall doctor as a user who may make network namespaces")
        }
        Ok(Some(Flavour::Native)) => {
            Check::ok("nfqueue", "nf_tables hands packets to a program by its own expression")
        }
        Ok(Some(Flavour::Compat)) => {
            Check::ok("nfqueue", "nf_tables hands packets to a program by iptables' target NFQUEUE")
        }
        Ok(None) => Check::warn(
            "nfqueue",
            "nf_tables cannot hand packets to a program",
            format!("sudo modprobe nfnetlink_queue nft_queue (or nft_compat xt_NFQUEUE); {PACKAGE}"),
        ),
    }
}

fn partition(findings: &Findings) -> Check {
    if findings.tables.is_ok() {
        Check::ok("partition", "by nf_tables, in tables that end with the daemon")
    } else {
        Check::warn("partition", "cannot be injected on this machine", "see nf_tables above")
    }
}

/// The back end of everything that is shaped, and why it is that one.
fn shaping(findings: &Findings) -> Check {
    let netem = findings.netem.as_ref().is_ok_and(|has| has.netem && has.prio);
    let queue = matches!(findings.queue, Ok(Some(_)));
    let name = "delay, loss, …";
    match (findings.tables.is_ok(), netem, queue) {
        (true, true, true) => Check::ok(name, "by netem; by the shaper for what is delayed where it arrives"),
        (true, true, false) => Check::warn(
            name,
            "by netem; what must be delayed where it arrives (behind a Service with other endpoints) cannot be",
            "see nfqueue above",
        ),
        (true, false, true) => Check::ok(
            name,
            "by Squall's shaper, since this kernel lacks netem or prio; up to about 1 Gbit/s or 100,000 packets/s a core",
        ),
        _ => {
            Check::warn(name, "cannot be injected on this machine", "see nf_tables, netem and nfqueue above")
        }
    }
}
