//! Squall's chores: what CI and people run beside cargo.

fn main() {}
