//! Settings of the command line that contradict those of an existing run.

use std::path::Path;

use rnnlm_model::{Difference, differences};
use serde::Serialize;

use super::settings::Settings;
use crate::failure::{Failure, Result};

/// The settings that differ from the run's and that the user set: by a flag, a variable or a file, or because the value
/// is not the default.
pub(crate) fn find<T: Serialize>(of_run: &T, requested: &T, default: &T, settings: &Settings) -> Vec<Difference> {
    let mut changed = differences(default, requested);
    // its default depends on another setting
    changed.retain(|changed| changed.name != "line_ends");
    let is_explicit = |name: &str| name.split('.').any(|part| settings.is_explicit(setting_of_field(part)));
    let mut found = differences(of_run, requested);
    found.retain(|found| is_explicit(&found.name) || changed.iter().any(|changed| changed.name == found.name));
    found
}

/// The setting of a field of a configuration.
fn setting_of_field(field: &str) -> &str {
    match field {
        "kind" => "token",
        "normalization" => "normalize",
        "betas" => "beta1",
        "factor" => "plateau_factor",
        "decay" => "ema_decay",
        same => same,
    }
}

/// An error with the settings that differ from those of `run`, if there are any.
pub(crate) fn require_none(found: &[Difference], run: &Path, hint: &str) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let message = format!("the settings of `{}` differ: {}", run.display(), join(found));
    Err(Failure::bad_model(message).with_hint(hint))
}

pub(crate) fn join(found: &[Difference]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
