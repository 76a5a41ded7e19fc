//! The reader of metrics keeps its rules whatever a pod answers.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/expositions/invariants.rs"]
mod invariants;

fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = invariants::hold(bytes) {
        panic!("{broken}");
    }
});
