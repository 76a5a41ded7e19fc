//! Squall as pods of a real cluster: installed, put to work on the tutorial's system, and disturbed. `./test --cluster` runs it,
//! as root.
//!
//! What a fault does is measured where users are: by the client of the system, request by request, and by bystanders. That
//! nothing is left of it is read from the kernel, by other programs than ours. The tests take turns on a common cluster of
//! three nodes; those that need Debian's kernel, the last in the order of names, have one with a virtual machine in it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, and what was measured is told where it was"
)]

mod console;
mod directions;
mod experiment;
mod images;
#[path = "../kubectl/mod.rs"]
#[expect(dead_code, reason = "shared with tests of the nodes themselves")]
mod kubectl;
#[path = "../pty/mod.rs"]
#[expect(dead_code, reason = "shared with tests that do more on a terminal")]
mod pty;
mod rest;
mod rights;
mod samples;
mod survive;
mod system;
mod targets;
mod traces;
mod tutorial;
mod vm;
mod world;
