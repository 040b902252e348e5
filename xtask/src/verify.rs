//! `cargo xtask verify`, beside the walk: the table of checks of the package `rnnlm-tests`, which holds every backend and
//! every path against an oracle, PyTorch's numbers and the reference. This file only starts it: what the table needs of
//! the workspace is compiled when somebody asks for it. For the rows of the emulated GPU it builds the stand-ins first.

use std::process::{Command, ExitCode};

use crate::emulation::{BuildError, Emulation};

/// Exit code of a command that could not be started at all.
const NOT_STARTED: u8 = 1;

/// Runs the table with the given arguments and hands on its exit code: 0 if all that could run passed, 5 if a check
/// failed, 2 for arguments that it does not know.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    // a table without these rows does not wait for a C++ compiler
    let without = ["--help", "-h", "--self-test", "cpu", "--backend=cpu"];
    let wants_emulation = !arguments.iter().any(|argument| without.contains(&argument.as_str()));
    let emulation = wants_emulation.then(Emulation::build);
    let mut command = command(arguments);
    match emulation {
        None => {}
        Some(Ok(emulation)) => {
            command.envs(emulation.variables());
        }
        Some(Err(BuildError::Unavailable(reason))) => {
            command.env("RNNLM_EMULATION_MISSING", reason);
        }
        Some(Err(BuildError::Failed(how))) => {
            eprintln!("error: {how}");
            return ExitCode::from(NOT_STARTED);
        }
    }
    match command.status() {
        // a program ended by a signal has no code
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_STARTED)),
        Err(error) => {
            eprintln!("error: cargo cannot be started: {error}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

/// The table's program with these arguments.
pub(crate) fn command(arguments: &[String]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let verify = ["run", "--quiet", "--package", "rnnlm-tests", "--bin", "verify", "--"];
    let mut command = Command::new(cargo);
    command.args(verify).args(arguments).current_dir(crate::root());
    command
}
