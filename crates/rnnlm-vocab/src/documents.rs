//! Stage 1, documents: whether a text is one stream or a sequence of documents, and the token that ends a document.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::tokenize::TokenKind;

/// The end token of documents, unless the line end is a token of the text. It is reserved: it never occurs in a text,
/// and a word `<eos>` in a text is an unknown token.
pub const EOS_TOKEN: &str = "<eos>";

/// How a text is divided into documents: independent texts, such as names, log lines or e-mails.
///
/// A text is divided after decoding, before the normalization. Each document is followed by one *end token*, which
/// never occurs inside a document. So a document starts exactly where the input of a model is the end token.
///
/// | | characters, bytes | words, words with punctuation |
/// |---|---|---|
/// | `Lines` | `\n` | [`EOS_TOKEN`] |
/// | `BlankLines` | [`EOS_TOKEN`] | [`EOS_TOKEN`] |
///
/// The end token is always in the vocabulary. [`EOS_TOKEN`] has the id after `<unk>`; `\n` has the id of its frequency,
/// which is the number of documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Documents {
    /// The text is one stream without documents, as in the book.
    #[default]
    None,
    /// Each line is a document. Lines end at `\n`; with [`LineEndConversion::Lf`](crate::LineEndConversion::Lf) also at
    /// `\r\n` and at a lone `\r`. Characters after the last line end are a document, too.
    Lines,
    /// Documents are separated by one or more blank lines: lines that are empty or white space only. Line ends inside a
    /// document are kept, those around it are removed.
    BlankLines,
}

impl Documents {
    /// All variants.
    pub const ALL: [Self; 3] = [Self::None, Self::Lines, Self::BlankLines];

    /// The name in files and on the command line: `none`, `lines` or `blank-lines`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lines => "lines",
            Self::BlankLines => "blank-lines",
        }
    }

    /// The text that a decoded end token becomes: `\n` after a line, `\n\n` between documents that blank lines separate.
    pub fn separator(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Lines => "\n",
            Self::BlankLines => "\n\n",
        }
    }

    /// Whether the text is one stream. Files omit this value, which those of earlier versions imply.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The end token with tokens of this kind, in raw form.
    pub(crate) fn raw_end_token(self, kind: TokenKind) -> Option<&'static str> {
        match (self, kind) {
            // subwords have the end token of their tokenizer
            (Self::None, _) | (_, TokenKind::Subword) => None,
            (Self::Lines, TokenKind::Char | TokenKind::Byte) => Some("\n"),
            (Self::Lines, TokenKind::Word | TokenKind::WordPunct) | (Self::BlankLines, _) => Some(EOS_TOKEN),
        }
    }

    /// Whether the end token is [`EOS_TOKEN`], which is not a token of the text.
    pub(crate) fn has_eos(self, kind: TokenKind) -> bool {
        self.raw_end_token(kind) == Some(EOS_TOKEN)
    }

    /// The id of the end token in a vocabulary of `reserved` reserved tokens, or the reason why it has none. `id_of`
    /// finds the id of a token in raw form.
    pub(crate) fn end_token(
        self,
        kind: TokenKind,
        reserved: usize,
        id_of: impl FnOnce(&[u8]) -> Option<u32>,
    ) -> Result<Option<u32>, String> {
        let Some(raw) = self.raw_end_token(kind) else { return Ok(None) };
        let is_eos = raw == EOS_TOKEN;
        match id_of(raw.as_bytes()) {
            Some(id) if !is_eos || id as usize <= reserved => Ok(Some(id)),
            _ => {
                let token = kind.escape(raw.as_bytes());
                let place = if is_eos { "the reserved tokens" } else { "the vocabulary" };
                Err(format!("`documents` is `{self}`, but {token:?} is not in {place}"))
            }
        }
    }
}

impl fmt::Display for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
