//! `--print-config`: the resolved settings in the form that `--config` reads.

use toml::Value;

use super::TrainArgs;
use super::settings::{Origin, Settings};
use super::training::{resolved, train_config};
use crate::corpora;

/// Every setting under the heading that the help has for it, with where it comes from if somebody gave it.
pub(crate) fn print(args: &TrainArgs, settings: &Settings) -> String {
    let mut text = String::new();
    let mut heading = "";
    for setting in settings.of_a_file() {
        if setting.heading != heading {
            heading = &setting.heading;
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}# {heading}\n"));
        }
        let name = &setting.name;
        let Some(value) = setting.value.clone().or_else(|| follows(args, settings, name)) else {
            text.push_str(&format!("# {name} has no value\n"));
            continue;
        };
        let origin = match &setting.origin {
            Origin::Default => String::new(),
            origin => format!("  # {origin}"),
        };
        text.push_str(&format!("{name} = {value}{origin}\n"));
    }
    text
}

/// The value of a setting that follows from others where nobody gives it one.
fn follows(args: &TrainArgs, settings: &Settings, name: &str) -> Option<Value> {
    let on_record = corpora::list().get(&args.corpus).is_some();
    let train = train_config(args, settings).ok()?;
    match name {
        "normalize" => Some(corpora::default_normalization(on_record).as_str().into()),
        "max_tokens" => Some(Value::Integer(corpora::default_max_tokens(on_record) as i64)),
        name => resolved(&train, name),
    }
}
