//! From the command line, the environment, a file and a preset to one value for each setting. clap does the resolving: what
//! comes from a file or a preset becomes the default of its flag, held to the same rules as the flag.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::settings::{Entry, Settings, flag, is_of_a_file, is_of_the_environment};
use super::{TRAIN_EXAMPLES, environment, file, preset};
use crate::args::Args;
use crate::failure::Failure;

const TRAIN: &str = "train";
const PROGRAM: &str = "rnnlm";

/// A command line that cannot be followed, or that asks for help.
#[derive(Debug)]
pub(crate) enum Refusal {
    Clap(clap::Error),
    Failure(Failure),
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        Self::Clap(error)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What is to be done, the settings of a training with their origins, and warnings.
pub(crate) fn parse(line: &[OsString]) -> Result<(Args, Settings, Vec<String>), Refusal> {
    let plain = command();
    // help and version speak of the environment
    let helpful = plain.clone().mut_subcommand(TRAIN, environment::listening);
    let first = plain.clone().try_get_matches_from(line).map_err(|error| match error.use_stderr() {
        true => error,
        false => helpful.clone().try_get_matches_from(line).err().unwrap_or(error),
    })?;
    let Some(flags) = first.subcommand_matches(TRAIN) else {
        return Ok((Args::from_arg_matches(&first)?, Settings::default(), Vec::new()));
    };
    let names = |wanted: fn(&str) -> bool| -> Vec<String> {
        let train = plain.find_subcommand(TRAIN).expect("train is a command");
        let names = train.get_arguments().map(|arg| arg.get_id().as_str().to_owned());
        names.filter(|name| wanted(name)).collect()
    };
    let variables = names(is_of_the_environment);
    for (name, value) in environment::given(&variables) {
        check(&plain, &environment::variable(name), name, &[value])?;
    }
    let entries = below_the_environment(&plain, flags, &names(|name| is_of_a_file(name) || name == "preset"))?;
    let layered = helpful.mut_subcommand(TRAIN, |train| with_defaults(train, &entries));
    let matches = layered.try_get_matches_from(line)?;
    let args = Args::from_arg_matches(&matches)?;
    // clap puts an argument that has been given another default behind the others
    let train = plain.find_subcommand(TRAIN).expect("train is a command");
    let matches = matches.subcommand_matches(TRAIN).expect("it was one above");
    Ok((args, Settings::new(train, matches, &entries), environment::strangers(&variables)))
}

/// The commands. In `train`, which has layers, a flag that says yes can be made to say no: `--bidirectional=false`.
fn command() -> Command {
    let switch = |arg: clap::Arg| {
        let is_switch = matches!(arg.get_action(), clap::ArgAction::SetTrue);
        if !is_switch || !is_of_a_file(arg.get_id().as_str()) {
            return arg;
        }
        let arg = arg.action(clap::ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true");
        arg.default_value("false").value_name("true|false").hide_default_value(true).hide_possible_values(true)
    };
    Args::command().mut_subcommand(TRAIN, |train| {
        let help = format!("{}\n{TRAIN_EXAMPLES}", preset::help());
        train.mut_args(switch).after_help(help)
    })
}

/// What the file and the preset say, the preset first, each value checked by the rule of its flag.
fn below_the_environment(plain: &Command, flags: &ArgMatches, names: &[String]) -> Result<Vec<Entry>, Failure> {
    let above = |name: &str| {
        let flag = flags.get_raw(name).and_then(|mut values| values.next()).map(OsString::from);
        flag.or_else(|| std::env::var_os(environment::variable(name)))
    };
    let mut from_file = match above("config") {
        Some(path) => file::read(path.as_ref(), names)?,
        None => Vec::new(),
    };
    for entry in &from_file {
        check(plain, &entry.origin.to_string(), &entry.name, &entry.values)?;
    }
    let chosen = from_file.iter().position(|entry| entry.name == "preset").map(|place| from_file.remove(place));
    let chosen = above("preset").or_else(|| chosen?.values.pop().map(OsString::from));
    let preset = chosen.and_then(|name| preset::find(&name.to_string_lossy()).ok());
    // a preset's learning rate and its clipping are SGD's: another optimizer, another way of clipping go before them
    let is_given = |name: &str| {
        flags.value_source(name) == Some(ValueSource::CommandLine)
            || std::env::var_os(environment::variable(name)).is_some()
            || from_file.iter().any(|entry| entry.name == name)
    };
    let (own_optimizer, own_clipping) = (is_given("optimizer"), is_given("clip_value"));
    let replaced = |name: &str| (name == "lr" && own_optimizer) || (name == "clip" && own_clipping);
    let of_preset = preset.into_iter().flat_map(|preset| preset.entries()).filter(|entry| !replaced(&entry.name));
    Ok(of_preset.chain(from_file).collect())
}

/// An error, with the place, unless the flag would take these values.
fn check(plain: &Command, place: &str, name: &str, values: &[String]) -> Result<(), Failure> {
    let flags = values.iter().map(|value| format!("{}={value}", flag(name)));
    let line = [PROGRAM.to_owned(), TRAIN.to_owned()].into_iter().chain(flags);
    plain.clone().try_get_matches_from(line).map(|_| ()).map_err(|error| {
        // of clap's message what comes before the advice, on one line
        let message = error.to_string();
        let message = message.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        Failure::usage(format!("{place}: {message}"))
    })
}

/// The command with the values of these entries as its defaults; of two for one setting, the later.
fn with_defaults(train: Command, entries: &[Entry]) -> Command {
    entries
        .iter()
        .fold(train, |train, entry| train.mut_arg(&entry.name, |arg| arg.default_values(entry.values.clone())))
}
