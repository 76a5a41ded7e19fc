//! The movies server as a program of its own.

use clap::Parser;

fn main() -> anyhow::Result<()> {
    let args = movies::Args::parse();
    service_support::program::run(|stop| movies::run(args, stop))
}
