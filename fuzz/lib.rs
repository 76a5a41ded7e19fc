//! The pure folders of Squall and nothing else, as the crate that the fuzz targets know: what is not built is not
//! instrumented, and nine tenths of a build with coverage would be clients, runtimes and daemons.

#[path = "../src/api/mod.rs"]
pub mod api;
#[path = "../src/experiment/mod.rs"]
pub mod experiment;
#[path = "../src/manifest/mod.rs"]
#[expect(dead_code, reason = "dashboards, which are not fuzzed, are read with it too")]
pub mod manifest;
#[path = "../src/network/mod.rs"]
pub mod network;
/// The reader of metrics alone: what is beside it needs a network, or a language of its own.
#[path = "."]
pub mod steady_state {
    #[path = "../src/steady_state/exposition/mod.rs"]
    pub mod exposition;
}
