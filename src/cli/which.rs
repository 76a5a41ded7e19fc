//! Which experiments a verb is about: named on the command line, or those of files.

use std::path::PathBuf;

use super::exit::{Failure, Result};
use super::world::{World, WorldArgs};
use super::{Out, files};
use crate::operations::{Kind, Target};

/// Experiments by name or by file.
#[derive(clap::Args, Debug)]
pub(crate) struct Which {
    /// Kind and name of the experiment: `networkchaos partition` or `networkchaos/partition`
    #[arg(value_name = "KIND NAME", num_args = 1..=2, required_unless_present = "file", conflicts_with = "file")]
    experiment: Vec<String>,
    /// The experiments of this file, - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Namespace of the experiment
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

impl Which {
    /// The world that is meant, which is announced, and the experiments in it; `verb` is for the messages.
    pub(crate) async fn find(
        &self,
        verb: &str,
        world: &WorldArgs,
        out: &mut Out,
    ) -> Result<(World, Vec<Target>)> {
        let objects = if self.file.is_empty() { Vec::new() } else { files::read(&self.file, out)? };
        let named = named(&self.experiment, verb)?;
        let world = World::find(world).await?;
        world.announce(out);
        let namespace = self.namespace.as_deref();
        let mut targets = objects
            .iter()
            .map(|object| Target::new(&world.client, object, namespace))
            .collect::<Result<Vec<_>, _>>()?;
        targets.extend(
            named.map(|(kind, name)| Target::named(&world.client, kind, world.namespace(namespace), name)),
        );
        Ok((world, targets))
    }
}

/// The kind and name in these words: `KIND NAME`, `KIND/NAME`, or nothing.
pub(crate) fn named(words: &[String], verb: &str) -> Result<Option<(Kind, String)>> {
    let (word, name) = match words {
        [] => return Ok(None),
        [word, name] => (word.as_str(), name.as_str()),
        [word, ..] => word.split_once('/').ok_or_else(|| {
            Failure::bad_input(format!("the name of the {word} is missing"))
                .cure(format!("write `squall {verb} {word} NAME`; `squall get {word}` lists them"))
        })?,
    };
    let experiment = Kind::known(word).filter(Kind::is_experiment);
    let kind = experiment.ok_or_else(|| {
        Failure::bad_input(format!("\"{word}\" is not a kind of experiment"))
            .cure(format!("`squall {verb}` is for experiments: `squall {verb} networkchaos NAME`"))
    })?;
    Ok(Some((kind, name.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experiments_by_their_words() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        for input in [&["netchaos", "p"][..], &["networkchaos/p"]] {
            let (kind, name) = named(&words(input), "pause").unwrap().unwrap();
            assert_eq!((kind.resource.kind.as_str(), name.as_str()), ("NetworkChaos", "p"), "{input:?}");
        }
        assert!(named(&[], "status").unwrap().is_none());
        for (input, says) in
            [(&["netchaos"][..], "squall pause netchaos NAME"), (&["pod", "p"], "\"pod\" is not")]
        {
            let message = named(&words(input), "pause").unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }
}
