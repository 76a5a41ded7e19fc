//! `--timeout` and `--no-wait`: how long a verb waits for what it asked for.

use std::time::Duration;

use super::seconds;

/// Whether and how long a verb waits for what it asked for.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// How long to wait, in seconds or with a unit (90s, 2m)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds)]
    pub(super) timeout: Duration,
    /// Do not wait
    #[arg(long)]
    pub(super) no_wait: bool,
}
