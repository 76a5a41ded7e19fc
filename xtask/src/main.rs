//! Squall's chores: what people run beside cargo. `cargo xtask` lists them.
//!
//! A chore is here when it needs more than one command, and somebody runs it.

mod dist;

use anyhow::bail;

const USAGE: &str = "\
Usage: cargo xtask CHORE

  dist [TARGET]  build the static binary that is shipped, check that it is static, print its size
                 (TARGET: x86_64-unknown-linux-musl unless given)";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["dist"] => dist::run("x86_64-unknown-linux-musl"),
        ["dist", target] => dist::run(target),
        _ => bail!("no such chore\n\n{USAGE}"),
    }
}
