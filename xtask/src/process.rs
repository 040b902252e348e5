//! Helpers for all commands: the workspace's folder, cargo as a child process, and the report of a wrong command line.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Exit code of a program that could not be started or was ended by a signal.
pub(crate) const NOT_RUN: u8 = 1;

/// The root folder of the workspace, which is the parent of this package's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in a folder of the workspace")
}

/// The cargo that runs this program, to be started in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

/// Runs `command` and returns its exit code.
pub(crate) fn exit_code(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_RUN)),
        Err(error) => {
            eprintln!("error: {:?} cannot be started: {error}", command.get_program());
            ExitCode::from(NOT_RUN)
        }
    }
}

/// Reports a wrong command line. Exit code 2, as for the commands of `rnnlm`.
pub(crate) fn usage_error(message: &str) -> ExitCode {
    eprintln!("error: {message}\n\n`cargo xtask help` lists the commands");
    ExitCode::from(2)
}
