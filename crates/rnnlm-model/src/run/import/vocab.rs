//! Vocabularies from files, for imported models.

use std::path::Path;

use rnnlm_vocab::{Normalization, TokenKind, VOCAB_FORMAT_VERSION, Vocab};
use serde_json::Value;

use super::files::read_bounded;
use super::names::MAX_VOCAB_BYTES;
use super::record::parse_with_digest;
use crate::{Error, Result};

/// Reads a vocabulary from a file, which is the `vocab.json` of a run or a JSON array of the tokens in id order. An array has
/// no tokenization and no normalization; `kind` and `normalization` determine them.
///
/// # Errors
/// [`Error::VocabMismatch`] if `kind` or `normalization` differs from that of a `vocab.json`; otherwise if the file cannot be
/// read, is damaged or has no vocabulary.
pub fn read_vocab(path: &Path, kind: Option<TokenKind>, normalization: Option<Normalization>) -> Result<Vocab> {
    let bytes = read_bounded(path, MAX_VOCAB_BYTES)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(rnnlm_vocab::Error::VocabSyntax)?;
    if value.is_array() {
        let tokens: Vec<Box<str>> = serde_json::from_value(value).map_err(rnnlm_vocab::Error::VocabSyntax)?;
        return Ok(Vocab::from_tokens(kind.unwrap_or_default(), normalization.unwrap_or_default(), tokens)?);
    }
    let has_digest = value.get("sha256").is_some();
    let vocab = if has_digest {
        let (content, _) = parse_with_digest(path, &bytes, VOCAB_FORMAT_VERSION)?;
        Vocab::from_json(content.to_string().as_bytes())?
    } else {
        Vocab::from_json(&bytes)?
    };
    if let Some(requested) = kind.filter(|&kind| kind != vocab.kind()) {
        return Err(mismatch("token", requested.to_string(), vocab.kind().to_string()));
    }
    if let Some(requested) = normalization.filter(|&normalization| normalization != vocab.normalization()) {
        return Err(mismatch("normalize", requested.to_string(), vocab.normalization().to_string()));
    }
    Ok(vocab)
}

fn mismatch(name: &'static str, requested: String, actual: String) -> Error {
    Error::VocabMismatch { name, requested, actual }
}
