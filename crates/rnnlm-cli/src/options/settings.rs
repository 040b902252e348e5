//! The settings as they were resolved: every name with its value and where that comes from.

use std::fmt;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};
use toml::Value;

use super::environment;

/// Flags that say what is to be done now: no file holds them, and `--print-config` does not print them.
const NOT_SETTINGS: [&str; 8] = ["help", "version", "config", "preset", "print_config", "no_detach", "resume", "force"];

/// Of these, what a file or a variable may still choose.
const CHOICES: [&str; 2] = ["config", "preset"];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    Preset(&'static str),
    File { path: PathBuf, line: usize },
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Preset(name) => write!(f, "--preset {name}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A setting that has been given a value below the command line and the environment.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
    pub(crate) origin: Origin,
}

/// One setting, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) name: String,
    /// What the help puts it under.
    pub(crate) heading: String,
    /// Nothing, where it has no value unless it is given one.
    pub(crate) value: Option<Value>,
    pub(crate) origin: Origin,
}

/// Every setting of a command, in the order of its help.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(Vec<Setting>);

impl Settings {
    /// From what clap has matched, where `entries` were the defaults of `command`.
    pub(crate) fn new(command: &Command, matches: &ArgMatches, entries: &[Entry]) -> Self {
        let settings = command.get_arguments().map(|arg| {
            let name = arg.get_id().as_str();
            let entry = entries.iter().rev().find(|entry| entry.name == name);
            let origin = match matches.value_source(name) {
                Some(ValueSource::CommandLine) => Origin::Flag(flag(name)),
                Some(ValueSource::EnvVariable) => Origin::Environment(environment::variable(name)),
                _ => entry.map_or(Origin::Default, |entry| entry.origin.clone()),
            };
            let heading = arg.get_help_heading().unwrap_or_default().to_owned();
            let value = value(matches, name, matches!(arg.get_action(), ArgAction::Append));
            Setting { name: name.to_owned(), heading, value, origin }
        });
        Self(settings.collect())
    }

    /// Where the value of a setting comes from.
    pub(crate) fn origin(&self, name: &str) -> &Origin {
        self.0.iter().find(|setting| setting.name == name).map_or(&Origin::Default, |setting| &setting.origin)
    }

    /// Whether somebody asked for it; otherwise it is a default, and contradicts nothing.
    pub(crate) fn has(&self, name: &str) -> bool {
        *self.origin(name) != Origin::Default
    }

    /// All that `--print-config` prints and a file may hold.
    pub(crate) fn of_a_file(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter().filter(|setting| is_of_a_file(&setting.name))
    }
}

/// Whether `--print-config` prints it.
pub(crate) fn is_of_a_file(name: &str) -> bool {
    !NOT_SETTINGS.contains(&name)
}

/// Whether a variable of the environment can set it.
pub(crate) fn is_of_the_environment(name: &str) -> bool {
    is_of_a_file(name) || CHOICES.contains(&name)
}

/// `--hidden-size` for `hidden_size`.
pub(crate) fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

/// A value with the type that its flag reads it as.
fn value(matches: &ArgMatches, name: &str, several: bool) -> Option<Value> {
    let number = |text: String| text.parse().ok().map(Value::Float);
    if let Ok(Some(value)) = matches.try_get_one::<bool>(name) {
        return Some(Value::Boolean(*value));
    }
    let whole = |value: u64| i64::try_from(value).map_or_else(|_| Value::String(value.to_string()), Value::Integer);
    if let Ok(Some(&value)) = matches.try_get_one::<usize>(name) {
        return Some(whole(value as u64));
    }
    if let Ok(Some(&value)) = matches.try_get_one::<u64>(name) {
        return Some(whole(value));
    }
    if let Ok(Some(value)) = matches.try_get_one::<f32>(name) {
        // by way of its shortest text: 0.1 is not to become 0.10000000149011612
        return number(value.to_string());
    }
    if let Ok(Some(value)) = matches.try_get_one::<f64>(name) {
        return number(value.to_string());
    }
    let texts = matches.get_raw(name).into_iter().flatten();
    let mut texts = texts.map(|text| Value::String(text.to_string_lossy().into_owned()));
    if several { Some(Value::Array(texts.collect())) } else { texts.next() }
}
