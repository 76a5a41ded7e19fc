//! The table of commands: what can be typed behind `:`. Completion, help and docs/keys.md read it.

use super::action::Action;

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// What a key does, too.
    Action(Action),
    /// Shows the objects of one namespace, or of all.
    Namespace,
    /// Talks to another context.
    Context,
    /// Launches the experiments of a file.
    Apply,
    /// Shows a dashboard.
    Dashboard,
    /// Says on which port pods serve their metrics.
    Port,
    /// Opens a file in the editor, or the editor.
    Edit,
    /// Saves what is in the editor.
    Write,
    /// Writes the recording.
    Dump,
    /// Another theme.
    Theme,
    /// Nodes, with the keys on their list.
    Nodes,
    /// Pods, with the keys on their list.
    Pods,
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What follows it, for the help.
    pub arguments: &'static str,
    /// What it does, in words.
    pub help: &'static str,
    /// Whether it changes the cluster, and is absent where nothing may be changed.
    pub writes: bool,
    /// What it does.
    pub run: Run,
}

const fn reads(
    name: &'static str,
    aliases: &'static [&'static str],
    arguments: &'static str,
    help: &'static str,
    run: Run,
) -> Command {
    Command { name, aliases, arguments, help, writes: false, run }
}

/// Every command, in the order of the help.
pub const COMMANDS: &[Command] = &[
    reads("pods", &["po", "pod"], "", "Nodes and pods, on the pods", Run::Pods),
    reads("nodes", &["no", "node"], "", "Nodes and pods, on the nodes", Run::Nodes),
    reads("experiments", &["exp", "chaos"], "", "All experiments", Run::Action(Action::Experiments)),
    reads("templates", &["tpl"], "", "Files to start from", Run::Action(Action::Templates)),
    reads(
        "dashboard",
        &["metrics"],
        "[NAME|FILE]",
        "What the application measures, as this dashboard shows it",
        Run::Dashboard,
    ),
    reads(
        "port",
        &[],
        "NUMBER",
        "The port on which the pods of the dashboard serve their metrics",
        Run::Port,
    ),
    reads("errors", &["history"], "", "What went wrong so far", Run::Action(Action::Errors)),
    reads("settings", &["set"], "", "Theme, colours, characters, mouse", Run::Action(Action::Settings)),
    reads("ns", &["namespace"], "[NAME|all]", "Show one namespace, or all", Run::Namespace),
    reads("ctx", &["context"], "[NAME]", "Talk to another context of the kubeconfig", Run::Context),
    reads("edit", &["open", "e"], "[FILE]", "Edit a file, or go to the editor", Run::Edit),
    reads("write", &["w", "save"], "[FILE]", "Save what is in the editor", Run::Write),
    Command {
        writes: true,
        ..reads("apply", &["launch"], "FILE", "Launch the experiments of a file, after asking", Run::Apply)
    },
    Command {
        writes: true,
        ..reads("halt", &["stop-all"], "", "Emergency stop, after asking", Run::Action(Action::Halt))
    },
    Command {
        writes: true,
        ..reads("release", &[], "", "Release the emergency stop", Run::Action(Action::Release))
    },
    reads("theme", &[], "[NAME]", "Another theme", Run::Theme),
    reads("mouse", &[], "", "Mouse on or off", Run::Action(Action::ToggleMouse)),
    reads("dump", &[], "", "Write the recording of this console to a file, for a report", Run::Dump),
    reads("help", &["h"], "", "Every key", Run::Action(Action::Help)),
    reads("quit", &["q", "exit"], "", "Leave the console", Run::Action(Action::Quit)),
];

/// The command of this name.
pub fn named(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name || command.aliases.contains(&name))
}

/// What the beginning of a line could be completed to: the rest of it, for the first of the candidates that fits.
pub fn completion<'a>(typed: &str, mut candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if typed.is_empty() {
        return None;
    }
    candidates.find_map(|candidate| candidate.strip_prefix(typed).filter(|rest| !rest.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_two_commands() {
        let mut names: Vec<_> = COMMANDS
            .iter()
            .flat_map(|command| command.aliases.iter().copied().chain([command.name]))
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_first_that_fits_completes() {
        let names = || COMMANDS.iter().map(|command| command.name);
        assert_eq!(completion("exp", names()), Some("eriments"));
        assert_eq!(completion("experiments", names()), None);
        assert_eq!(completion("", names()), None);
        assert_eq!(completion("zz", names()), None);
    }
}
