//! The combinations of the values of `--vary`, and the command line of each run.

use std::ffi::OsString;
use std::str::FromStr;

use crate::failure::{Failure, Result};

/// A setting and its values, as `--vary` names them: `lr=0.001,0.003`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vary {
    /// The name of the flag without `--`.
    pub(super) name: String,
    pub(super) values: Vec<String>,
}

impl FromStr for Vary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected a setting and its values, such as lr=0.001,0.003";
        let (name, values) = text.split_once('=').ok_or(expected)?;
        let name = name.trim_start_matches("--").replace('_', "-");
        let values: Vec<String> = values.split(',').map(str::to_owned).collect();
        if name.is_empty() || values.iter().any(String::is_empty) {
            return Err(expected.to_owned());
        }
        match values.iter().enumerate().find(|(index, value)| values[..*index].contains(value)) {
            Some((_, value)) => Err(format!("`{value}` occurs twice")),
            None => Ok(Self { name, values }),
        }
    }
}

impl std::fmt::Display for Vary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.values.join(","))
    }
}

/// A value for each setting that varies.
pub(super) type Combination = Vec<(String, String)>;

/// Every combination; the last setting varies first.
pub(super) fn combinations(varied: &[Vary]) -> Vec<Combination> {
    varied.iter().fold(vec![Vec::new()], |combinations, Vary { name, values }| {
        let extended = |combination: &Combination| {
            let combination = combination.clone();
            values.iter().map(move |value| [&combination[..], &[(name.clone(), value.clone())]].concat())
        };
        combinations.iter().flat_map(extended).collect()
    })
}

/// The name of the folder of a run: `lr=0.001,hidden-size=256`. Characters that a folder should not have become `_`.
pub(super) fn folder_name(combination: &Combination) -> String {
    let parts: Vec<String> = combination.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "=,.+-_".contains(c);
    parts.join(",").chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

/// The flags of a run.
pub(super) fn flags(base: &[String], combination: &Combination) -> Vec<String> {
    let varied = combination.iter().map(|(name, value)| format!("--{name}={value}"));
    base.iter().cloned().chain(varied).collect()
}

/// The flags of a command line without those of the sweep, each of which takes a value.
///
/// # Errors
/// If a flag is not Unicode, which `sweep.json` cannot store.
pub(super) fn without_own_flags(line: &[OsString]) -> Result<Vec<String>> {
    const OWN: [&str; 4] = ["--vary", "--out", "--format", "--resume"];
    let mut kept = Vec::new();
    let mut flags = line.iter();
    while let Some(flag) = flags.next() {
        let text =
            flag.to_str().ok_or_else(|| Failure::usage(format!("`{}` is not Unicode text", flag.to_string_lossy())))?;
        let name = text.split('=').next().unwrap_or(text);
        match OWN.contains(&name) {
            true if text == name => drop(flags.next()),
            true => {}
            false => kept.push(text.to_owned()),
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vary(text: &str) -> Vary {
        text.parse().expect("a setting and its values")
    }

    #[test]
    fn a_grid_has_every_combination_in_order() {
        let found = combinations(&[vary("lr=1,2"), vary("--hidden_size=8,16")]);
        let names: Vec<String> = found.iter().map(folder_name).collect();
        let expected = ["lr=1,hidden-size=8", "lr=1,hidden-size=16", "lr=2,hidden-size=8", "lr=2,hidden-size=16"];
        assert_eq!(names, expected);
        assert_eq!(flags(&["--epochs".to_owned()], &found[1]), ["--epochs", "--lr=1", "--hidden-size=16"]);
        assert_eq!(folder_name(&combinations(&[vary("corpus=a/b c")])[0]), "corpus=a_b_c");
    }

    #[test]
    fn a_setting_without_values_or_with_equal_ones_is_refused() {
        for text in ["lr", "lr=", "=1", "lr=1,,2"] {
            assert!(text.parse::<Vary>().expect_err(text).contains("such as lr=0.001,0.003"));
        }
        assert_eq!("lr=1,2,1".parse::<Vary>().expect_err("twice"), "`1` occurs twice");
    }

    #[test]
    fn the_flags_of_a_sweep_are_not_those_of_a_run() {
        let line = ["--vary", "lr=1", "--epochs", "3", "--out=x", "--format", "json", "--quiet", "--vary=seed=1,2"];
        let line: Vec<OsString> = line.iter().map(Into::into).collect();
        assert_eq!(without_own_flags(&line).expect("Unicode"), ["--epochs", "3", "--quiet"]);
    }
}
