//! What an experiment means: which pods, which faults, for how long, and what its status says.
//!
//! Pure: given the same objects and the same moment it gives the same answer, on the controller, on a
//! node and in a preview. It reads no clock, no network and no file.

pub mod wanted;
