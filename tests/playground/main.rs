//! The playground as its users meet it: the whole stack, as an ordinary user, on this machine's kernel.
#![cfg(test)]
#![cfg(feature = "playground")]

mod cluster;
mod console;
mod console_steady_state;
mod console_tutorial;
mod delay;
mod halt;
mod harness;
mod partition;
mod pause;
mod pictures;
mod pods;
#[path = "../pty/mod.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod pty;
mod system;
