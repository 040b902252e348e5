//! Presets: named groups of settings. The first ones are the models of *Dive into Deep Learning*, the others are recipes.
//!
//! The settings of the book's models are those of the second Chinese edition. The English edition has these topics in
//! other sections, with other sizes and learning rates.

use super::names::flag;
use super::resolved::{Entry, Origin};
use crate::human;
use crate::values::one_of;

/// Settings and their values as text.
type Values = &'static [(&'static str, &'static str)];

/// A named group of settings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Preset {
    name: &'static str,
    /// Settings that it shares with others.
    common: Values,
    settings: Values,
    /// What it is, for the help.
    remark: &'static str,
}

/// The settings of the book's models.
const BOOK: Values = &[("epochs", "500"), ("batch_size", "32"), ("num_steps", "35"), ("clip", "1")];

/// The settings of the recipes for characters.
const CHARACTERS: Values = &[
    ("token", "char"),
    ("normalize", "none"),
    ("cell", "gru"),
    ("optimizer", "adamw"),
    ("lr", "0.003"),
    ("schedule", "cosine"),
    ("batch_size", "32"),
    ("num_steps", "64"),
    ("clip", "1"),
];

const BOOK_PRESETS: [Preset; 6] = [
    Preset {
        name: "rnn-scratch",
        common: BOOK,
        settings: &[("cell", "rnn"), ("hidden_size", "512"), ("init", "normal")],
        remark: "section 8.5, from scratch; English edition: 9.5",
    },
    Preset {
        name: "rnn",
        common: BOOK,
        settings: &[("cell", "rnn"), ("hidden_size", "256")],
        remark: "section 8.6; English edition: 9.6",
    },
    Preset {
        name: "gru",
        common: BOOK,
        settings: &[("cell", "gru"), ("hidden_size", "256")],
        remark: "section 9.1; English edition: 10.2",
    },
    Preset {
        name: "lstm",
        common: BOOK,
        settings: &[("cell", "lstm"), ("hidden_size", "256")],
        remark: "section 9.2; English edition: 10.1",
    },
    Preset {
        name: "deep-lstm",
        common: BOOK,
        settings: &[("cell", "lstm"), ("hidden_size", "256"), ("num_layers", "2"), ("lr", "2")],
        remark: "section 9.3; English edition: 10.3",
    },
    Preset {
        name: "bi-lstm",
        common: BOOK,
        settings: &[("cell", "lstm"), ("hidden_size", "256"), ("num_layers", "2"), ("bidirectional", "true")],
        remark: "section 9.4, an example of misuse; English edition: 10.4",
    },
];

const RECIPES: [Preset; 5] = [
    Preset {
        name: "shakespeare-fast",
        common: CHARACTERS,
        settings: &[("hidden_size", "256"), ("epochs", "8"), ("val_fraction", "0.1")],
        remark: "a megabyte of prose or verse, by characters; about a minute on two cores",
    },
    Preset {
        name: "shakespeare",
        common: CHARACTERS,
        settings: &[("hidden_size", "256"), ("epochs", "24"), ("val_fraction", "0.1")],
        remark: "the same text, about three minutes",
    },
    Preset {
        name: "names",
        common: CHARACTERS,
        settings: &[("documents", "lines"), ("hidden_size", "128"), ("epochs", "20"), ("val_fraction", "0.1")],
        remark: "short records, one a line, to generate more of them",
    },
    Preset {
        name: "logs",
        common: CHARACTERS,
        settings: &[("documents", "lines"), ("hidden_size", "256"), ("epochs", "5"), ("val_fraction", "0.05")],
        remark: "lines of a log, to score new lines with `rnnlm score`",
    },
    Preset {
        name: "words-small",
        common: &[],
        settings: &[
            ("token", "word"),
            ("normalize", "none"),
            ("max_vocab", "10000"),
            ("cell", "lstm"),
            ("num_layers", "2"),
            ("hidden_size", "200"),
            ("embedding_size", "200"),
            ("batch_size", "20"),
            ("num_steps", "20"),
            ("epochs", "13"),
            // for the mean loss of a minibatch; the sum over 20 steps has rate 1 and clips at 5
            ("lr", "20"),
            ("clip", "0.25"),
            ("schedule", "exponential"),
            ("gamma", "0.5"),
            ("decay_after", "4"),
            ("val_fraction", "0.1"),
        ],
        remark: "the small model of Zaremba et al. 2014; give the end of a sentence a word of its own",
    },
];

/// Flags whose values in a preset do not apply once another flag is set: an optimizer has its own learning rate, and a
/// schedule its own settings.
const REPLACED: [(&str, &[&str]); 4] = [
    ("optimizer", &["lr"]),
    ("clip_value", &["clip"]),
    ("schedule", &["gamma", "decay_after"]),
    ("val_corpus", &["val_fraction"]),
];

impl Preset {
    fn all() -> impl Iterator<Item = &'static Self> {
        const { &BOOK_PRESETS }.iter().chain(const { &RECIPES })
    }

    /// The preset with this name.
    pub(crate) fn find(name: &str) -> Result<&'static Self, String> {
        let presets: Vec<(&str, &'static Self)> = Self::all().map(|preset| (preset.name, preset)).collect();
        one_of(name, &presets)
    }

    /// Its settings, the common ones first, without those that another setting replaces.
    pub(crate) fn entries(&self, is_set: impl Fn(&str) -> bool) -> impl Iterator<Item = Entry> {
        let is_replaced = move |name: &str| REPLACED.iter().any(|(by, names)| names.contains(&name) && is_set(by));
        let entry = |&(name, value): &(&str, &str)| Entry {
            name: name.to_owned(),
            values: vec![value.to_owned()],
            origin: Origin::Preset(self.name),
        };
        self.common.iter().chain(self.settings).filter(move |(name, _)| !is_replaced(name)).map(entry)
    }

    /// The section of the help that lists the presets.
    pub(crate) fn help() -> String {
        let book = "\"Dive into Deep Learning\", second Chinese edition";
        let groups = [
            (format!("Presets: models of the book {book}. Each one also sets"), BOOK, &BOOK_PRESETS[..]),
            ("Presets: recipes. Those for characters also set".to_owned(), CHARACTERS, &RECIPES),
        ];
        let indent = NAME_WIDTH + 4;
        let mut text = String::new();
        for (title, common, presets) in groups {
            text.push_str(&human::wrapped("", &format!("{title} {}.", flags(common)), 0));
            for preset in presets {
                let start = format!("  {:<NAME_WIDTH$}  ", preset.name);
                text.push_str(&human::wrapped(&start, &flags(preset.settings), indent));
                text.push_str(&human::wrapped(&" ".repeat(indent), &format!("({})", preset.remark), indent));
            }
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text.replace(NO_BREAK, " ") + "\n"
    }
}

/// Columns of the longest name.
const NAME_WIDTH: usize = 16;
/// Between a flag and its value, which stay on one line.
const NO_BREAK: char = '\u{a0}';

/// Settings as flags on a command line.
fn flags(settings: &[(&str, &str)]) -> String {
    let with_value = |&(name, value): &(&str, &str)| match value {
        "true" => flag(name),
        value => format!("{}{NO_BREAK}{value}", flag(name)),
    };
    settings.iter().map(with_value).collect::<Vec<_>>().join(" ")
}
