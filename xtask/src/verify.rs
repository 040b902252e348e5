//! `cargo xtask verify`: the table of checks of the package `rnnlm-tests`, which compares every backend and every path with
//! an oracle, with PyTorch's numbers and with the reference path. This file starts it, and first builds the libraries for
//! the rows of the emulated GPU.

use std::process::{Command, ExitCode};

use crate::emulation::{BuildError, Emulation};
use crate::process::{NOT_RUN, cargo, exit_code};

/// Runs the table with `arguments` and returns its exit code: 0 if every check that could run passed, 5 if one failed, 2
/// for unknown arguments.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    // A table without emulated rows needs no C++ compiler.
    let without = ["--help", "-h", "--self-test", "cpu", "--backend=cpu"];
    let needs_emulation = !arguments.iter().any(|argument| without.contains(&argument.as_str()));
    let emulation = needs_emulation.then(Emulation::build);
    let mut command = command(arguments);
    match emulation {
        None => {}
        Some(Ok(emulation)) => {
            command.envs(emulation.variables());
        }
        Some(Err(BuildError::Unavailable(reason))) => {
            command.env("RNNLM_EMULATION_MISSING", reason);
        }
        Some(Err(BuildError::Failed(message))) => {
            eprintln!("error: {message}");
            return ExitCode::from(NOT_RUN);
        }
    }
    exit_code(&mut command)
}

/// The table's program with these arguments.
pub(crate) fn command(arguments: &[String]) -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "rnnlm-tests", "--bin", "verify", "--"]).args(arguments);
    command
}
