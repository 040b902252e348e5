//! Settings in the environment: one variable a flag, `RNNLM_HIDDEN_SIZE` for `--hidden-size`.

use std::env;

use clap::Command;

use super::file::nearest;
use super::settings::is_of_the_environment;

const PREFIX: &str = "RNNLM_";

/// Where texts are looked for; read in `corpora.rs`.
const DATA_DIR: &str = "RNNLM_DATA_DIR";

/// The variable of a setting.
pub(crate) fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase())
}

/// A command whose flags can be set by variables, which its help lists.
pub(crate) fn listening(command: Command) -> Command {
    command.mut_args(|arg| {
        let name = arg.get_id().as_str().to_owned();
        if is_of_the_environment(&name) { arg.env(variable(&name)).hide_env_values(true) } else { arg }
    })
}

/// The settings that variables give a value, with it.
pub(crate) fn given(names: &[String]) -> Vec<(&String, String)> {
    let value = |name: &str| env::var_os(variable(name)).map(|value| value.to_string_lossy().into_owned());
    names.iter().filter_map(|name| Some((name, value(name)?))).collect()
}

/// A warning for each variable that looks like ours and is none.
pub(crate) fn strangers(names: &[String]) -> Vec<String> {
    let known: Vec<String> = names.iter().map(|name| variable(name)).chain([DATA_DIR.to_owned()]).collect();
    let mut warnings: Vec<String> = env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .map(|name| {
            let nearest = nearest(&name, &known).unwrap_or_default();
            format!("warning: the variable {name} sets nothing; the nearest that does is {nearest}")
        })
        .collect();
    warnings.sort();
    warnings
}
