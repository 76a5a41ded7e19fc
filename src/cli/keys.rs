//! `squall keys`: every key and command of the console.

use super::Out;
use super::exit::{Exit, Failure, Result};
use crate::app::keymap::{Keymap, document};
use crate::console;
use crate::report::Table;

/// Show the keys and commands of the console
///
/// As they are in force: with your own of ~/.config/squall/config.yaml. The names in the third column are what that file
/// calls the actions.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall keys
  squall keys --markdown > docs/keys.md")]
pub(crate) struct Args {
    /// As the page docs/keys.md, without your own keys
    #[arg(long)]
    markdown: bool,
}

impl Args {
    pub(super) fn run(&self, out: &mut Out) -> Result<Exit> {
        if self.markdown {
            return document::markdown()
                .lines()
                .try_for_each(|line| out.line(line))
                .map(|()| Exit::Success)
                .map_err(Into::into);
        }
        let (settings, complaint) = console::settings();
        if let Some(trouble) = complaint {
            return Err(Failure::from(trouble));
        }
        let keymap = Keymap::with(&settings.keys).map_err(|error| Failure::bad_input(error.to_string()))?;
        for (number, (title, rows)) in document::rows(&keymap).into_iter().enumerate() {
            if number > 0 {
                out.line("")?;
            }
            out.line(title)?;
            for line in Table::default().lines(&rows) {
                out.line(&format!("  {line}"))?;
            }
        }
        Ok(Exit::Success)
    }
}
