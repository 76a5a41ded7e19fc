//! Builds the binary that is shipped: one static file, small enough for an image that holds nothing else.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::tools::{cargo, command, require_installed, target_folder};

/// Of cargo, for what is shipped.
const PROFILE: &str = "dist";

/// What `docs/performance.md` promises of the size, in bytes.
const GOAL: u64 = 15 * 1024 * 1024;

/// Builds `squall` for `target` with the profile `dist` and prints where it is and how large.
pub(crate) fn run(target: &str) -> anyhow::Result<()> {
    build(target, PROFILE, &["squall"])?;
    let binary = target_folder().join(target).join(folder_of(PROFILE)).join("squall");
    let bytes = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    require_static(&binary, &bytes)?;
    report(&binary, bytes.len());
    Ok(())
}

/// Builds static programs of these packages with a profile of cargo.
pub(crate) fn build(target: &str, profile: &str, packages: &[&str]) -> anyhow::Result<()> {
    require_installed(target)?;
    let mut build = command(&cargo());
    build.args(["build", "--profile", profile, "--locked", "--target", target]);
    build.args(packages.iter().flat_map(|package| ["--package", package]));
    // The playground stays with those who build from a checkout.
    build.arg("--no-default-features");
    // musl's targets are static as they are, and a flag would have everything built anew; glibc's link dynamically unless told otherwise.
    if !target.ends_with("musl") {
        build.env("RUSTFLAGS", "-C target-feature=+crt-static");
    }
    let status = build.status().context("cannot start cargo")?;
    ensure!(status.success(), "the build failed");
    Ok(())
}

/// Where cargo puts what it builds with a profile, below the target's folder.
pub(crate) fn folder_of(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

/// Refuses a program that needs libraries of the system it runs on.
pub(crate) fn require_static(program: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    ensure!(
        !asks_for_an_interpreter(bytes)?,
        "{} is not static: it asks for a dynamic linker",
        program.display()
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a chore's result is its output")]
fn report(binary: &Path, size: usize) {
    let verdict = if size as u64 <= GOAL { "within" } else { "over" };
    println!("{}: static, {size} bytes, {verdict} the goal of {GOAL}", binary.display());
}

/// Whether the ELF file has a program header of type `PT_INTERP` (elf(5), little-endian ELF64).
fn asks_for_an_interpreter(elf: &[u8]) -> anyhow::Result<bool> {
    const PT_INTERP: u64 = 3;
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "not a little-endian ELF64 file");
    let table = number(elf, 32, 8)?;
    let entry_size = number(elf, 54, 2)?;
    let entries = number(elf, 56, 2)?;
    for index in 0..entries {
        if number(elf, table + index * entry_size, 4)? == PT_INTERP {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The little-endian number of `width` bytes at `offset`.
fn number(bytes: &[u8], offset: u64, width: usize) -> anyhow::Result<u64> {
    let start = usize::try_from(offset)?;
    let field = bytes.get(start..start + width).context("the ELF file ends early")?;
    Ok(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header with one program header of the type `kind`.
    fn elf(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = kind;
        bytes
    }

    #[test]
    fn an_interpreter_is_seen() {
        assert!(asks_for_an_interpreter(&elf(3)).unwrap());
        assert!(!asks_for_an_interpreter(&elf(1)).unwrap());
    }

    #[test]
    fn what_is_no_elf_file_is_an_error() {
        assert!(asks_for_an_interpreter(b"#!/bin/sh").is_err());
        assert!(asks_for_an_interpreter(&elf(3)[..60]).is_err(), "cut in its program header");
    }
}
