//! The command as its users meet it: every promise of `--help`, every refusal with its words and exit code.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bad_input;
mod runs;
mod signals;
mod support;
