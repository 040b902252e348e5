//! A tokenizer from a `tokenizer.json`.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use rnnlm_vocab::{SpecialTokens, SubwordToken, SubwordTokenizer, set_subword_loader};
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::decoder::Decoder;
use crate::file::{end_token, names_in_order, unknown_id};
use crate::split_point::SplitRule;

/// The length in bytes of the parts of a text that threads encode, if it can be divided.
const PART_BYTES: usize = 1 << 15;

/// Why a `tokenizer.json` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tokenizer cannot be used: {reason}")]
pub struct TokenizerError {
    reason: String,
}

/// A tokenizer from a `tokenizer.json`, with the ids and the offsets of the library `tokenizers`.
pub struct HfTokenizer {
    json: String,
    tokenizer: Tokenizer,
    /// The same, for which the names of special tokens are ordinary text.
    without_special: OnceLock<Box<Tokenizer>>,
    tokens: Vec<SubwordToken>,
    unknown_id: Option<u32>,
    end_token: Option<u32>,
    split_rule: SplitRule,
}

/// Registers [`HfTokenizer`] as the tokenizer of vocabularies of subwords, for the whole program.
pub fn install() {
    set_subword_loader(|json| {
        let tokenizer = HfTokenizer::from_json(json).map_err(|error| error.reason)?;
        Ok(Arc::new(tokenizer))
    });
}

impl HfTokenizer {
    /// Reads the content of a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] if it is not one, or if it cannot be used: see the front page of this crate.
    pub fn from_json(json: &str) -> Result<Self, TokenizerError> {
        Self::parse(json).map_err(|reason| TokenizerError { reason })
    }

    fn parse(json: &str) -> Result<Self, String> {
        let file: Value = serde_json::from_str(json).map_err(|error| format!("it is not JSON: {error}"))?;
        if !file["model"].is_object() {
            return Err("it is not a tokenizer.json: it has no `model`".to_owned());
        }
        let mut tokenizer =
            Tokenizer::from_str(json).map_err(|error| format!("it is not a tokenizer.json: {error}"))?;
        // a run reads all of a text, whatever model the file was made for
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        let decoder = Decoder::from_json(&file["decoder"])?;
        let names = names_in_order(tokenizer.get_vocab(true))?;
        // older files do not name the model's type, the library writes it
        let written = tokenizer.to_string(false).map_err(|error| error.to_string())?;
        let file: Value = serde_json::from_str(&written).map_err(|error| error.to_string())?;
        let unknown_id = unknown_id(&file, |name| tokenizer.token_to_id(name))?;
        if let Some(id) = unknown_id.filter(|&id| id as usize >= names.len()) {
            return Err(format!("the id of its unknown token is {id}, but it has {} tokens", names.len()));
        }
        Ok(Self {
            json: json.to_owned(),
            without_special: OnceLock::new(),
            tokens: names.iter().map(|name| decoder.token(name)).collect(),
            unknown_id,
            end_token: end_token(&file).and_then(|name| tokenizer.token_to_id(name)),
            split_rule: SplitRule::of(&file),
            tokenizer,
        })
    }

    fn tokenizer(&self, special: SpecialTokens) -> &Tokenizer {
        match special {
            SpecialTokens::Recognized => &self.tokenizer,
            SpecialTokens::AsText => self.without_special.get_or_init(|| {
                let mut tokenizer = self.tokenizer.clone();
                tokenizer.set_encode_special_tokens(true);
                Box::new(tokenizer)
            }),
        }
    }

    /// Divides a text into parts of about [`PART_BYTES`] with the same tokens, each with its start.
    fn parts<'t>(&self, text: &'t str) -> Vec<(usize, &'t str)> {
        let (mut parts, mut start, mut length) = (Vec::new(), 0, PART_BYTES);
        while start + length < text.len() {
            let end = (start + length..).find(|&end| text.is_char_boundary(end)).unwrap_or(text.len());
            match self.split_rule.last(&text[start..end]) {
                Some(split) => {
                    parts.push((start, &text[start..start + split]));
                    (start, length) = (start + split, PART_BYTES);
                }
                None => length *= 2,
            }
        }
        parts.push((start, &text[start..]));
        parts
    }
}

/// The ids of a text and the bytes that they are made of.
type Tokens = Vec<(u32, Range<usize>)>;

/// Encodes a part of a text that starts at `start`.
fn encode(tokenizer: &Tokenizer, start: usize, part: &str, unknown: Option<u32>) -> Tokens {
    // offsets are trimmed in their own unit, so only those in characters are those of the Python library
    match tokenizer.encode_char_offsets(part, false) {
        Ok(encoding) => {
            let bytes: Vec<usize> = part.char_indices().map(|(byte, _)| start + byte).collect();
            let byte = |character: usize| bytes.get(character).copied().unwrap_or(start + part.len());
            let ranges = encoding.get_offsets().iter().map(|&(from, to)| byte(from)..byte(to.max(from)));
            encoding.get_ids().iter().copied().zip(ranges).collect()
        }
        // no other file than one that was refused can lead here; the text must not vanish
        Err(_) => unknown.map(|id| (id, start..start + part.len())).into_iter().collect(),
    }
}

impl SubwordTokenizer for HfTokenizer {
    fn json(&self) -> &str {
        &self.json
    }

    fn tokens(&self) -> &[SubwordToken] {
        &self.tokens
    }

    fn id(&self, name: &str) -> Option<u32> {
        self.tokenizer.token_to_id(name)
    }

    fn unknown_id(&self) -> Option<u32> {
        self.unknown_id
    }

    fn end_token(&self) -> Option<u32> {
        self.end_token
    }

    fn split_point(&self, text: &str) -> Option<usize> {
        self.split_rule.last(text)
    }

    fn encode(&self, text: &str, special: SpecialTokens, visit: &mut dyn FnMut(u32, Range<usize>)) {
        let (tokenizer, unknown) = (self.tokenizer(special), self.unknown_id);
        let parts = if self.split_rule == SplitRule::Nowhere { vec![(0, text)] } else { self.parts(text) };
        let encoded: Vec<Tokens> =
            parts.into_par_iter().map(|(start, part)| encode(tokenizer, start, part, unknown)).collect();
        encoded.into_iter().flatten().for_each(|(id, range)| visit(id, range));
    }
}

impl fmt::Debug for HfTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HfTokenizer").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}
