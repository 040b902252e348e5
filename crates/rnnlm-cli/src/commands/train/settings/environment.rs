//! Settings in environment variables: `RNNLM_HIDDEN_SIZE` for `--hidden-size`.

use std::env;

use clap::Command;

use super::names::{has_variable_prefix, is_environment_setting, most_similar, variable};
use crate::corpora::DATA_DIR;

/// Lets clap read the variables of a command's flags and list them in the help.
pub(crate) fn with_variables(command: Command) -> Command {
    command.mut_args(|arg| {
        let name = arg.get_id().as_str().to_owned();
        if is_environment_setting(&name) { arg.env(variable(&name)).hide_env_values(true) } else { arg }
    })
}

/// The settings whose variables are set, with their values.
pub(crate) fn read(names: &[String]) -> Vec<(&String, String)> {
    let value = |name: &str| env::var_os(variable(name)).map(|value| value.to_string_lossy().into_owned());
    names.iter().filter_map(|name| Some((name, value(name)?))).collect()
}

/// A warning for each variable that has the prefix of this program and is not known.
pub(crate) fn unknown_variables(names: &[String]) -> Vec<String> {
    let known: Vec<String> = names.iter().map(|name| variable(name)).chain([DATA_DIR.to_owned()]).collect();
    let mut warnings: Vec<String> = env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| has_variable_prefix(name) && !known.contains(name))
        .map(|name| {
            let similar = most_similar(&name, &known).unwrap_or_default();
            format!("warning: unknown environment variable {name}; did you mean {similar}?")
        })
        .collect();
    warnings.sort();
    warnings
}
