//! `cargo xtask trust`: the tests for the guarantees about a run's files in `tests/GUARANTEES.md`, including those that take
//! too long for every change: more kills, and the book's 500 epochs, killed five times.

use std::process::ExitCode;

use crate::process::{cargo, exit_code, usage_error};

/// The number of kills, five times that of `cargo test`.
const KILLS: &str = "1000";

pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if !arguments.is_empty() {
        return usage_error("trust takes no arguments");
    }
    let tests: [&[&str]; 2] =
        [&["-p", "rnnlm-model", "--test", "trust", "--test", "fuzz"], &["-p", "rnnlm-cli", "--test", "trust"]];
    for test in tests {
        let mut command = cargo();
        command.arg("test").args(test).args(["--", "--include-ignored", "--nocapture"]).env("RNNLM_KILLS", KILLS);
        let code = exit_code(&mut command);
        if code != ExitCode::SUCCESS {
            return code;
        }
    }
    ExitCode::SUCCESS
}
