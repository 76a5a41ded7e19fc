//! The API contract: what Squall expects of a Kubernetes API server, as a table of cases that runs against any.
//!
//! Here it runs against the in-memory server, in the process and over its unix socket. `in_memory` holds what is about
//! that server alone: latency, bounds, the watcher of kube's runtime on top of it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a test that cannot go on fails, and its tables read better with plain values"
)]

mod cases;
mod in_memory;
mod server;
mod step;

use squall::client::over_unix;
use step::Fixture;

async fn hold_the_contract(client: kube::Client) {
    let fixture = Fixture { client, namespace: "default".into(), run: "run".into() };
    let cases = cases::all();
    assert!(cases.len() > 70, "the table lost cases: {} are left", cases.len());
    let failures = step::run(&fixture, &cases).await;
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[tokio::test]
async fn in_process() {
    hold_the_contract(server::start().client("default")).await;
}

#[tokio::test]
async fn over_a_unix_socket() {
    let socket = server::Socket::serve(server::start());
    hold_the_contract(over_unix(&socket.path, "default")).await;
}

#[test]
fn names_of_cases_are_unique() {
    let mut names: Vec<_> = cases::all().iter().map(|case| case.name).collect();
    names.sort_unstable();
    let total = names.len();
    names.dedup();
    assert_eq!(names.len(), total);
}
