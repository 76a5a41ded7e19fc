//! Builds the binary that is shipped: one static file, small enough for an image that holds nothing else.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::tools::{cargo, command, require_installed};

/// What `docs/performance.md` promises of the size, in bytes.
const GOAL: u64 = 15 * 1024 * 1024;

/// Builds `squall` for `target` with the profile `dist` and prints where it is and how large.
pub(crate) fn run(target: &str) -> anyhow::Result<()> {
    require_installed(target)?;
    // glibc's targets link dynamically unless told otherwise; musl's are static as they are.
    let mut build = command(&cargo());
    build.args(["build", "--profile", "dist", "--locked", "--package", "squall", "--target", target]);
    // The binary of the cluster image: the playground stays with those who build from a checkout.
    build.arg("--no-default-features");
    build.env("RUSTFLAGS", "-C target-feature=+crt-static");
    let status = build.status().context("cannot start cargo")?;
    ensure!(status.success(), "the build failed");

    let binary = target_folder().join(target).join("dist/squall");
    let bytes = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    if asks_for_an_interpreter(&bytes)? {
        bail!("{} is not static: it asks for a dynamic linker", binary.display());
    }
    report(&binary, bytes.len());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a chore's result is its output")]
fn report(binary: &Path, size: usize) {
    let verdict = if size as u64 <= GOAL { "within" } else { "over" };
    println!("{}: static, {size} bytes, {verdict} the goal of {GOAL}", binary.display());
}

fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
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
