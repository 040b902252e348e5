//! `cargo xtask trust`, beside the walk: what `tests/PROMISES.md` lists, with what takes too long for every change: more
//! kills, and the book's 500 epochs killed five times.

use std::process::{Command, ExitCode};

/// Kills, five times as many as `cargo test` does.
const KILLS: &str = "1000";

pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if !arguments.is_empty() {
        return crate::usage_error("trust takes no arguments");
    }
    let tests: [&[&str]; 2] =
        [&["-p", "rnnlm-model", "--test", "trust", "--test", "fuzz"], &["-p", "rnnlm-cli", "--test", "trust"]];
    for test in tests {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.arg("test").args(test).args(["--", "--include-ignored", "--nocapture"]);
        let status = command.env("RNNLM_KILLS", KILLS).current_dir(crate::root()).status();
        if !status.is_ok_and(|status| status.success()) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
