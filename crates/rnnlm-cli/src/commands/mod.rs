//! The commands of the program, one module each.
//!
//! A module defines the arguments of its command, whose doc comment is the command's help, and a function `run`. A new
//! command is a new module, a variant of [`Command`] and its line in [`run`].

mod corpus;
mod devices;
mod eval;
mod generate;
mod import;
mod next;
mod plot;
mod score;
#[cfg(feature = "serve")]
mod serve;
mod sweep;
mod train;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::{Exit, Result};

pub(crate) use self::train::ParseError;

const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    error: file, text, memory, device, standard input or output; or a document beyond `score --fail-above`
  2    invalid command line or setting
  3    training diverged; the last good model is kept
  4    a run or model file is damaged, incompatible or from a newer version
  130  interrupted by Ctrl-C or SIGTERM, after saving if there is something to save

Results go to standard output, progress and errors to standard error. NO_COLOR disables colors.";

/// Trains, evaluates and samples recurrent language models.
///
/// Start with `rnnlm train`. It needs no download and takes about half a minute.
#[derive(Debug, Parser)]
#[command(name = "rnnlm", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<train::TrainArgs>),
    Sweep(Box<sweep::SweepArgs>),
    Generate(Box<generate::GenerateArgs>),
    Eval(eval::EvalArgs),
    #[cfg(feature = "serve")]
    Serve(serve::ServeArgs),
    Score(Box<score::ScoreArgs>),
    Next(next::NextArgs),
    Plot(plot::PlotArgs),
    Import(import::ImportArgs),
    Corpus(corpus::CorpusArgs),
    Devices(devices::DevicesArgs),
}

/// Parses a command line. The settings of `train` also come from the environment, a file and a preset. Returns
/// warnings, too.
pub(crate) fn parse(line: &[OsString]) -> Result<(Cli, Vec<String>), ParseError> {
    let parsed = train::parse(Cli::command(), line)?;
    let mut cli = Cli::from_arg_matches(&parsed.matches)?;
    match &mut cli.command {
        Some(Command::Train(args)) => args.settings = parsed.settings,
        // the command is the first argument
        Some(Command::Sweep(args)) => args.line = line.iter().skip(2).cloned().collect(),
        _ => {}
    }
    Ok((cli, parsed.warnings))
}

/// Runs a command; without one, prints the help.
pub(crate) fn run(cli: &Cli) -> Result<Exit> {
    match &cli.command {
        None => {
            let _ = Cli::command().print_help();
            Ok(Exit::Success)
        }
        Some(Command::Train(args)) => train::run(args),
        Some(Command::Sweep(args)) => sweep::run(args),
        Some(Command::Generate(args)) => generate::run(args),
        Some(Command::Eval(args)) => eval::run(args),
        Some(Command::Score(args)) => score::run(args),
        Some(Command::Next(args)) => next::run(args),
        #[cfg(feature = "serve")]
        Some(Command::Serve(args)) => serve::run(args),
        Some(Command::Plot(args)) => plot::run(args),
        Some(Command::Import(args)) => import::run(args),
        Some(Command::Corpus(args)) => corpus::run(args),
        Some(Command::Devices(args)) => devices::run(args),
    }
}
