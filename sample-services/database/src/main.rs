//! The stand-in for MongoDB as a program of its own.

use clap::Parser;

fn main() -> anyhow::Result<()> {
    let args = database::Args::parse();
    service_support::program::run(|stop| database::run(args, stop))
}
