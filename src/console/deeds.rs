//! What the console changes in the cluster: by the same operations as the command line.

use std::time::Duration;

use kube::Client;
use kube::api::{Patch, PatchParams};

use crate::api::HaltSpec;
use crate::app::effect::{Deed, ObjectRef};
use crate::manifest::{self, Object};
use crate::operations::{self, Kind, Target, halt};
use crate::report::{self, Stage, Trouble, Turn};

/// How long an experiment that is over may take to make room for a new one of its name.
const MAKE_ROOM: Duration = Duration::from_secs(10);

/// Does it, and says what became of it.
pub(super) async fn perform(client: &Client, deed: &Deed) -> Result<String, Trouble> {
    match deed {
        Deed::Apply { text, namespace } => apply(client, text, namespace.as_deref()).await,
        Deed::Pause(object) => turn(client, Turn::Pause, object).await,
        Deed::Resume(object) => turn(client, Turn::Resume, object).await,
        Deed::Stop(object) => {
            target(client, object)?.delete(Some(&object.uid)).await?;
            Ok(format!("{} is being stopped", object.label()))
        }
        Deed::Patch { object, patch, what } => {
            let target = target(client, object)?;
            let patched = target.api.patch(&target.name, &PatchParams::default(), &Patch::Merge(patch)).await;
            patched.map_err(|error| Trouble::api(format!("change {}", object.label()), &error))?;
            Ok(format!("{}: {what}", object.label()))
        }
        Deed::Halt { reason } => {
            let spec = HaltSpec { reason: Some(reason.clone()), ..HaltSpec::default() };
            let name = halt::create(client, spec, None).await?;
            Ok(format!("halted ({name}): every fault is being undone"))
        }
        Deed::Release => release(client).await,
    }
}

fn target(client: &Client, object: &ObjectRef) -> Result<Target, Trouble> {
    let kind = Kind::known(&object.kind)
        .ok_or_else(|| Trouble::new(format!("the kind {} is not known here", object.kind)))?;
    let namespace = object.namespace.clone().unwrap_or_default();
    Ok(Target::named(client, kind, namespace, object.name.clone()))
}

async fn turn(client: &Client, turn: Turn, object: &ObjectRef) -> Result<String, Trouble> {
    operations::turn(turn, &[target(client, object)?]).await?;
    Ok(format!("{} is being {}", object.label(), turn.done()))
}

async fn release(client: &Client) -> Result<String, Trouble> {
    let halts = halt::list(client).await?;
    let names: Vec<_> = halts.into_iter().filter_map(|halt| halt.metadata.name).collect();
    for name in &names {
        halt::release(client, name).await?;
    }
    Ok(format!("released {}: experiments can start again", names.join(", ")))
}

/// Starts the experiment, or changes it in place while it runs. One that is over makes room for it.
async fn launch(target: &Target, object: &Object) -> Result<&'static str, Trouble> {
    let failed = |error| Trouble::api(format!("get {}", target.label()), &error);
    let stored = target.api.get_opt(&target.name).await.map_err(failed)?;
    let is_over = stored.as_ref().is_some_and(|stored| {
        matches!(report::stage(&report::status(stored)), Stage::Recovered { .. } | Stage::Invalid(_))
    });
    if is_over {
        target.start(object, MAKE_ROOM).await?;
        return Ok("started again");
    }
    target.apply(object).await.map(report::Change::word)
}

async fn apply(client: &Client, text: &str, namespace: Option<&str>) -> Result<String, Trouble> {
    let file = manifest::read(text.as_bytes());
    if !file.is_usable() {
        let cure = "`squall validate` says what is wrong with it";
        return Err(Trouble::new("the file cannot be used").cure(cure));
    }
    let mut done: Vec<String> = Vec::new();
    for object in &file.objects {
        let target = Target::new(client, object, namespace)?;
        match launch(&target, object).await {
            Ok(word) => done.push(format!("{} {word}", target.label())),
            Err(trouble) if done.is_empty() => return Err(trouble),
            Err(trouble) => {
                let what = format!("{} (done before: {})", trouble.what, done.join(", "));
                return Err(Trouble { what, ..trouble });
            }
        }
    }
    Ok(done.join(", "))
}
