//! The models of *Dive into Deep Learning* 8.5 to 9.4 as settings that belong together.

use super::settings::{Entry, Origin};

/// Settings that belong together, under one name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Preset {
    name: &'static str,
    /// The section of the book.
    section: &'static str,
    settings: &'static [(&'static str, &'static str)],
}

/// What every section of the book trains with.
const BOOK: [(&str, &str); 4] = [("epochs", "500"), ("batch_size", "32"), ("num_steps", "35"), ("clip", "1")];

const PRESETS: [Preset; 6] = [
    Preset {
        name: "rnn-scratch",
        section: "8.5, from scratch",
        settings: &[("cell", "rnn"), ("hidden_size", "512"), ("init", "normal")],
    },
    Preset { name: "rnn", section: "8.6", settings: &[("cell", "rnn"), ("hidden_size", "256")] },
    Preset { name: "gru", section: "9.1", settings: &[("cell", "gru"), ("hidden_size", "256")] },
    Preset { name: "lstm", section: "9.2", settings: &[("cell", "lstm"), ("hidden_size", "256")] },
    Preset {
        name: "deep-lstm",
        section: "9.3",
        settings: &[("cell", "lstm"), ("hidden_size", "256"), ("num_layers", "2"), ("lr", "2")],
    },
    Preset {
        name: "bi-lstm",
        section: "9.4, the wrong use, shown as such",
        settings: &[("cell", "lstm"), ("hidden_size", "256"), ("num_layers", "2"), ("bidirectional", "true")],
    },
];

/// The preset of this name.
pub(crate) fn find(name: &str) -> Result<&'static Preset, String> {
    PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| {
        let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
        format!("one of {} is needed", names.join(", "))
    })
}

impl Preset {
    /// Its settings, the book's common ones first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        let entry = |&(name, value): &(&str, &str)| Entry {
            name: name.to_owned(),
            values: vec![value.to_owned()],
            origin: Origin::Preset(self.name),
        };
        BOOK.iter().chain(self.settings).map(entry)
    }
}

/// All of them, spelled out, for the help.
pub(crate) fn help() -> String {
    let flags = |settings: &[(&str, &str)]| {
        let flag = |&(name, value): &(&str, &str)| match value {
            "true" => super::settings::flag(name),
            value => format!("{} {value}", super::settings::flag(name)),
        };
        settings.iter().map(flag).collect::<Vec<_>>().join(" ")
    };
    let line = |preset: &Preset| {
        format!("  {:<11}  {}\n{:15}(section {})\n", preset.name, flags(preset.settings), "", preset.section)
    };
    let lines: String = PRESETS.iter().map(line).collect();
    format!("Presets, each also with {}:\n{lines}", flags(&BOOK))
}
