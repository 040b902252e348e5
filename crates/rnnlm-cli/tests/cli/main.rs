//! The command as its users meet it: every promise of `--help`, every refusal with its words and exit code.

mod bad_input;
mod devices;
mod import;
mod runs;
mod settings;
mod signals;
mod support;
mod validation;
