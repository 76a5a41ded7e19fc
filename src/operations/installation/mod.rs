//! Installing Squall, upgrading it, and taking it away: one step a call. What it consists of is in `crate::install`.

mod apply;
mod fair_share;
mod foreign;
mod ready;
pub mod removal;

use kube::Client;
use kube::api::{Api, DynamicObject};

use crate::install::Part;
use crate::report::Change;

pub use apply::{apply, demand_rights};
pub use fair_share::{is_of_fair_share, no_fair_share};
pub use foreign::unfit;
pub use ready::{Readiness, readiness, unready};

/// The field manager of what is applied.
pub const FIELD_MANAGER: &str = "squall";

/// What became of one part.
pub type Applied = (Part, Change);

/// The API of a part's kind, in its namespace.
fn api(client: &Client, part: &Part) -> Api<DynamicObject> {
    match &part.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &part.resource),
        None => Api::all_with(client.clone(), &part.resource),
    }
}
