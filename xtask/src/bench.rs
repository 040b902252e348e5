//! `cargo xtask bench`: measures training and decoding speed on this machine, alone or against PyTorch. This file builds the
//! program `rnnlm` and the benchmark in release mode and starts the benchmark.

use std::process::ExitCode;

use crate::process::{cargo, exit_code};

/// Runs the benchmark with `arguments` and returns its exit code.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let build = exit_code(cargo().args(["build", "--quiet", "--release", "--package", "rnnlm-cli"]));
    if build != ExitCode::SUCCESS {
        return build;
    }
    let bench = ["run", "--quiet", "--release", "--package", "rnnlm-tests", "--bin", "bench", "--"];
    exit_code(cargo().args(bench).args(arguments))
}
