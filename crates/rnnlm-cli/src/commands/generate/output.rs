//! Writing generated texts to standard output: as text, JSON or JSON lines.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rnnlm_model::{Continuation, DecodedToken};
use rnnlm_vocab::{Documents, Vocab};
use serde_json::{Map, Value, json};

use super::args::{Format, GenerateArgs};
use super::schedule::Key;
use crate::failure::{Failure, Result};
use crate::output;
use crate::prefix::{Prefix, PrefixText};
use crate::terminal::Output;

/// A prefix of the command line.
#[derive(Debug)]
pub(super) struct GivenPrefix {
    pub(super) text: PrefixText,
    pub(super) prefix: Prefix,
    /// Whether the prefix is part of the output as text; not the line end that only names the start of a line.
    pub(super) is_shown: bool,
}

impl GivenPrefix {
    /// The ids that are part of the output as text.
    pub(super) fn shown(&self) -> &[u32] {
        if self.is_shown { self.prefix.text() } else { &[] }
    }
}

/// A result of a beam search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    pub(super) score: f64,
    pub(super) log_probability: f64,
}

/// Writes complete texts.
#[derive(Debug)]
pub(super) struct TextWriter<'a> {
    args: &'a GenerateArgs,
    vocab: &'a Vocab,
    prefixes: &'a [GivenPrefix],
    /// Whether there is only one text.
    is_single: bool,
    num_written: usize,
    /// The objects of an array, which is written at the end.
    objects: Vec<Value>,
}

impl<'a> TextWriter<'a> {
    pub(super) fn new(
        args: &'a GenerateArgs,
        vocab: &'a Vocab,
        prefixes: &'a [GivenPrefix],
        texts_per_prefix: usize,
    ) -> Self {
        let is_single = prefixes.len() == 1 && texts_per_prefix == 1;
        Self { args, vocab, prefixes, is_single, num_written: 0, objects: Vec::new() }
    }

    /// Writes a text, or keeps it for the array.
    pub(super) fn write(&mut self, key: Key, text: &Continuation<'_>, score: Option<Score>) -> Result<()> {
        match self.args.format {
            Format::Text => self.write_text(key, text, score),
            Format::Jsonl => output::json(&self.object(key, text, score)),
            Format::Json => {
                self.objects.push(self.object(key, text, score));
                Ok(())
            }
        }
    }

    /// Writes what was kept.
    pub(super) fn finish(mut self) -> Result<()> {
        match (self.args.format, self.is_single) {
            (Format::Json, true) => self.objects.pop().map_or(Ok(()), |object| output::json(&object)),
            (Format::Json, false) => output::json(&Value::Array(self.objects)),
            _ => Ok(()),
        }
    }

    fn write_text(&mut self, (prefix, _): Key, text: &Continuation<'_>, score: Option<Score>) -> Result<()> {
        let shown = self.prefixes[prefix].shown();
        let mut bytes = match score {
            Some(score) if !self.is_single => {
                format!("{:.4}\t{:.4}\t", score.score, score.log_probability).into_bytes()
            }
            _ => Vec::new(),
        };
        // documents that blank lines separate are written as such a text
        if self.num_written > 0 && self.vocab.documents() == Documents::BlankLines {
            bytes.insert(0, b'\n');
        }
        bytes.extend(self.vocab.decode_bytes(shown)?);
        if !shown.is_empty() {
            bytes.extend_from_slice(text.leading_separator().as_bytes());
        }
        bytes.extend_from_slice(text.bytes());
        self.num_written += 1;
        let mut out = Output::stdout();
        out.write(&bytes).and_then(|()| out.finish()).map_err(Failure::StandardStream)
    }

    fn object(&self, (prefix, sample): Key, text: &Continuation<'_>, score: Option<Score>) -> Value {
        let Self { args, vocab, .. } = *self;
        let GivenPrefix { text: given, prefix: encoded, .. } = &self.prefixes[prefix];
        let mut whole = vocab.decode_bytes(encoded.text()).unwrap_or_default();
        if !whole.is_empty() {
            whole.extend_from_slice(text.leading_separator().as_bytes());
        }
        whole.extend_from_slice(text.bytes());
        let mut object = Map::new();
        let mut set = |name: &str, value: Value| object.insert(name.to_owned(), value);
        set("prefix", given.to_text().into());
        for (name, bytes) in [("text", &whole[..]), ("continuation", text.bytes())] {
            set(name, String::from_utf8_lossy(bytes).into());
            if std::str::from_utf8(bytes).is_err() {
                set(&format!("{name}_base64"), BASE64_STANDARD.encode(bytes).into());
            }
        }
        set("num_tokens", text.ids().len().into());
        set("finish_reason", text.finish().map(|finish| finish.as_str()).into());
        set("ids", text.ids().collect());
        set("tokens", text.ids().map(|id| vocab.token(id)).collect());
        set("log_probabilities", text.tokens().iter().map(|token| token.log_probability).collect());
        let total = || text.tokens().iter().chain(text.end()).filter_map(|token| token.log_probability).sum();
        set("log_probability", score.map_or_else(total, |score| score.log_probability).into());
        if args.logprobs.is_some() {
            set("alternatives", text.tokens().iter().map(|token| alternatives(vocab, token)).collect());
        }
        match (score, args.beam.beam) {
            (Some(score), Some(beam)) => {
                set("score", score.score.into());
                set("beam", beam.into());
                set("length_penalty", args.beam.length_penalty.into());
            }
            _ => {
                set("temperature", args.temperature.into());
                set("seed", args.seed.value.into());
                set("prefix_index", prefix.into());
                set("sample", sample.into());
            }
        }
        Value::Object(object)
    }
}

/// The most probable tokens at the position of a token.
fn alternatives(vocab: &Vocab, token: &DecodedToken) -> Value {
    let alternatives = token.alternatives.iter();
    alternatives
        .map(|&(id, log_probability)| json!({"id": id, "token": vocab.token(id), "log_probability": log_probability}))
        .collect()
}

/// Writes the only text as it is generated.
pub(super) struct TextStream {
    out: Output<std::io::Stdout>,
    has_prefix: bool,
    is_empty: bool,
}

impl TextStream {
    /// Writes the prefix.
    pub(super) fn new(vocab: &Vocab, prefix: &GivenPrefix) -> Result<Self> {
        let mut out = Output::stdout();
        out.write(&vocab.decode_bytes(prefix.shown())?).map_err(Failure::StandardStream)?;
        Ok(Self { out, has_prefix: !prefix.shown().is_empty(), is_empty: true })
    }

    /// Writes what is new and certain.
    pub(super) fn write(&mut self, text: &mut Continuation<'_>) -> Result<()> {
        let separator = text.leading_separator();
        let new = text.take_new();
        if new.is_empty() {
            return Ok(());
        }
        let separator = if self.is_empty && self.has_prefix { separator } else { "" };
        self.is_empty = false;
        self.out.write(&[separator.as_bytes(), new].concat()).map_err(Failure::StandardStream)
    }

    pub(super) fn finish(self) -> Result<()> {
        self.out.finish().map_err(Failure::StandardStream)
    }
}
