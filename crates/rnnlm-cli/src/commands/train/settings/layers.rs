//! Resolves the settings of `rnnlm train` from command line, environment, file and preset.
//!
//! clap does the work. A value from a file or a preset becomes the default of its flag, and follows the rules of the
//! flag.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::names::{flag, is_environment_setting, is_file_setting, variable};
use super::preset::Preset;
use super::resolved::{Entry, Settings};
use super::{environment, file};
use crate::failure::Failure;

const TRAIN: &str = "train";
const PROGRAM: &str = "rnnlm";

/// An invalid command line, or a request for help.
#[derive(Debug)]
pub(crate) enum ParseError {
    Clap(clap::Error),
    Failure(Failure),
}

impl From<clap::Error> for ParseError {
    fn from(error: clap::Error) -> Self {
        Self::Clap(error)
    }
}

impl From<Failure> for ParseError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// A parsed command line.
pub(crate) struct Parsed {
    pub(crate) matches: ArgMatches,
    /// The settings of `train`; empty for other commands.
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<String>,
}

/// Parses a command line of the program that clap knows as `program`.
pub(crate) fn parse(program: Command, line: &[OsString]) -> Result<Parsed, ParseError> {
    let plain = program.mut_subcommand(TRAIN, |train| train.mut_args(with_optional_value));
    // the help lists the variables
    let with_variables = plain.clone().mut_subcommand(TRAIN, environment::with_variables);
    let first = plain.clone().try_get_matches_from(line).map_err(|error| match error.use_stderr() {
        true => error,
        false => with_variables.clone().try_get_matches_from(line).err().unwrap_or(error),
    })?;
    let Some(flags) = first.subcommand_matches(TRAIN) else {
        return Ok(Parsed { matches: first, settings: Settings::default(), warnings: Vec::new() });
    };
    let train = plain.find_subcommand(TRAIN).expect("train is a command");
    let names = |is_wanted: fn(&str) -> bool| -> Vec<String> {
        let names = train.get_arguments().map(|arg| arg.get_id().as_str().to_owned());
        names.filter(|name| is_wanted(name)).collect()
    };
    let environment_names = names(is_environment_setting);
    for (name, value) in environment::read(&environment_names) {
        check(&plain, &variable(name), name, &[value])?;
    }
    let file_names = names(|name| is_file_setting(name) || name == "preset");
    let entries = file_and_preset_entries(&plain, flags, &file_names)?;
    let with_entries = with_variables.mut_subcommand(TRAIN, |train| with_defaults(train, &entries));
    let matches = with_entries.try_get_matches_from(line)?;
    // `plain` has the arguments in the order of the help; clap moves an argument to the end when its default changes
    let settings = Settings::new(train, matches.subcommand_matches(TRAIN).expect("checked above"), &entries);
    Ok(Parsed { matches, settings, warnings: environment::unknown_variables(&environment_names) })
}

/// Lets a switch take a value, `--bidirectional=false`, so that a flag can override a file or a preset.
fn with_optional_value(arg: clap::Arg) -> clap::Arg {
    let is_switch = matches!(arg.get_action(), clap::ArgAction::SetTrue);
    if !is_switch || !is_file_setting(arg.get_id().as_str()) {
        return arg;
    }
    let arg = arg.action(clap::ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true");
    arg.default_value("false").value_name("true|false").hide_default_value(true).hide_possible_values(true)
}

/// The entries of the preset, then those of the file, each checked by the rules of its flag.
fn file_and_preset_entries(plain: &Command, flags: &ArgMatches, names: &[String]) -> Result<Vec<Entry>, Failure> {
    let flag_or_variable = |name: &str| {
        let value = flags.get_raw(name).and_then(|mut values| values.next()).map(OsString::from);
        value.or_else(|| std::env::var_os(variable(name)))
    };
    let mut from_file = match flag_or_variable("config") {
        Some(path) => file::read(path.as_ref(), names)?,
        None => Vec::new(),
    };
    for entry in &from_file {
        check(plain, &entry.origin.to_string(), &entry.name, &entry.values)?;
    }
    let preset_entry = from_file.iter().position(|entry| entry.name == "preset").map(|index| from_file.remove(index));
    let preset_name = flag_or_variable("preset").or_else(|| preset_entry?.values.pop().map(OsString::from));
    let preset = preset_name.and_then(|name| Preset::find(&name.to_string_lossy()).ok());
    let is_set = |name: &str| {
        flags.value_source(name) == Some(ValueSource::CommandLine)
            || std::env::var_os(variable(name)).is_some()
            || from_file.iter().any(|entry| entry.name == name)
    };
    let from_preset: Vec<Entry> = preset.into_iter().flat_map(|preset| preset.entries(is_set)).collect();
    Ok(from_preset.into_iter().chain(from_file).collect())
}

/// An error with the origin if the flag does not accept these values.
fn check(plain: &Command, origin: &str, name: &str, values: &[String]) -> Result<(), Failure> {
    let flags = values.iter().map(|value| format!("{}={value}", flag(name)));
    let line = [PROGRAM.to_owned(), TRAIN.to_owned()].into_iter().chain(flags);
    plain.clone().try_get_matches_from(line).map(|_| ()).map_err(|error| {
        // clap's message without its advice, on one line
        let message = error.to_string();
        let message = message.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        Failure::usage(format!("{origin}: {message}"))
    })
}

/// The command with the values of the entries as defaults. Of two entries for one setting, the last one counts.
fn with_defaults(train: Command, entries: &[Entry]) -> Command {
    entries
        .iter()
        .fold(train, |train, entry| train.mut_arg(&entry.name, |arg| arg.default_values(entry.values.clone())))
}
