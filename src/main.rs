//! The `squall` program: parse and dispatch.

use std::ffi::OsString;
use std::process::ExitCode;

use squall::playground;

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().and_then(|verb| verb.into_string().ok()).as_deref() {
        Some("builtin") => Ok(playground::builtin(arguments)),
        Some("playground") => {
            let words: Vec<OsString> = arguments.collect();
            let mut options = playground::Options::default();
            if let Some(name) =
                words.iter().position(|word| word == "--name").and_then(|at| words.get(at + 1))
            {
                options.name = name.to_string_lossy().into_owned();
            }
            Ok(playground::run(options)?)
        }
        _ => anyhow::bail!("usage: squall playground [--name NAME]"),
    }
}
