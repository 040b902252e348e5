//! `rnnlm train`: trains a new run or resumes one. Everything that can be checked is checked before a folder is
//! created.

mod adaptive_args;
mod arg_values;
mod args;
mod checkpoint;
mod config;
mod conflicts;
mod given_vocab;
mod init_from;
mod new_run;
mod options;
mod print_config;
mod resume;
mod run_text;
mod session;
mod settings;
mod split;

use std::ffi::OsString;

use clap::{Args, Command, FromArgMatches};

use crate::failure::{Exit, Failure, Result};
use crate::ranks::Ranks;
use crate::{output, progress};

pub(crate) use self::args::TrainArgs;
pub(crate) use self::run_text::training_text;
pub(crate) use self::settings::{ParseError, parse};
pub(crate) use self::split::Split;

/// The arguments of `rnnlm train` with these flags, for a command that trains.
pub(crate) fn parse_flags(flags: &[String]) -> Result<TrainArgs, ParseError> {
    let program = Command::new("rnnlm").subcommand(TrainArgs::augment_args(Command::new("train")));
    let line: Vec<OsString> =
        ["rnnlm", "train"].into_iter().chain(flags.iter().map(String::as_str)).map(Into::into).collect();
    let parsed = parse(program, &line)?;
    let matches = parsed.matches.subcommand_matches("train").unwrap_or(&parsed.matches);
    Ok(TrainArgs { settings: parsed.settings, ..TrainArgs::from_arg_matches(matches)? })
}

pub(crate) fn run(args: &TrainArgs) -> Result<Exit> {
    if args.print_config {
        output::text(&print_config::print(args))?;
        return Ok(Exit::Success);
    }
    if args.no_detach {
        let message = format!(
            "--no-detach is not supported: gradients would flow through every step since the start of the epoch, and \
             each minibatch would take more memory and time than the one before. Gradients are truncated after {} \
             steps, and only the values of the state are carried over",
            args.num_steps
        );
        let hint = "raise --num-steps to let gradients flow further; --reset-state also drops the values of the state";
        return Err(Failure::usage(message).with_hint(hint));
    }
    if args.quiet {
        progress::set_quiet();
    }
    let ranks = Ranks::start(&args.ranks)?;
    if args.is_part_of_sweep && ranks.size() > 1 {
        return Err(Failure::usage(format!("a sweep runs in one process, not in {}", ranks.size())));
    }
    ranks.run(|| {
        let args = &of_rank(args, &ranks)?;
        match &args.resume {
            Some(run) => resume::run(args, run, &ranks),
            None => new_run::run(args, &ranks),
        }
    })
}

/// The arguments of this rank: threads, device and number of shards have defaults that depend on the ranks.
fn of_rank(args: &TrainArgs, ranks: &Ranks) -> Result<TrainArgs> {
    let mut args = args.clone();
    if ranks.size() > 1 {
        if args.corpora.iter().any(|corpus| corpus == "-") {
            let message = format!("--corpus - cannot be used with {} processes", ranks.size());
            return Err(Failure::usage(message).with_hint("standard input reaches one of them; name a file"));
        }
        args.quiet |= !ranks.is_first();
        ranks.set_defaults(&mut args.compute);
        if args.resume.is_none() {
            args.shards = args.shards.or(Some(ranks.size().next_power_of_two()));
        }
    }
    Ok(args)
}
