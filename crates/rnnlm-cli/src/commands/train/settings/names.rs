//! The names of settings: as a flag, as an environment variable and in a file.

/// Flags that are not settings: a file cannot contain them, and `--print-config` does not print them.
const NOT_SETTINGS: [&str; 8] = ["help", "version", "config", "preset", "print_config", "no_detach", "resume", "force"];

/// Flags that are not settings, but that an environment variable can set.
const ENVIRONMENT_ONLY: [&str; 2] = ["config", "preset"];

const VARIABLE_PREFIX: &str = "RNNLM_";

/// Whether a file can contain it.
pub(crate) fn is_file_setting(name: &str) -> bool {
    !NOT_SETTINGS.contains(&name)
}

/// Whether an environment variable can set it.
pub(crate) fn is_environment_setting(name: &str) -> bool {
    is_file_setting(name) || ENVIRONMENT_ONLY.contains(&name)
}

/// `--hidden-size` for `hidden_size`.
pub(crate) fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

/// `RNNLM_HIDDEN_SIZE` for `hidden_size`.
pub(crate) fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.to_uppercase())
}

/// Whether the name of an environment variable has the prefix of this program.
pub(crate) fn has_variable_prefix(name: &str) -> bool {
    name.starts_with(VARIABLE_PREFIX)
}

/// The known name that is most similar to `name`.
pub(crate) fn most_similar<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let name = name.replace('-', "_");
    // Jaro-Winkler weighs the first characters more: `hiden` is closer to `hidden_size` than to `token`
    let similarity = |known: &String| strsim::jaro_winkler(known, &name);
    known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b))).map(String::as_str)
}
