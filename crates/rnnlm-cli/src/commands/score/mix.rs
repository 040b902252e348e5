//! `--mix`: interpolation with the probabilities that another model gives to the same tokens.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use rnnlm_model::Error;
use serde_json::Value;

use super::document::{EncodedDocument, Scores};
use super::unit::Base;
use crate::failure::{Failure, Result};

/// Rounding of a log-probability of 0 may give a probability this far above 1.
const ROUNDING: f64 = 1e-5;

/// Reads the probabilities of another model and mixes them with ours: p = λ·ours + (1 − λ)·other.
pub(super) struct Mixture {
    path: PathBuf,
    lines: std::io::Lines<BufReader<File>>,
    lambda: f64,
    format: Option<Format>,
    /// Number of lines read.
    line: u64,
    /// A probability that is read and belongs to a later document.
    next: Option<Entry>,
    /// Number of tokens mixed.
    tokens: u64,
}

/// The form of the file.
#[derive(Clone, Debug, PartialEq)]
enum Format {
    /// One probability in each line.
    Plain,
    /// `--tokens --format tsv`: the columns with the index of the document and the log-probability.
    Tsv { index: usize, log_probability: usize, base: Base },
    /// `--tokens --format jsonl`.
    Jsonl,
}

/// The probability of a token.
#[derive(Clone, Copy, Debug)]
struct Entry {
    probability: f64,
    /// The document, if the file names it.
    document: Option<u64>,
    line: u64,
}

/// A file that does not have one probability for each token.
#[derive(Debug, PartialEq)]
enum Mismatch {
    /// The file has another number of tokens for a document.
    Tokens { document: u64, ours: usize, found: usize, line: u64 },
    /// The file ends before the tokens do.
    TooFew { document: u64, found: u64 },
    /// The tokens end before the file does.
    TooMany { ours: u64, line: u64 },
    /// A line has no probability.
    Line { line: u64, reason: String },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens { document, ours, found, line } => write!(
                f,
                "document {document} has {ours} scored tokens, the file has {found} for it, up to line {line}"
            ),
            Self::TooFew { document, found } => {
                write!(f, "document {document} needs more than the {found} probabilities of the file")
            }
            Self::TooMany { ours, line } => {
                write!(
                    f,
                    "the documents have {ours} scored tokens, line {line} of the file is the probability of another"
                )
            }
            Self::Line { line, reason } => write!(f, "line {line}: {reason}"),
        }
    }
}

impl Mixture {
    pub(super) fn open(path: &Path, lambda: f64) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), action: "read", source })?;
        let lines = BufReader::new(file).lines();
        Ok(Self { path: path.to_owned(), lines, lambda, format: None, line: 0, next: None, tokens: 0 })
    }

    /// Mixes the scores of the next document.
    pub(super) fn apply(&mut self, document: &EncodedDocument, scores: &mut Scores) -> Result<()> {
        let mut found = 0;
        let (ours, index) = (document.ids.len(), document.index);
        let mixed = scores.try_change(&document.ids, |log_probability| {
            let entry = self.entry()?.ok_or(Mismatch::TooFew { document: index, found: self.tokens })?;
            if entry.document.is_some_and(|other| other != index) {
                let line = entry.line - 1;
                return Err(Mismatch::Tokens { document: index, ours, found, line });
            }
            found += 1;
            self.tokens += 1;
            let own = libm::exp(f64::from(log_probability));
            Ok(libm::log(self.lambda * own + (1.0 - self.lambda) * entry.probability) as f32)
        });
        mixed.map_err(|mismatch| self.failure(&mismatch))?;
        // a file that names documents must not have more tokens for this one
        self.next = self.entry().map_err(|mismatch| self.failure(&mismatch))?;
        if let Some(entry) = self.next.filter(|entry| entry.document == Some(index)) {
            let more = Mismatch::Tokens { document: index, ours, found: found + 1, line: entry.line };
            return Err(self.failure(&more));
        }
        Ok(())
    }

    /// After the last document: requires the end of the file.
    pub(super) fn finish(mut self) -> Result<()> {
        match self.entry() {
            Ok(None) => Ok(()),
            Ok(Some(entry)) => Err(self.failure(&Mismatch::TooMany { ours: self.tokens, line: entry.line })),
            Err(mismatch) => Err(self.failure(&mismatch)),
        }
    }

    fn failure(&self, mismatch: &Mismatch) -> Failure {
        let hint =
            "FILE has the tokens of `rnnlm score --tokens`, or one probability in each line, for the same documents";
        Failure::failed(format!("`{}` does not fit: {mismatch}", self.path.display())).with_hint(hint)
    }

    /// The next probability; `None` at the end of the file.
    fn entry(&mut self) -> Result<Option<Entry>, Mismatch> {
        if let Some(entry) = self.next.take() {
            return Ok(Some(entry));
        }
        loop {
            let Some(read) = self.lines.next() else { return Ok(None) };
            self.line += 1;
            let line = self.line;
            let to_mismatch = |reason: String| Mismatch::Line { line, reason };
            let text = read.map_err(|error| to_mismatch(error.to_string()))?;
            if text.starts_with('#') {
                continue;
            }
            let Some(format) = &self.format else {
                let (format, is_header) = Format::of(&text);
                self.format = Some(format);
                if is_header {
                    continue;
                }
                return self.parse(&text).map(Some).map_err(to_mismatch);
            };
            return parse(format, &text, line).map(Some).map_err(to_mismatch);
        }
    }

    fn parse(&self, text: &str) -> Result<Entry, String> {
        parse(self.format.as_ref().unwrap_or(&Format::Plain), text, self.line)
    }
}

impl Format {
    /// The form of a file with this first line that is not a comment, and whether the line is a header.
    fn of(line: &str) -> (Self, bool) {
        if line.starts_with('{') {
            return (Self::Jsonl, false);
        }
        let mut columns = line.split('\t').enumerate();
        let index = columns.clone().find(|(_, name)| *name == "index").map(|(column, _)| column);
        let score = columns.find_map(|(column, name)| Some((column, Base::of_column(name)?)));
        match (index, score) {
            (Some(index), Some((log_probability, base))) => (Self::Tsv { index, log_probability, base }, true),
            _ => (Self::Plain, false),
        }
    }
}

fn parse(format: &Format, text: &str, line: u64) -> Result<Entry, String> {
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| format!("`{}` is not a number", text.trim()));
    let (probability, document) = match *format {
        Format::Plain => (number(text)?, None),
        Format::Tsv { index, log_probability, base } => {
            let fields: Vec<&str> = text.split('\t').collect();
            let field = |column: usize| fields.get(column).copied().ok_or(format!("it has {} columns", fields.len()));
            let document = field(index)?;
            let document = document.parse().map_err(|_| format!("`{document}` is not the index of a document"))?;
            (libm::exp(base.to_nats(number(field(log_probability)?)?)), Some(document))
        }
        Format::Jsonl => {
            let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
            let nats = match &value["logprob"] {
                // JSON has no number for the logarithm of 0
                Value::Null if value.get("logprob").is_some() => f64::NEG_INFINITY,
                found => found.as_f64().ok_or("it has no `logprob`")?,
            };
            (libm::exp(nats), Some(value["index"].as_u64().ok_or("it has no `index`")?))
        }
    };
    if !(0.0..=1.0 + ROUNDING).contains(&probability) {
        return Err(format!("{probability} is not a probability"));
    }
    Ok(Entry { probability: probability.min(1.0), document, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_read_in_every_form() {
        let read = |first: &str, line: &str| {
            let (format, _) = Format::of(first);
            parse(&format, line, 7).map(|entry| (entry.probability, entry.document))
        };
        assert_eq!(read("0.25", "0.25"), Ok((0.25, None)));
        let columns = "index\ttoken_index\ttoken\tlogprob_2";
        assert_eq!(read(columns, "3\t0\ta\t-2"), Ok((0.25, Some(3))));
        assert_eq!(read("{}", r#"{"index": 3, "logprob": 0.0}"#), Ok((1.0, Some(3))));
        assert_eq!(read("{}", r#"{"index": 3, "logprob": null}"#), Ok((0.0, Some(3))));
        assert_eq!(read("0.25", "-1"), Err("-1 is not a probability".to_owned()));
        assert_eq!(read("0.25", "nan"), Err("NaN is not a probability".to_owned()));
        assert_eq!(read("0.25", "x"), Err("`x` is not a number".to_owned()));
        assert_eq!(read(columns, "3"), Err("it has 1 columns".to_owned()));
        assert_eq!(read("{}", r#"{"index": 3}"#), Err("it has no `logprob`".to_owned()));
    }
}
