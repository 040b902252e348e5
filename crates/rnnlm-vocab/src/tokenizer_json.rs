//! Stage 2, files: a vocabulary as the `tokenizer.json` of the library `tokenizers`.
//!
//! The file is made of components of that library: normalizers, a pre-tokenizer, a model that looks up whole tokens
//! (`WordLevel`), a post-processor that appends the end token, and a decoder. A vocabulary of subwords has its own file.

use serde_json::{Map, Value, json};

use crate::byte_level::byte_level_character;
use crate::normalize::{LineEndConversion, Normalization};
use crate::subwords::SubwordTokenizer;
use crate::tokenize::TokenKind;
use crate::unknown::UNKNOWN_TOKEN;
use crate::vocab::Vocab;

/// Matches one character.
const CHARACTER: &str = r"[\s\S]";
/// Matches one token of [`TokenKind::WordPunct`]: its letters are alphabetic characters and combining accents.
const WORD_PUNCT: &str = concat!(
    " ?[\\p{Alphabetic}\u{300}-\u{36F}]+",
    "| ?[\\p{N}&&[^\\p{Alphabetic}]]+",
    "| ?[^\\s\\p{Alphabetic}\u{300}-\u{36F}\\p{N}]",
    "|\\s"
);

impl Vocab {
    /// The vocabulary as the text of a `tokenizer.json`, with which `tokenizers` finds the ids of [`Vocab::encode`]. If
    /// texts are divided into documents, `tokenizers` appends the end token, as [`Vocab::encode_document`] does.
    ///
    /// Three texts have other ids there: bytes that are not UTF-8, which `tokenizers` does not accept; a word of the text
    /// that is written like the end token `<eos>`; and, with [`TokenKind::WordPunct`], letters that the older version of
    /// Unicode of the two programs does not have.
    ///
    /// ```
    /// use rnnlm_vocab::{Corpus, CorpusOptions};
    ///
    /// let vocab = Corpus::from_bytes(b"abba", &CorpusOptions::default())?.vocab;
    /// assert!(vocab.tokenizer_json().contains(r#""type": "WordLevel""#));
    /// # Ok::<(), rnnlm_vocab::Error>(())
    /// ```
    pub fn tokenizer_json(&self) -> String {
        if let Some(tokenizer) = self.tokenizer_of_subwords().map(SubwordTokenizer::json) {
            return tokenizer.to_owned();
        }
        let names: Vec<String> = self.tokens().map(|token| self.name(token)).collect();
        let content = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [],
            "normalizer": sequence("normalizers", self.normalizers()),
            "pre_tokenizer": sequence("pretokenizers", self.pre_tokenizers()),
            "post_processor": self.end_token().map(|id| post_processor(id, &names[id as usize])),
            "decoder": match self.kind() {
                TokenKind::Word => Value::Null,
                TokenKind::Byte => byte_level(),
                TokenKind::Char | TokenKind::WordPunct | TokenKind::Subword => json!({"type": "Fuse"}),
            },
            "model": {
                "type": "WordLevel",
                "vocab": names.into_iter().zip((0..).map(Value::from)).collect::<Map<String, Value>>(),
                "unk_token": UNKNOWN_TOKEN,
            },
        });
        format!("{content:#}\n")
    }

    /// The name of a token in the file: a byte is its byte-level character.
    fn name(&self, token: &str) -> String {
        match (self.kind(), self.kind().unescape(token)) {
            (TokenKind::Byte, [byte]) => byte_level_character(*byte).into(),
            // a reserved token must not be named like a byte
            (TokenKind::Byte, _) if token.chars().count() == 1 => format!("<{token}>"),
            _ => token.to_owned(),
        }
    }

    fn normalizers(&self) -> Vec<Value> {
        let replace =
            |regex: &str, content: &str| json!({"type": "Replace", "pattern": {"Regex": regex}, "content": content});
        let mut normalizers = Vec::new();
        if self.normalization() == Normalization::Book || self.line_ends() == LineEndConversion::Lf {
            normalizers.push(replace(r"\r\n?", "\n"));
        }
        if self.normalization() == Normalization::Book {
            let line_end = if self.kind().is_bounded() { "" } else { "\n" };
            normalizers.extend([
                replace(r"[^A-Za-z\n]+", " "),
                replace(r" ?\n ?", line_end),
                // spaces next to line ends are removed already, so `^` may also match at the start of a line
                replace("^ | $", ""),
            ]);
        }
        if self.normalization() != Normalization::None {
            normalizers.push(json!({"type": "Lowercase"}));
        }
        normalizers
    }

    fn pre_tokenizers(&self) -> Vec<Value> {
        let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        match self.kind() {
            TokenKind::Char | TokenKind::Subword => vec![split(CHARACTER)],
            TokenKind::Word => vec![json!({"type": "WhitespaceSplit"})],
            TokenKind::Byte => vec![byte_level(), split(CHARACTER)],
            TokenKind::WordPunct => vec![split(WORD_PUNCT)],
        }
    }
}

/// A list of normalizers or pre-tokenizers as one.
fn sequence(field: &str, mut items: Vec<Value>) -> Value {
    match items.len() {
        0 => Value::Null,
        1 => items.remove(0),
        _ => Value::Object(Map::from_iter([("type".to_owned(), "Sequence".into()), (field.to_owned(), items.into())])),
    }
}

/// The pre-tokenizer and the decoder of bytes.
fn byte_level() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false})
}

/// Appends the end token.
fn post_processor(id: u32, name: &str) -> Value {
    let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
    let end = |type_id: u32| json!({"SpecialToken": {"id": name, "type_id": type_id}});
    json!({
        "type": "TemplateProcessing",
        "single": [text("A", 0), end(0)],
        "pair": [text("A", 0), end(0), text("B", 1), end(1)],
        "special_tokens": Map::from_iter([(name.to_owned(), json!({"id": name, "ids": [id], "tokens": [name]}))]),
    })
}
