//! Tables: tab-separated values, and one JSON object for each row.

use serde::Serialize;
use serde_json::{Map, Value};

use super::super::document::{ScoredDocument, ScoredToken};
use super::super::format::{Format, Setting};
use super::super::sink::Sink;
use super::super::unit::{Base, NormalizeBy, Unit};
use crate::escapes::Escapes;
use crate::failure::{Failure, Result};

/// Digits of the model's digest in each JSON object.
const SHORT_DIGEST: usize = 12;

/// Tab-separated values after a comment with the settings and a line with the names of the columns.
pub(crate) struct Tsv<'a>(pub(crate) Setting<'a>);

/// JSON objects.
pub(crate) struct Jsonl<'a>(pub(crate) Setting<'a>);

/// The header of a table.
impl Setting<'_> {
    /// The comment of a table: `# model=… trained_on=lines context="\n" context_is=end-token end="\n"`.
    fn comment(&self) -> String {
        let token = |id: u32| format!("\"{}\"", Escapes(self.vocab.token(id).unwrap_or_default().as_bytes()));
        let trained_on = match self.vocab.documents() {
            rnnlm_vocab::Documents::None => "stream",
            documents => documents.as_str(),
        };
        let mut fields = vec![
            format!("model={}", self.model),
            format!("trained_on={trained_on}"),
            format!("context={}", token(self.frame.context)),
            format!("context_is={}", self.frame.kind.as_str()),
            format!("end={}", self.frame.end.map_or("none".to_owned(), token)),
        ];
        fields.extend(self.other.iter().cloned());
        format!("# {}", fields.join(" "))
    }

    fn columns(&self) -> Vec<String> {
        let names: &[&str] = match self.has_tokens {
            true => &["index", "token_index", "token", "byte_start", "byte_end", "char_start", "char_end"],
            false => &["index", "line", "tokens", "unknown"],
        };
        let rest: &[&str] = match (self.has_tokens, self.has_text) {
            (true, _) => &["surprisal_bits", "rank", "entropy_bits", "unknown"],
            (false, false) => &["bits_per_char", "bits_per_byte"],
            (false, true) => &["bits_per_char", "bits_per_byte", "text"],
        };
        let score = self.unit.column();
        names.iter().copied().chain([score.as_str()]).chain(rest.iter().copied()).map(str::to_owned).collect()
    }
}

impl Format for Tsv<'_> {
    fn start(&mut self, out: &mut Sink) -> Result<()> {
        out.add(format_args!("{}\n{}\n", self.0.comment(), self.0.columns().join("\t")))
    }

    fn document(&mut self, scored: &ScoredDocument, out: &mut Sink) -> Result<()> {
        let (document, nats) = (&scored.document, scored.scores.log_probability);
        let index = document.index;
        if self.0.has_tokens {
            let base = self.0.unit.base;
            return scored.for_each_token(self.0.vocab, &mut |token| {
                let row = TokenRow::new(index, &token);
                let [byte_start, byte_end] = token.bytes;
                let [char_start, char_end] = token.characters;
                out.add(format_args!(
                    "{index}\t{}\t{}\t{byte_start}\t{byte_end}\t{char_start}\t{char_end}\t{}\t{}\t{}\t{}\t{}\n",
                    token.index,
                    Escapes(token.text.as_bytes()),
                    base.convert(f64::from(token.log_probability)) as f32,
                    row.surprisal_bits,
                    row.rank,
                    row.entropy_bits,
                    u8::from(row.unknown)
                ))
            });
        }
        let counts = &document.counts;
        out.add(format_args!(
            "{index}\t{}\t{}\t{}\t{:.6}\t{:.6}\t{:.6}",
            document.raw.line,
            counts.tokens,
            document.unknown.count(),
            self.0.unit.convert(nats, counts),
            Unit::BITS_PER_CHAR.surprisal(nats, counts),
            Unit::BITS_PER_BYTE.surprisal(nats, counts)
        ))?;
        if self.0.has_text {
            out.add(format_args!("\t{}", Escapes(scored.text())))?;
        }
        out.add(format_args!("\n"))
    }
}

impl Format for Jsonl<'_> {
    fn document(&mut self, scored: &ScoredDocument, out: &mut Sink) -> Result<()> {
        let model = &self.0.model[..self.0.model.len().min(SHORT_DIGEST)];
        let (document, nats) = (&scored.document, scored.scores.log_probability);
        if self.0.has_tokens {
            return scored.for_each_token(self.0.vocab, &mut |token| {
                let mut row = TokenRow::new(document.index, &token);
                let converted = || Some(self.0.unit.base.convert(f64::from(token.log_probability)) as f32);
                match self.0.unit.base {
                    Base::E => {}
                    Base::Two => row.logprob_2 = converted(),
                    Base::Ten => row.logprob_10 = converted(),
                }
                row.model = model;
                // not through a `Value`, whose numbers have the digits of double precision
                let object = serde_json::to_string(&row).map_err(|error| Failure::failed(error.to_string()))?;
                out.add(format_args!("{object}\n"))
            });
        }
        let counts = &document.counts;
        let mut object = Map::new();
        let mut insert = |name: &str, value: Value| object.insert(name.to_owned(), value);
        insert("index", document.index.into());
        insert("line", document.raw.line.into());
        insert("tokens", counts.tokens.into());
        insert("unknown", document.unknown.count().into());
        insert("logprob", nats.into());
        if self.0.unit != (Unit { base: Base::E, normalize_by: NormalizeBy::None }) {
            insert(&self.0.unit.column(), self.0.unit.convert(nats, counts).into());
        }
        insert("bits_per_char", Unit::BITS_PER_CHAR.surprisal(nats, counts).into());
        insert("bits_per_byte", Unit::BITS_PER_BYTE.surprisal(nats, counts).into());
        if self.0.has_text {
            insert("text", String::from_utf8_lossy(scored.text()).into());
        }
        insert("context", self.0.vocab.token(self.0.frame.context).into());
        insert("model", model.into());
        out.add(format_args!("{}\n", Value::Object(object)))
    }
}

/// The row of a token.
#[derive(Debug, Serialize)]
struct TokenRow<'a> {
    index: u64,
    token_index: usize,
    token: &'a str,
    byte_start: usize,
    byte_end: usize,
    char_start: usize,
    char_end: usize,
    /// In nats.
    logprob: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprob_2: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprob_10: Option<f32>,
    surprisal_bits: f32,
    /// 1 for the most probable token.
    rank: u32,
    entropy_bits: f32,
    unknown: bool,
    model: &'a str,
}

impl<'a> TokenRow<'a> {
    fn new(index: u64, token: &ScoredToken<'a>) -> Self {
        let (rank, entropy) = token.details.map_or((0, f64::NAN), |details| (details.rank, details.entropy));
        Self {
            index,
            token_index: token.index,
            token: token.text,
            byte_start: token.bytes[0],
            byte_end: token.bytes[1],
            char_start: token.characters[0],
            char_end: token.characters[1],
            logprob: token.log_probability,
            logprob_2: None,
            logprob_10: None,
            surprisal_bits: Base::Two.convert(0.0 - f64::from(token.log_probability)) as f32,
            rank,
            entropy_bits: Base::Two.convert(entropy) as f32,
            unknown: token.is_unknown,
            model: "",
        }
    }
}
