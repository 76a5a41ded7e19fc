# The menu: `just` shows it. Each line is one command, so that it can be typed without just.

_menu:
  @just --list --unsorted

# What a commit must pass: format, lints, unit tests; no network
quick:
  ./test --quick

# Everything that CI runs
test *parts:
  ./test {{parts}}

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
