//! Kills daemon, guardian and shaper for longer than CI does.

use std::env;

use anyhow::{Context, bail, ensure};

use crate::tools::{cargo, command, require_installed};

/// What runs in the virtual machine: it has no libraries of ours.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// Seconds that a round may take in the virtual machine, beside [`BOOT`].
const ROUND: u64 = 15;

/// Seconds for its boot and its end.
const BOOT: u64 = 300;

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    rounds: Option<u64>,
    seed: Option<u64>,
    vm: bool,
}

/// Runs the test `torture` with these options; its own output tells the seed and the times.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let Options { rounds, seed, vm } = parse(arguments)?;
    let mut test = command(&cargo());
    test.args(["test", "--package", "squall", "--locked", "--test", "torture"]);
    if vm {
        require_installed(STATIC)?;
        test.args(["--no-default-features", "--target", STATIC]);
        let runner = env::current_dir().context("no current folder")?.join(".ci/vm-run");
        test.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUNNER", runner);
        let rounds = rounds.unwrap_or(20);
        test.env("SQUALL_VM_SECONDS", rounds.saturating_mul(ROUND).saturating_add(BOOT).to_string());
        test.env("SQUALL_ROUNDS", rounds.to_string());
        test.env("SQUALL_SLOWER", "3");
    }
    for (name, value) in [("SQUALL_ROUNDS", rounds), ("SQUALL_SEED", seed)] {
        if let Some(value) = value {
            test.env(name, value.to_string());
        }
    }
    test.args(["--", "--nocapture"]);
    let status = test.status().context("cannot start cargo")?;
    ensure!(status.success(), "a bound was broken, see above: the seed repeats the draws, if not the times");
    Ok(())
}

fn parse(arguments: &[&str]) -> anyhow::Result<Options> {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let place = match *name {
            "--vm" => {
                options.vm = true;
                continue;
            }
            "--rounds" => &mut options.rounds,
            "--seed" => &mut options.seed,
            _ => bail!("torture does not know {name}"),
        };
        let text = rest.next().with_context(|| format!("{name} wants a number"))?;
        *place = Some(text.parse().with_context(|| format!("{name} {text}: a number is wanted"))?);
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = parse(&["--seed", "7", "--vm", "--rounds", "1000"]).unwrap();
        assert_eq!(options, Options { rounds: Some(1000), seed: Some(7), vm: true });
        assert_eq!(parse(&[]).unwrap(), Options::default());
        for wrong in [&["--rounds"][..], &["--rounds", "many"], &["--seed", "-1"], &["--fast"]] {
            parse(wrong).unwrap_err();
        }
    }
}
