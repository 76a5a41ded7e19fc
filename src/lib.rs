//! Squall: a chaos console for Kubernetes in the terminal.
//!
//! Kubernetes API server is the only bus between them. `ARCHITECTURE.md` is the map; in short:
//!
//! * [`api`] – the objects; [`manifest`] – text to objects; [`experiment`] and [`network`] – what they
//!   mean. Pure: no input, no output.
//! * [`cli`] – the verbs. `controller` – turns experiments into Injections. [`daemon`] – runs on every
//!   node and makes its kernel look like the Injections of that node.
//!   – the way to it.

pub mod api;
pub mod apiserver;
pub mod cli;
pub mod client;
pub mod daemon;
pub mod experiment;
pub mod manifest;
pub mod network;
pub mod paths;
