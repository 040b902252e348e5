//! Presets: the models of *Dive into Deep Learning* as named groups of settings.
//!
//! The settings are those of the second Chinese edition. The English edition has these topics in other
//! sections, with other sizes and learning rates.

use super::names::flag;
use super::resolved::{Entry, Origin};
use crate::values::one_of;

/// A named group of settings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Preset {
    name: &'static str,
    /// The section of the Chinese edition.
    section: &'static str,
    /// The section of the English edition.
    english_section: &'static str,
    /// A remark for the help.
    remark: &'static str,
    settings: &'static [(&'static str, &'static str)],
}

/// The settings of all presets.
const COMMON: [(&str, &str); 4] = [("epochs", "500"), ("batch_size", "32"), ("num_steps", "35"), ("clip", "1")];

const PRESETS: [Preset; 6] = [
    Preset {
        name: "rnn-scratch",
        section: "8.5",
        english_section: "9.5",
        remark: "from scratch",
        settings: &[("cell", "rnn"), ("hidden_size", "512"), ("init", "normal")],
    },
    Preset {
        name: "rnn",
        section: "8.6",
        english_section: "9.6",
        remark: "",
        settings: &[("cell", "rnn"), ("hidden_size", "256")],
    },
    Preset {
        name: "gru",
        section: "9.1",
        english_section: "10.2",
        remark: "",
        settings: &[("cell", "gru"), ("hidden_size", "256")],
    },
    Preset {
        name: "lstm",
        section: "9.2",
        english_section: "10.1",
        remark: "",
        settings: &[("cell", "lstm"), ("hidden_size", "256")],
    },
    Preset {
        name: "deep-lstm",
        section: "9.3",
        english_section: "10.3",
        remark: "",
        settings: &[("cell", "lstm"), ("hidden_size", "256"), ("num_layers", "2"), ("lr", "2")],
    },
    Preset {
        name: "bi-lstm",
        section: "9.4",
        english_section: "10.4",
        remark: "an example of misuse",
        settings: &[("cell", "lstm"), ("hidden_size", "256"), ("num_layers", "2"), ("bidirectional", "true")],
    },
];

impl Preset {
    /// The preset with this name.
    pub(crate) fn find(name: &str) -> Result<&'static Self, String> {
        let presets: Vec<(&str, &'static Self)> = PRESETS.iter().map(|preset| (preset.name, preset)).collect();
        one_of(name, &presets)
    }

    /// Its settings, the common ones first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        let entry = |&(name, value): &(&str, &str)| Entry {
            name: name.to_owned(),
            values: vec![value.to_owned()],
            origin: Origin::Preset(self.name),
        };
        COMMON.iter().chain(self.settings).map(entry)
    }

    /// The section of the help that lists the presets.
    pub(crate) fn help() -> String {
        let common = flags(&COMMON);
        let book = "\"Dive into Deep Learning\", second Chinese edition";
        let mut text = format!("Presets: models of the book {book}.\nEach one also sets {common}.\n");
        for preset in &PRESETS {
            let remark = if preset.remark.is_empty() { String::new() } else { format!(", {}", preset.remark) };
            text.push_str(&format!(
                "  {:<11}  {}\n{:15}(section {}{remark}; English edition: {})\n",
                preset.name,
                flags(preset.settings),
                "",
                preset.section,
                preset.english_section
            ));
        }
        text
    }
}

/// Settings as flags on a command line.
fn flags(settings: &[(&str, &str)]) -> String {
    let with_value = |&(name, value): &(&str, &str)| match value {
        "true" => flag(name),
        value => format!("{} {value}", flag(name)),
    };
    settings.iter().map(with_value).collect::<Vec<_>>().join(" ")
}
