//! `rnnlm`: trains, evaluates and samples recurrent language models. The only place of the project that prints, reads the
//! environment and decides on exit codes; the walk itself is in the crates below.

mod args;
mod chart;
mod corpora;
mod corpus;
mod devices;
mod eval;
mod failure;
mod format;
mod generate;
mod memory;
mod progress;
mod signals;
mod train;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};
use failure::{Exit, Failure};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        // help and version are not errors; clap prints each where it belongs
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            let _ = error.print();
            return code.into();
        }
    };
    let outcome = match args.command {
        None => {
            let _ = Args::command().print_help();
            Ok(Exit::Success)
        }
        Some(Command::Train(args)) => train::run(&args),
        Some(Command::Generate(args)) => generate::run(&args),
        Some(Command::Eval(args)) => eval::run(&args),
        Some(Command::Corpus(args)) => corpus::run(&args),
        Some(Command::Devices(args)) => devices::run(&args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => report(&failure).into(),
    }
}

/// Says what went wrong, why, and what may help.
fn report(failure: &Failure) -> Exit {
    // whoever reads standard output has had enough: no failure of ours
    if failure.is_closed_pipe() {
        return Exit::Success;
    }
    progress::error_line(&format!("error: {failure}"));
    let mut source = std::error::Error::source(failure);
    while let Some(error) = source {
        progress::error_line(&format!("  caused by: {error}"));
        source = error.source();
    }
    for hint in failure.hints() {
        progress::error_line(&format!("hint: {hint}"));
    }
    failure.exit()
}
