//! The faults: one file for each kind of kernel state that they use.

pub mod containers;
pub mod network;
mod rights;
mod shaping;
