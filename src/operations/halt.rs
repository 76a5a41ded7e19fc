//! The emergency stop of a cluster: Halts are written, listed and released.

use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt};

use crate::api::{Halt, HaltSpec};
use crate::report::Trouble;

/// What the API server makes names from where none is given.
const NAME_BASE: &str = "halt-";

/// Writes a Halt, which is in force from then on. Its name: `name`, or one that the API server makes.
///
/// # Errors
/// What the API server answers, with the way around it if it gave no answer.
pub async fn create(client: &Client, spec: HaltSpec, name: Option<&str>) -> Result<String, Trouble> {
    let mut halt = Halt::new(name.unwrap_or_default(), spec);
    if name.is_none() {
        halt.metadata.name = None;
        halt.metadata.generate_name = Some(NAME_BASE.to_owned());
    }
    let created = Api::<Halt>::all(client.clone()).create(&PostParams::default(), &halt).await;
    Ok(created.map_err(|error| failed("create a Halt", &error))?.name_any())
}

/// The Halts that there are.
///
/// # Errors
/// What the API server answers, with the way around it if it gave no answer.
pub async fn list(client: &Client) -> Result<Vec<Halt>, Trouble> {
    let list = Api::<Halt>::all(client.clone()).list(&ListParams::default()).await;
    Ok(list.map_err(|error| failed("list the Halts", &error))?.items)
}

/// Releases the Halt of this name; `false` if there is none, as when somebody else was faster.
///
/// # Errors
/// What the API server answers, with the way around it if it gave no answer.
pub async fn release(client: &Client, name: &str) -> Result<bool, Trouble> {
    match Api::<Halt>::all(client.clone()).delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(failed(&format!("release {}", label(name)), &error)),
    }
}

/// `halt.squall.dev/NAME`, as kubectl names an object.
pub fn label(name: &str) -> String {
    format!("halt.squall.dev/{name}")
}

/// An answer of the API server, with the way around it if it gave none.
fn failed(doing: &str, error: &kube::Error) -> Trouble {
    let trouble = Trouble::api(doing, error);
    match error {
        kube::Error::Api(status) if status.is_already_exists() => {
            trouble.cure("it is in force already; release it first, or give this one another --name")
        }
        kube::Error::Api(_) => trouble,
        _ => trouble.cure("without an API server, run `squall halt --local` on each node"),
    }
}
