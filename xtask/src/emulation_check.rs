//! `cargo xtask emulation`: tests the emulated CUDA driver and compiler.

use std::process::ExitCode;

use crate::emulation::{BuildError, Emulation};
use crate::process::usage_error;
use crate::synchronizations;

/// Builds the emulated libraries, runs their self-test, and counts synchronizations of training runs.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if let Some(argument) = arguments.first() {
        return usage_error(&format!("`emulation` takes no arguments, found `{argument}`"));
    }
    let check =
        |emulation: Emulation| Ok(emulation.self_test()? && synchronizations::check(&emulation, &emulation.folder)?);
    match Emulation::build().and_then(check) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(BuildError::Unavailable(reason)) => {
            println!("SKIPPED: {reason}");
            ExitCode::SUCCESS
        }
        Err(BuildError::Failed(reason)) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}
