//! `rnnlm`: trains, evaluates and samples recurrent language models. The only place of the project that prints, reads the
//! environment and decides on exit codes; the walk itself is in the crates below.

mod args;
mod chart;
mod checkpoint;
mod corpora;
mod corpus;
mod describe;
mod device;
mod devices;
mod eval;
mod failure;
mod format;
mod generate;
mod import;
mod memory;
mod options;
mod out;
mod progress;
mod resume;
mod signals;
mod space;
mod train;
mod validation;

use std::process::ExitCode;

use clap::CommandFactory;

use args::{Args, Command};
use failure::{Exit, Failure};
use options::Refusal;

fn main() -> ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    let (args, settings, warnings) = match options::parse(&line) {
        Ok(parsed) => parsed,
        Err(Refusal::Failure(failure)) => return report(&failure).into(),
        // help and version are not errors; clap prints each where it belongs
        Err(Refusal::Clap(error)) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            let _ = error.print();
            return code.into();
        }
    };
    for warning in warnings {
        progress::error_line(&warning);
    }
    let outcome = match args.command {
        None => {
            let _ = Args::command().print_help();
            Ok(Exit::Success)
        }
        Some(Command::Train(args)) => train::run(&args, &settings),
        Some(Command::Generate(args)) => generate::run(&args),
        Some(Command::Eval(args)) => eval::run(&args),
        Some(Command::Import(args)) => import::run(&args),
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
