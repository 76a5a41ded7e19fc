//! The traffic client as a program of its own.

use clap::Parser;

fn main() -> anyhow::Result<()> {
    let args = traffic::Args::parse();
    service_support::program::run(|stop| traffic::run(args, stop))
}
