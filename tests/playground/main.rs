//! The playground as its users meet it: the whole stack, as an ordinary user, on this machine's kernel.
#![cfg(test)]
#![cfg(feature = "playground")]

mod cluster;
mod delay;
mod halt;
mod harness;
mod partition;
mod pause;
mod pods;
mod system;
