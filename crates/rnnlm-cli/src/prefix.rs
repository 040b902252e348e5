//! Prefixes of generated text: encoding, and what happens to tokens that the vocabulary does not contain.

use clap::ValueEnum;
use rnnlm_vocab::{Encoding, UNKNOWN_ID, Vocab};

use crate::failure::{Failure, Result};

/// The value of `--unknown`: what happens to tokens that are not in the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unknown {
    /// Read them as `<unk>`, with a warning.
    Unk,
    /// Stop with an error.
    Error,
    /// Leave them out, with a warning.
    Skip,
}

/// A prefix as ids, and a warning if it contains unknown tokens.
#[derive(Debug)]
pub(crate) struct Prefix {
    /// At least one id: an empty prefix becomes the most frequent token.
    pub(crate) ids: Vec<u32>,
    pub(crate) warning: Option<String>,
}

impl Prefix {
    /// Encodes `text`.
    ///
    /// # Errors
    /// If it contains unknown tokens and `unknown` is [`Unknown::Error`].
    pub(crate) fn encode(vocab: &Vocab, text: &str, unknown: Unknown) -> Result<Self> {
        let mut encoding = vocab.encode_prefix(text);
        let warning = match unknown_tokens(text, &encoding) {
            None => None,
            Some(message) => Some(match unknown {
                Unknown::Unk => format!("warning: {message} (read as <unk>)"),
                Unknown::Skip => {
                    encoding.ids.retain(|&id| id != UNKNOWN_ID);
                    format!("warning: {message} (left out)")
                }
                Unknown::Error => {
                    let hint = "--unknown unk reads them as <unk>, --unknown skip leaves them out";
                    return Err(Failure::failed(message).with_hint(hint));
                }
            }),
        };
        let mut ids = encoding.ids;
        if ids.is_empty() {
            ids.push(vocab.most_frequent_id());
        }
        Ok(Self { ids, warning })
    }
}

/// A message that lists the unknown tokens, if there are any.
fn unknown_tokens(text: &str, encoding: &Encoding) -> Option<String> {
    if encoding.unknown.count() == 0 {
        return None;
    }
    Some(format!("prefix {text:?} has tokens that are not in the vocabulary: {}", encoding.unknown))
}

#[cfg(test)]
mod tests {
    use rnnlm_vocab::{Corpus, CorpusOptions};

    use super::*;

    /// The ids are `<unk>` 0, `a` 1, `b` 2.
    fn vocab() -> Vocab {
        Corpus::from_bytes(b"aaab", &CorpusOptions::default()).expect("four letters").vocab
    }

    #[test]
    fn unknown_tokens_are_replaced_left_out_or_refused() {
        let encode = |unknown| Prefix::encode(&vocab(), "axb", unknown);
        let message = r#"prefix "axb" has tokens that are not in the vocabulary: "x""#;
        let unk = encode(Unknown::Unk).expect("a warning");
        assert_eq!((unk.ids, unk.warning), (vec![1, 0, 2], Some(format!("warning: {message} (read as <unk>)"))));
        let skip = encode(Unknown::Skip).expect("a warning");
        assert_eq!((skip.ids, skip.warning), (vec![1, 2], Some(format!("warning: {message} (left out)"))));
        assert_eq!(encode(Unknown::Error).expect_err("an error").to_string(), message);
    }

    #[test]
    fn an_empty_prefix_becomes_the_most_frequent_token() {
        let prefix = Prefix::encode(&vocab(), "", Unknown::Unk).expect("it is empty");
        assert_eq!((prefix.ids, prefix.warning), (vec![1], None));
    }
}
