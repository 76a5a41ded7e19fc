//! `squall completions` and the manual pages: both are made from the command line's own definition.

use std::path::PathBuf;

use clap::{Command, ValueEnum};

use super::Out;
use super::exit::{Exit, Failure, Result};

/// Print the completions of a shell
///
/// They are made from this very program: print them again after an update.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall completions bash > ~/.local/share/bash-completion/completions/squall
  squall completions zsh > ~/.zfunc/_squall
  squall completions fish > ~/.config/fish/completions/squall.fish")]
pub(crate) struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Shells that are completed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Args {
    pub(super) fn run(self, mut command: Command, out: &mut Out) -> Result<Exit> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, name, &mut script);
        out.bytes(&script)?;
        Ok(Exit::Success)
    }
}

/// Print the manual page, or write those of all verbs to a folder
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall man | man -l -
  squall man --output-dir ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Folder for squall.1 and one page per verb
    #[arg(long, value_name = "FOLDER")]
    output_dir: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, command: Command, out: &mut Out) -> Result<Exit> {
        if let Some(folder) = &self.output_dir {
            let failed = |error| {
                Failure::from(error).context(format!("cannot write manual pages to {}", folder.display()))
            };
            clap_mangen::generate_to(command, folder).map_err(failed)?;
            return Ok(Exit::Success);
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        out.bytes(&page)?;
        Ok(Exit::Success)
    }
}
