# The menu: `just` shows it. Each line is one command, so that it can be typed without just.

_menu:
  @just --list --unsorted

# What a commit must pass: format, lints, unit tests; no network
quick:
  ./test --quick

# Everything that CI runs
test *parts:
  ./test {{parts}}

# One integration test in a virtual machine with Debian's kernel, such as `just vm sys_network`
vm name *options:
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUNNER="$PWD/.ci/vm-run" cargo test --no-default-features \
    --target x86_64-unknown-linux-musl --test {{name}} -- {{options}}

# Three nodes, an application and its traffic in this terminal; Ctrl-C ends them
playground *options:
  cargo run --release -- playground --headless {{options}}

# The API documentation, private items too, in a browser
doc:
  cargo doc --workspace --no-deps --document-private-items --open

# Put the sources into their one format
fmt:
  cargo fmt --all

# The static binary that is shipped, and its size
dist *target:
  cargo xtask dist {{target}}
