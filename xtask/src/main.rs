//! Squall's chores: what people run beside cargo. `cargo xtask` lists them.
//!
//! A chore is here when it needs more than one command, and somebody runs it.

mod cluster;
mod crds;
mod dist;
mod image;
mod pictures;
mod tools;
mod torture;

use anyhow::bail;

const USAGE: &str = "\
Usage: cargo xtask CHORE

  cluster up [--nodes N] [--vm M] [--images FOLDER] [--fake-nodes N] [--fake-pods M] [--name NAME]
  cluster down [--name NAME]
                 a Kubernetes control plane on this machine, with nodes in namespaces and in virtual
                 machines if wanted, or with objects that only seem to be nodes and pods; `up` prints
                 where kubectl finds it, and builds its programs the first time (minutes)
  crds           write the CRDs of the types to deploy/crds
  deploy         write what squall install applies to deploy
  dist [TARGET]  build the static binary that is shipped, check that it is static, print its size
                 (TARGET: x86_64-unknown-linux-musl unless given)
  image [squall|movies|traffic|database]... [--out FILE] [--profile PROFILE] [--target TARGET]
                 build these images without Docker, squall's unless said otherwise, and print where
                 their archives are; with the profile dev, sooner
  pictures       make the README's pictures anew, of a real playground (docs/pictures)
  torture [--rounds N] [--seed S] [--vm]
                 kill -9 of daemon, guardian and shaper at random moments: 200 rounds, or 20 in the
                 virtual machine, unless said otherwise";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["cluster", orders @ ..] => cluster::run(orders),
        ["crds"] => crds::run("crds"),
        ["deploy"] => crds::run("deploy"),
        ["dist"] => dist::run("x86_64-unknown-linux-musl"),
        ["dist", target] => dist::run(target),
        ["image", options @ ..] => image::run(options),
        ["pictures"] => pictures::run(),
        ["torture", options @ ..] => torture::run(options),
        _ => bail!("no such chore\n\n{USAGE}"),
    }
}
