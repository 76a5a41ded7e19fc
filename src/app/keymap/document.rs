//! The tables of keys and commands as a document: for `squall keys` and for docs/keys.md.

use super::{Effect, Keymap, Scope};
use crate::app::commands::COMMANDS;
use crate::app::key::written;

/// One line of the document.
struct Row {
    keys: Vec<String>,
    help: &'static str,
    action: String,
    effect: Effect,
}

/// The sections, each with its heading.
fn sections(keymap: &Keymap) -> Vec<(&'static str, Vec<Row>)> {
    let of = |scope: Scope| {
        let rows = keymap.rows().filter(|(binding, _)| binding.scope == scope);
        rows.map(|(binding, keys)| Row {
            keys: keys.iter().map(|keys| written(keys)).collect(),
            help: binding.help,
            action: binding.action.name(),
            effect: binding.effect,
        })
        .collect()
    };
    Scope::ALL.into_iter().map(|scope| (scope.title(), of(scope))).collect()
}

/// A word for what an action does to the cluster.
const fn mark(effect: Effect) -> &'static str {
    match effect {
        Effect::Reads => "",
        Effect::Writes => "changes",
        Effect::Dangerous => "asks first",
    }
}

/// For a terminal: rows of keys, what they do, the name of the action, and whether it asks first.
pub fn rows(keymap: &Keymap) -> Vec<(&'static str, Vec<Vec<String>>)> {
    let mut all: Vec<_> = sections(keymap)
        .into_iter()
        .map(|(title, rows)| {
            let row = |row: Row| {
                vec![row.keys.join(", "), row.help.to_owned(), row.action, mark(row.effect).to_owned()]
            };
            (title, rows.into_iter().map(row).collect())
        })
        .collect();
    let commands = COMMANDS.iter().map(|command| {
        let names: Vec<_> =
            std::iter::once(&command.name).chain(command.aliases).map(|name| format!(":{name}")).collect();
        let effect = if command.writes { "changes" } else { "" };
        vec![
            format!("{} {}", names.join(", "), command.arguments),
            command.help.to_owned(),
            String::new(),
            effect.to_owned(),
        ]
    });
    all.push(("Commands", commands.collect()));
    all
}

/// docs/keys.md.
pub fn markdown() -> String {
    let mut text = vec![
        "# Keys and commands of the console".to_owned(),
        String::new(),
        "Written by `squall keys --markdown` from the tables that the console itself goes by; a test keeps them the same."
            .to_owned(),
        "Keys in a row, such as `g g`, are pressed one after the other. What *asks first* shows whom it concerns and how".to_owned(),
        "many they are before it does anything; that and what *changes* the cluster is absent with `--read-only`.".to_owned(),
        String::new(),
        "Other keys for an action, in `~/.config/squall/config.yaml`:".to_owned(),
        String::new(),
        "```yaml".to_owned(),
        "keys:".to_owned(),
        "  halt: [ctrl-x ctrl-x]      # in the place of !".to_owned(),
        "  down: [j, down, ctrl-n]    # all keys of an action are named".to_owned(),
        "```".to_owned(),
    ];
    for (title, rows) in rows(&Keymap::default()) {
        let is_commands = title == "Commands";
        text.extend([String::new(), format!("## {title}"), String::new()]);
        text.push(
            if is_commands { "| command | what it does | |" } else { "| key | what it does | action | |" }
                .to_owned(),
        );
        text.push(if is_commands { "|---|---|---|" } else { "|---|---|---|---|" }.to_owned());
        for row in rows {
            let [keys, help, action, mark] = row.as_slice() else { continue };
            let escaped = |text: &str| text.replace('|', "\\|");
            let keys: Vec<_> = keys.split(", ").map(|key| format!("`{}`", key.trim())).collect();
            let keys = escaped(&keys.join(" "));
            let help = escaped(help);
            text.push(if is_commands {
                format!("| {keys} | {help} | {mark} |")
            } else {
                format!("| {keys} | {help} | `{action}` | {mark} |")
            });
        }
    }
    text.push(String::new());
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_tables_say() {
        let page = include_str!("../../../docs/keys.md");
        assert_eq!(page, markdown(), "write it anew: squall keys --markdown > docs/keys.md");
    }

    #[test]
    fn every_binding_and_command_is_in_it() {
        let count: usize = rows(&Keymap::default()).iter().map(|(_, rows)| rows.len()).sum();
        assert_eq!(count, super::super::BINDINGS.len() + COMMANDS.len());
    }
}
