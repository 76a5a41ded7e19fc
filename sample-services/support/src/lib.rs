//! What the sample services share: a program's life (log, signals, runtime), a bounded graceful stop
//! and the metrics that the dashboard reads. It knows nothing of movies, traffic or databases.

pub mod http;
pub mod metrics;
pub mod program;

use std::time::Duration;

/// How long requests in flight may take after a service was told to stop. Kubernetes would wait 30 s;
/// a short time keeps pod replacement, and with it every demonstration, quick.
pub const GRACE: Duration = Duration::from_secs(1);
