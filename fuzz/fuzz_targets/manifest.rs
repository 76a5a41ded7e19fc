//! The reader of experiment files keeps its rules whatever it is given. `docs/manifests.md` says how to run it.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/manifests/invariants.rs"]
mod invariants;

fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = invariants::hold(bytes) {
        panic!("{broken}");
    }
});
