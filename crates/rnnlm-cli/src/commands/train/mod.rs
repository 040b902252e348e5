//! `rnnlm train`: trains a new run or resumes one. Everything that can be checked is checked before a folder is
//! created.

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
mod session;
mod settings;
mod split;
mod text;

use crate::failure::{Exit, Failure, Result};
use crate::ranks::Ranks;
use crate::{output, progress};

pub(crate) use self::args::TrainArgs;
pub(crate) use self::settings::{ParseError, parse};

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
