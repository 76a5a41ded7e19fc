//! The `squall` program: parse and dispatch.

fn main() {}
