//! `rnnlm sweep`: trains a grid of settings, each in a run of its own, and prints a table of the results.
//!
//! ```text
//! runs/sweep-1/sweep.json                      the flags, so that the sweep can be resumed
//! runs/sweep-1/lr=0.001,hidden-size=256/       a run
//! ```

mod grid;
mod table;

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use rnnlm_model::Run;
use serde::{Deserialize, Serialize};

use self::grid::{Combination, Vary, combinations};
use self::table::{RunResult, Status, Table};
use super::train::{self, ParseError, TrainArgs};
use crate::args::Format;
use crate::failure::{Exit, Failure, Result};
use crate::progress::error_line;
use crate::{output, signals};

const ABOUT: &str = "Train a grid of settings, and print a table of the results";

const LONG_ABOUT: &str = "\
Train a grid of settings, and print a table of the results, the best first.

Every combination of the values of --vary is a run with its own folder in --out. All other flags are those of \
`rnnlm train`. A run that fails does not end the sweep.";

const EXAMPLES: &str = "\
Examples:
  rnnlm sweep --vary lr=0.001,0.003 --vary hidden-size=256,512 --epochs 3
  rnnlm sweep --preset shakespeare --corpus FILE --vary seed=0,1,2
  rnnlm sweep --resume runs/sweep-1        continue a sweep that was interrupted

Ctrl-C saves the current run and prints the table of the runs so far.";

/// The name of the file of a sweep.
const FILE: &str = "sweep.json";
/// The version of its format.
const FORMAT_VERSION: u32 = 1;
/// The most bytes of the file, far more than a command line has.
const MAX_FILE_BYTES: u64 = 1 << 22;
/// The most runs of a sweep; more is a typing error.
const MAX_RUNS: usize = 10_000;

/// The arguments of a sweep: `--vary`, and those of `rnnlm train`.
#[derive(Debug)]
pub(crate) struct SweepArgs {
    vary: Vec<Vary>,
    train: TrainArgs,
    /// The command line after the command.
    pub(super) line: Vec<OsString>,
}

impl FromArgMatches for SweepArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let vary = matches.get_many::<Vary>("vary").into_iter().flatten().cloned().collect();
        Ok(Self { vary, train: TrainArgs::from_arg_matches(matches)?, line: Vec::new() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for SweepArgs {
    fn augment_args(command: Command) -> Command {
        let vary = Arg::new("vary")
            .long("vary")
            .value_name("NAME=X,Y")
            .value_parser(|text: &str| text.parse::<Vary>())
            .action(ArgAction::Append)
            .required_unless_present("resume")
            .conflicts_with("resume")
            .display_order(0)
            .help(
                "A setting and its values, such as lr=0.001,0.003; may be repeated, and all combinations are trained",
            );
        TrainArgs::augment_args(command.arg(vary))
            .about(ABOUT)
            .long_about(LONG_ABOUT)
            .after_help(EXAMPLES)
            .mut_arg("out", |arg| arg.help("Folder of the sweep [default: runs/sweep-N with the first free N]"))
            .mut_arg("resume", |arg| arg.help("Continue the sweep in this folder, with its flags").long_help(None))
            .mut_arg("format", |arg| arg.help("Format of the table on standard output"))
            .mut_arg("print_config", |arg| arg.hide(true))
            .mut_arg("force", |arg| arg.hide(true))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The content of `sweep.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepFile {
    format: u32,
    /// The flags that all runs have.
    flags: Vec<String>,
    /// The settings that vary, as `--vary` names them.
    vary: Vec<String>,
}

/// A sweep in its folder.
struct Sweep {
    folder: PathBuf,
    flags: Vec<String>,
    vary: Vec<Vary>,
}

/// A run that is planned.
struct PlannedRun {
    combination: Combination,
    path: PathBuf,
    flags: Vec<String>,
}

pub(crate) fn run(args: &SweepArgs) -> Result<Exit> {
    if args.train.print_config || args.train.force {
        let flag = if args.train.force { "--force" } else { "--print-config" };
        return Err(Failure::usage(format!("a sweep has no {flag}")));
    }
    let sweep = match &args.train.resume {
        Some(folder) => Sweep::open(folder)?,
        None => Sweep {
            folder: folder_of(args.train.out.as_deref())?,
            flags: grid::without_own_flags(&args.line)?,
            vary: args.vary.clone(),
        },
    };
    let runs = sweep.plan()?;
    if args.train.resume.is_none() {
        sweep.write()?;
    }
    signals::install(false)?;
    let mut results = Vec::new();
    let total = runs.len();
    for (index, PlannedRun { combination, path, flags }) in runs.into_iter().enumerate() {
        let status = if signals::stop_requested() {
            Status::Incomplete
        } else {
            let settings: Vec<String> = combination.iter().map(|(name, value)| format!("{name} {value}")).collect();
            error_line(&format!("run {} of {total}: {}", index + 1, settings.join(", ")));
            train(&flags, &path, args.train.quiet)
        };
        results.push(RunResult::read(combination, path, status));
    }
    let table = Table::new(results);
    match args.train.format {
        Format::Json => output::json(&table.to_json(&sweep.folder))?,
        Format::Text => output::line(&format!("{}\nsweep {}", table.to_text(), sweep.folder.display()))?,
    }
    if signals::stop_requested() {
        error_line(&format!("interrupted; continue with `rnnlm sweep --resume {}`", sweep.folder.display()));
        return Ok(Exit::Interrupted);
    }
    Ok(if table.num_failed() > 0 { Exit::Failed } else { Exit::Success })
}

/// Trains one run, or the rest of it. Errors are printed and become the status.
fn train(flags: &[String], path: &Path, quiet: bool) -> Status {
    let outcome = train::parse_flags(flags).map_err(into_failure).and_then(|mut args| {
        args.is_part_of_sweep = true;
        args.quiet |= quiet;
        if path.symlink_metadata().is_ok() && !Run::is_unfinished(path) {
            args.resume = Some(path.to_owned());
        } else {
            args.out = Some(path.to_owned());
        }
        train::run(&args)
    });
    match outcome {
        Ok(Exit::Interrupted) => Status::Incomplete,
        Ok(_) => Status::Complete,
        Err(failure) => {
            failure.print();
            Status::Failed(failure.to_string())
        }
    }
}

/// The folder of a new sweep.
fn folder_of(out: Option<&Path>) -> Result<PathBuf> {
    match out {
        Some(path) if path.symlink_metadata().is_ok() => {
            let message = format!("`{}` exists already", path.display());
            let hint = format!("rnnlm sweep --resume {} continues a sweep; or choose another --out", path.display());
            Err(Failure::failed(message).with_hint(hint))
        }
        Some(path) => Ok(path.to_owned()),
        None => {
            let numbered = |number: u64| PathBuf::from(format!("runs/sweep-{number}"));
            let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
            Ok((1..).map(numbered).find(is_free).unwrap_or_else(|| numbered(0)))
        }
    }
}

impl Sweep {
    /// The runs, each of whose flags are valid on their own.
    fn plan(&self) -> Result<Vec<PlannedRun>> {
        let total: usize = self.vary.iter().map(|vary| vary.values.len()).fold(1, usize::saturating_mul);
        if total > MAX_RUNS {
            return Err(Failure::usage(format!("the grid has {total} runs, the maximum is {MAX_RUNS}")));
        }
        let mut runs: Vec<PlannedRun> = Vec::new();
        for combination in combinations(&self.vary) {
            let flags = grid::flags(&self.flags, &combination);
            train::parse_flags(&flags).map_err(into_failure)?;
            let path = self.folder.join(grid::folder_name(&combination));
            if runs.iter().any(|run| run.path == path) {
                return Err(Failure::usage(format!("two runs would have the folder `{}`", path.display())));
            }
            runs.push(PlannedRun { combination, path, flags });
        }
        Ok(runs)
    }

    /// Creates the folder with its `sweep.json`.
    fn write(&self) -> Result<()> {
        let vary = self.vary.iter().map(Vary::to_string).collect();
        let file = SweepFile { format: FORMAT_VERSION, flags: self.flags.clone(), vary };
        let text = serde_json::to_string_pretty(&file).map_err(|error| Failure::failed(error.to_string()))?;
        let path = self.folder.join(FILE);
        let temporary = self.folder.join(format!("{FILE}.tmp"));
        let written = fs::create_dir_all(&self.folder)
            .and_then(|()| fs::write(&temporary, text + "\n"))
            .and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|error| Failure::failed(format!("`{}` cannot be written: {error}", path.display())))
    }

    /// Reads the sweep in a folder.
    fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let mut text = String::new();
        let read = fs::File::open(&path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text));
        if let Err(error) = read {
            let message = format!("`{}` is not a sweep: `{FILE}` cannot be read: {error}", folder.display());
            return Err(Failure::bad_model(message));
        }
        let damaged = |reason: String| Failure::bad_model(format!("`{}` is damaged: {reason}", path.display()));
        let file: SweepFile = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if file.format != FORMAT_VERSION {
            let message =
                format!("`{}` has format {}, this program reads {FORMAT_VERSION}", path.display(), file.format);
            return Err(Failure::bad_model(message));
        }
        let vary = file.vary.iter().map(|text| text.parse()).collect::<Result<_, String>>().map_err(damaged)?;
        Ok(Self { folder: folder.to_owned(), flags: file.flags, vary })
    }
}

/// An error of a run's flags, without clap's advice, which is for `rnnlm train`.
fn into_failure(error: ParseError) -> Failure {
    match error {
        ParseError::Failure(failure) => failure,
        ParseError::Clap(error) => {
            let message = error.to_string();
            let message = message.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
            Failure::usage(message.lines().map(str::trim).collect::<Vec<_>>().join(" "))
        }
    }
}
