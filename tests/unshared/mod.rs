//! Namespaces of one's own for a test: its program calls itself again in them, so that it works for root and for an ordinary
//! user and touches nothing outside.

use std::process::Command;

/// Set in the environment of a test that is inside.
const SANDBOX: &str = "SQUALL_TEST_SANDBOX";

/// Runs `test` in new user namespaces and those that `flags` of unshare(1) name. `name` is the calling test's own: it is
/// called again, and does nothing before this. Says so and runs nothing where the kernel or the user's rights do not allow it.
#[expect(clippy::disallowed_methods, reason = "the test calls itself again in new namespaces")]
#[expect(clippy::print_stderr, reason = "what was skipped must be seen")]
pub(crate) fn run(name: &str, flags: &[&str], test: impl FnOnce()) {
    if std::env::var_os(SANDBOX).is_some() {
        return test();
    }
    let unshared = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user"]).args(flags).args(["--", program]);
        command
    };
    let probe = unshared("true").output().expect("unshare (package util-linux) is not installed");
    if !probe.status.success() {
        let reason = String::from_utf8_lossy(&probe.stderr);
        eprintln!("SKIPPED: {name}: no user namespaces here: {}", reason.trim());
        return;
    }
    let binary = std::env::current_exe().unwrap();
    let status = unshared(binary.to_str().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(SANDBOX, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its sandbox, see above");
}
