//! `--print-config`: the resolved settings in the format that `--config` reads.

use toml::Value;

use super::args::TrainArgs;
use super::config;
use super::settings::Origin;
use crate::{corpora, default_prefix};

/// Every setting with its value and its origin, under the headings of the help.
pub(crate) fn print(args: &TrainArgs) -> String {
    let mut text = String::new();
    let mut heading = "";
    for setting in args.settings.file_settings() {
        if setting.heading != heading {
            heading = &setting.heading;
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}# {heading}\n"));
        }
        let name = &setting.name;
        let Some(value) = setting.value.clone().or_else(|| derived(args, name)) else {
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

/// The value of a setting whose default depends on other settings.
fn derived(args: &TrainArgs, name: &str) -> Option<Value> {
    let is_named = corpora::list().get(&args.corpus()).is_some();
    let train = config::train_config(args).ok()?;
    match name {
        "normalize" => Some(corpora::default_normalization(is_named).as_str().into()),
        "line_ends" => Some(corpora::default_line_ends(args.token).as_str().into()),
        "max_tokens" => Some(Value::Integer(corpora::default_max_tokens(is_named) as i64)),
        "prefix" => default_prefix::of_book(&args.corpus()).map(|prefixes| prefixes.to_vec().into()),
        name => config::value_in_use(&train, name),
    }
}
