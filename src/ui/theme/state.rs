//! How a state is shown: a glyph, a word and a role. The words are those of the objects.

use super::{Glyph, Role};

/// How a state is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Its glyph.
    pub glyph: Glyph,
    /// Its role.
    pub role: Role,
}

const fn state(glyph: Glyph, role: Role) -> State {
    State { glyph, role }
}

const UNKNOWN: State = state(Glyph::Unknown, Role::Unknown);

/// Of an experiment's phase.
pub fn of_experiment(phase: &str) -> State {
    match phase {
        "Waiting" | "Selected" => state(Glyph::Waiting, Role::Moving),
        "Injecting" => state(Glyph::Moving, Role::Injected),
        "Injected" => state(Glyph::Injected, Role::Injected),
        "Paused" => state(Glyph::Paused, Role::Paused),
        "Stopping" | "Recovering" => state(Glyph::Moving, Role::Moving),
        "Finished" => state(Glyph::Over, Role::Ok),
        "Invalid" => state(Glyph::Failed, Role::Danger),
        _ => UNKNOWN,
    }
}

/// Of a target's phase.
pub fn of_target(phase: &str) -> State {
    match phase {
        "Waiting" => state(Glyph::Waiting, Role::Moving),
        "Injected" => state(Glyph::Injected, Role::Injected),
        "Done" => state(Glyph::Over, Role::Injected),
        "Recovered" => state(Glyph::Well, Role::Ok),
        "Failed" => state(Glyph::Failed, Role::Danger),
        "Stuck" => state(Glyph::Warning, Role::Danger),
        _ => UNKNOWN,
    }
}

/// Of a pod's status, and whether it does what it is there for.
pub fn of_pod(status: &str, is_well: bool) -> State {
    match status {
        "Succeeded" | "Completed" => state(Glyph::Over, Role::Unknown),
        _ if is_well => state(Glyph::Well, Role::Ok),
        "Running" | "Pending" | "ContainerCreating" | "PodInitializing" => state(Glyph::Waiting, Role::Warn),
        "Terminating" => state(Glyph::Moving, Role::Moving),
        "Unknown" => UNKNOWN,
        _ => state(Glyph::Failed, Role::Danger),
    }
}

/// Of a node's status.
pub fn of_node(status: &str) -> State {
    match status {
        "Ready" => state(Glyph::Well, Role::Ok),
        "NotReady" => state(Glyph::Failed, Role::Danger),
        _ if status.starts_with("Ready,") => state(Glyph::Paused, Role::Paused),
        _ => UNKNOWN,
    }
}
