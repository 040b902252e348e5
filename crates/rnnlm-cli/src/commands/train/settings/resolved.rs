//! The resolved settings: the value of every setting and its origin.

use std::fmt;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};
use toml::Value;

use super::names::{flag, is_file_setting, variable};
use crate::values::Seed;

/// The origin of a value.
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

/// A value from a file or a preset.
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
    /// Its heading in the help.
    pub(crate) heading: String,
    /// `None` if it is not set and has no default.
    pub(crate) value: Option<Value>,
    pub(crate) origin: Origin,
}

/// Every setting of a command, in the order of the help.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(Vec<Setting>);

impl Settings {
    /// The settings that clap matched, where `entries` are the defaults of `command` from a file or a preset.
    pub(crate) fn new(command: &Command, matches: &ArgMatches, entries: &[Entry]) -> Self {
        let settings = command.get_arguments().map(|arg| {
            let name = arg.get_id().as_str();
            let entry = entries.iter().rev().find(|entry| entry.name == name);
            let origin = match matches.value_source(name) {
                Some(ValueSource::CommandLine) => Origin::Flag(flag(name)),
                Some(ValueSource::EnvVariable) => Origin::Environment(variable(name)),
                _ => entry.map_or(Origin::Default, |entry| entry.origin.clone()),
            };
            let heading = arg.get_help_heading().unwrap_or_default().to_owned();
            // a list whose default is one value is written as one value if it has no more
            let is_list = matches!(arg.get_action(), ArgAction::Append);
            let has_one =
                !arg.get_default_values().is_empty() && matches.get_raw(name).is_some_and(|values| values.len() == 1);
            let value = value(matches, name, is_list && !has_one);
            Setting { name: name.to_owned(), heading, value, origin }
        });
        Self(settings.collect())
    }

    /// The origin of a setting's value.
    pub(crate) fn origin(&self, name: &str) -> &Origin {
        self.0.iter().find(|setting| setting.name == name).map_or(&Origin::Default, |setting| &setting.origin)
    }

    /// Whether the user set it. Default values contradict nothing.
    pub(crate) fn is_explicit(&self, name: &str) -> bool {
        *self.origin(name) != Origin::Default
    }

    /// The settings that a file can contain.
    pub(crate) fn file_settings(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter().filter(|setting| is_file_setting(&setting.name))
    }
}

/// The value of a setting with the type of its flag.
fn value(matches: &ArgMatches, name: &str, is_list: bool) -> Option<Value> {
    let number = |text: String| text.parse().ok().map(Value::Float);
    if let Ok(Some(value)) = matches.try_get_one::<bool>(name) {
        return Some(Value::Boolean(*value));
    }
    let integer = |value: u64| i64::try_from(value).map_or_else(|_| Value::String(value.to_string()), Value::Integer);
    if let Ok(Some(&value)) = matches.try_get_one::<usize>(name) {
        return Some(integer(value as u64));
    }
    if let Ok(Some(&value)) = matches.try_get_one::<u64>(name) {
        return Some(integer(value));
    }
    if let Ok(Some(seed)) = matches.try_get_one::<Seed>(name) {
        return Some(integer(seed.value));
    }
    if let Ok(Some(value)) = matches.try_get_one::<f32>(name) {
        // through the shortest decimal text, so that 0.1 does not become 0.10000000149011612
        return number(value.to_string());
    }
    if let Ok(Some(value)) = matches.try_get_one::<f64>(name) {
        return number(value.to_string());
    }
    let texts = matches.get_raw(name).into_iter().flatten();
    let mut texts = texts.map(|text| Value::String(text.to_string_lossy().into_owned()));
    if !is_list {
        return texts.next();
    }
    let texts: Vec<Value> = texts.collect();
    (!texts.is_empty()).then_some(Value::Array(texts))
}
