//! `cargo xtask bench`, beside the walk: how fast training and decoding are on this machine, alone or beside PyTorch. This
//! file builds the program that measures, and the command `rnnlm` for it, as they are released, and starts it.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Exit code of a command that could not be started at all.
const NOT_STARTED: u8 = 1;

/// Runs the measurements with the given arguments and hands on their exit code.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--quiet", "--release", "--package", "rnnlm-cli"];
    let build = command(&cargo).args(build).status();
    match build {
        Ok(status) if status.success() => {}
        Ok(_) => return ExitCode::FAILURE,
        Err(error) => return not_started(&error),
    }
    let bench = ["run", "--quiet", "--release", "--package", "rnnlm-tests", "--bin", "bench", "--"];
    match command(&cargo).args(bench).args(arguments).status() {
        // a program ended by a signal has no code
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_STARTED)),
        Err(error) => not_started(&error),
    }
}

/// Cargo in the workspace's root.
fn command(cargo: &OsString) -> Command {
    let mut command = Command::new(cargo);
    command.current_dir(crate::root());
    command
}

fn not_started(error: &std::io::Error) -> ExitCode {
    eprintln!("error: cargo cannot be started: {error}");
    ExitCode::from(NOT_STARTED)
}
