//! What the kernel refused for want of a capability: the error names it.

use std::error::Error;
use std::io;

use nix::errno::Errno;

use crate::capabilities::{Buys, CAPABILITIES};
use crate::daemon::kernel::FaultError;
use crate::daemon::sys::proc;

/// A call into the kernel that failed, for one of these faults.
pub(super) fn failed(
    operation: &'static str,
    source: Box<dyn Error + Send + Sync>,
    faults: &[Buys],
) -> FaultError {
    // Who cannot tell what it has is not told that it lacks something.
    let has = proc::effective_capabilities().unwrap_or(u64::MAX);
    with_rights(operation, source, faults, has)
}

fn with_rights(
    operation: &'static str,
    source: Box<dyn Error + Send + Sync>,
    faults: &[Buys],
    has: u64,
) -> FaultError {
    let bought = CAPABILITIES.iter().filter(|one| one.buys.iter().any(|fault| faults.contains(fault)));
    let missing: Vec<_> =
        bought.filter(|one| !one.is_in(has)).map(|one| format!("CAP_{}", one.name)).collect();
    if missing.is_empty() || !is_refusal(&*source) {
        return FaultError::Kernel { operation, source };
    }
    FaultError::Forbidden { operation, missing: missing.join(", "), source }
}

/// Whether at the bottom of it the kernel said that it is not permitted.
fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    let said = last
        .downcast_ref::<Errno>()
        .copied()
        .or_else(|| last.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error).map(Errno::from_raw));
    matches!(said, Some(Errno::EPERM | Errno::EACCES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::sys::netlink::NetlinkError;
    use crate::daemon::sys::tc::TcError;

    fn refused(errno: Errno) -> Box<dyn Error + Send + Sync> {
        let (operation, explanation) = ("list".to_owned(), String::new());
        Box::new(TcError::Netlink(NetlinkError::Refused { operation, explanation, errno }))
    }

    #[test]
    fn what_is_missing_is_named_only_where_it_was_the_reason() {
        let all = CAPABILITIES.iter().fold(0, |bits, one| bits | 1 << one.number);
        let without = |number: u8| all & !(1 << number);
        let told = |source: Box<dyn Error + Send + Sync>, faults: &[Buys], has| {
            with_rights("listing", source, faults, has).chain()
        };
        let network = [Buys::Partition];
        let said = told(refused(Errno::EPERM), &network, without(12));
        assert!(said.starts_with("listing failed: the daemon has no CAP_NET_ADMIN: "), "{said}");
        assert!(said.ends_with("EPERM: Operation not permitted"), "{said}");
        for (source, has, why) in [
            (refused(Errno::EPERM), all, "it has everything"),
            (refused(Errno::EPERM), without(5), "it lacks what something else buys"),
            (refused(Errno::EINVAL), without(12), "that was not the reason"),
        ] {
            let said = told(source, &network, has);
            assert!(said.starts_with("listing failed: ") && !said.contains("CAP_"), "{why}: {said}");
        }
        let denied = io::Error::from_raw_os_error(libc::EPERM);
        assert!(told(denied.into(), &[Buys::KillOfOthers], without(5)).contains("no CAP_KILL: "));
    }
}
