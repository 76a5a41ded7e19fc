//! The playground as its users meet it: the whole stack, as an ordinary user, on this machine's kernel.
#![cfg(all(test, feature = "playground"))]

mod cluster;
mod harness;
mod partition;
mod system;
