//! `PyMongo` against the database: a second driver, written apart from the first, agrees on the protocol.
//!
//! `SQUALL_TEST_PYTHON` names a Python that has pymongo; without it `python3` is tried.

#![cfg(test)]

mod common;

use std::env;
use std::process::Stdio;

use common::Running;
use tokio::process::Command;

const SCRIPT: &str = include_str!("pymongo.py");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pymongo_works() {
    let python = env::var("SQUALL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python).args(["-c", "import pymongo"]).stderr(Stdio::null()).status().await;
    if !probe.is_ok_and(|status| status.success()) {
        assert!(env::var_os("SQUALL_TEST_PYTHON").is_none(), "SQUALL_TEST_PYTHON={python} has no pymongo");
        eprintln!("SKIPPED: {python} has no pymongo; install it or set SQUALL_TEST_PYTHON");
        return;
    }
    let database = Running::start(tempfile::tempdir().unwrap()).await;
    let output =
        Command::new(&python).args(["-c", SCRIPT, &database.address.to_string()]).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert_eq!(out.trim(), "all passed", "{err}");
    drop(database.stop().await);
}
