//! Squall: a chaos console for Kubernetes in the terminal.
//!
//! One binary is the command line, the controller, the node daemon and a rootless playground. The
//! Kubernetes API server is the only bus between them. `ARCHITECTURE.md` is the map; in short:
//!
//! * [`api`] – the objects; [`manifest`] – text to objects; [`experiment`] and [`network`] – what they
//!   mean. Pure: no input, no output.
//! * [`install`] – every object of an installation, pure as well.
//! * [`report`] – what there is to say about experiments, pure as well; [`operations`] – what can be done to them.
//! * [`cli`] – the verbs. [`controller`] – turns experiments into Injections. [`daemon`] – runs on every
//!   node and makes its kernel look like the Injections of that node.
//! * `playground` – a three-node cluster in one rootless sandbox (feature `playground`).
//! * [`metrics`] – what parts tell about themselves over HTTP, where an administrator asked for that.
//! * [`apiserver`] – an API server in memory, for the playground and the tests; [`client`] and [`paths`]
//!   – the way to it.

pub mod alive;
pub mod api;
pub mod apiserver;
pub mod app;
pub mod capabilities;
pub mod cli;
pub mod client;
pub mod console;
pub mod controller;
pub mod daemon;
pub mod experiment;
pub mod install;
pub mod manifest;
pub mod metrics;
pub mod network;
pub mod operations;
pub mod paths;
#[cfg(feature = "playground")]
pub mod playground;
pub mod report;
pub mod steady_state;
pub mod ui;
