//! Stage 2, documents: the context that a document is predicted from, and the token that ends it.

use super::{Encoding, Vocab};
use crate::error::Result;
use crate::text::TextSize;
use crate::unknown::UnknownTokens;

/// The two tokens around a document when it is scored: the context, which is only read, and the end, which is predicted
/// after the last token.
///
/// A vocabulary of documents has an end token, which is both. A vocabulary of a stream has none; if it has the line end,
/// a document is a line, and the line end is both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentFrame {
    /// The token that the first token is predicted from, at the zero state.
    pub context: u32,
    /// The token after the last one, if documents have an end that the model can predict.
    pub end: Option<u32>,
    /// Which token the context is.
    pub kind: ContextKind,
}

/// Which token a document is predicted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextKind {
    /// The end token of a vocabulary of documents.
    EndToken,
    /// The line end of a vocabulary of a stream.
    LineEnd,
    /// The most frequent token of a vocabulary of a stream without line ends. Documents have no end.
    MostFrequent,
}

impl ContextKind {
    /// The name in output: `end-token`, `line-end` or `most-frequent-token`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndToken => "end-token",
            Self::LineEnd => "line-end",
            Self::MostFrequent => "most-frequent-token",
        }
    }
}

impl DocumentFrame {
    /// The tokens of a document in order: [`Vocab::encode_document`], and the end of this frame.
    ///
    /// # Errors
    ///
    /// Those of [`Vocab::encode_document`].
    pub fn encode(&self, vocab: &Vocab, document: &[u8]) -> Result<Encoding> {
        let mut encoding = vocab.encode_document(document)?;
        if vocab.end_token().is_none() {
            encoding.ids.extend(self.end);
        }
        Ok(encoding)
    }
}

impl Vocab {
    /// The context and the end of documents, for scoring.
    ///
    /// ```
    /// use rnnlm_vocab::{ContextKind, Corpus, CorpusOptions, Normalization};
    ///
    /// let options = CorpusOptions { normalization: Normalization::None, ..CorpusOptions::default() };
    /// let vocab = Corpus::from_bytes(b"anna\nhannah\n", &options)?.vocab;
    /// let frame = vocab.document_frame();
    /// assert_eq!(frame.kind, ContextKind::LineEnd);
    /// assert_eq!(vocab.decode(&frame.encode(&vocab, b"hanna")?.ids)?, "hanna\n");
    /// # Ok::<(), rnnlm_vocab::Error>(())
    /// ```
    pub fn document_frame(&self) -> DocumentFrame {
        if let Some(end) = self.end_token() {
            return DocumentFrame { context: end, end: Some(end), kind: ContextKind::EndToken };
        }
        match self.encode("\n").ids[..] {
            [end] if !self.is_unknown(end) => {
                DocumentFrame { context: end, end: Some(end), kind: ContextKind::LineEnd }
            }
            _ => DocumentFrame { context: self.most_frequent_id(), end: None, kind: ContextKind::MostFrequent },
        }
    }

    /// The size of an encoded text, with the separators between its tokens.
    pub fn text_size(&self, encoding: &Encoding) -> TextSize {
        let mut size = encoding.unknown.size();
        for (index, &id) in encoding.ids.iter().enumerate() {
            let previous = index.checked_sub(1).map(|previous| encoding.ids[previous]);
            size += TextSize::of(self.separator(previous, id).as_bytes());
            if !self.is_unknown(id) {
                size += self.size_of(id);
            }
        }
        size
    }
}

impl UnknownTokens {
    /// The size in the text of all unknown tokens, without separators.
    pub fn size(&self) -> TextSize {
        let mut sum = TextSize::default();
        (0..self.count()).for_each(|number| sum += self.size_of(number));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Corpus, CorpusOptions, Documents, EOS_TOKEN, Normalization, TokenKind};

    fn vocab(kind: TokenKind, normalization: Normalization, documents: Documents) -> Vocab {
        let options = CorpusOptions { kind, normalization, documents, ..CorpusOptions::default() };
        Corpus::from_bytes(b"ann a\n\nbob b\n", &options).unwrap().vocab
    }

    #[test]
    fn the_frame_is_the_end_token_the_line_end_or_the_most_frequent_token() {
        use ContextKind::{EndToken, LineEnd, MostFrequent};
        use Normalization::{Book, None as Unchanged};
        let cases = [
            (TokenKind::Char, Unchanged, Documents::Lines, EndToken, "\n"),
            (TokenKind::Byte, Unchanged, Documents::BlankLines, EndToken, EOS_TOKEN),
            (TokenKind::Word, Book, Documents::Lines, EndToken, EOS_TOKEN),
            (TokenKind::Char, Unchanged, Documents::None, LineEnd, "\n"),
            (TokenKind::Byte, Unchanged, Documents::None, LineEnd, "<0x0A>"),
            (TokenKind::Char, Book, Documents::None, MostFrequent, "b"),
            (TokenKind::Word, Unchanged, Documents::None, MostFrequent, "ann"),
        ];
        for (kind, normalization, documents, expected, context) in cases {
            let vocab = vocab(kind, normalization, documents);
            let frame = vocab.document_frame();
            let case = format!("{kind} {normalization} {documents}");
            assert_eq!((frame.kind, vocab.token(frame.context)), (expected, Some(context)), "{case}");
            assert_eq!(frame.end, (expected != MostFrequent).then_some(frame.context), "{case}");
            let ids = frame.encode(&vocab, b"").unwrap().ids;
            assert_eq!(ids, frame.end.into_iter().collect::<Vec<_>>(), "{case}");
        }
    }

    #[test]
    fn the_size_of_a_text_has_separators_and_unknown_tokens() {
        let words = vocab(TokenKind::Word, Normalization::None, Documents::None);
        let encoding = words.encode("ann \u{e9}\u{e9}  bob");
        // `ann éé bob`, of which `éé` is unknown
        assert_eq!(words.text_size(&encoding), TextSize { characters: 10, bytes: 12 });
        assert_eq!(encoding.unknown.size(), TextSize { characters: 2, bytes: 4 });
        let chars = vocab(TokenKind::Char, Normalization::None, Documents::Lines);
        let encoding = chars.encode_document("b\u{e9}".as_bytes()).unwrap();
        assert_eq!(chars.text_size(&encoding), TextSize { characters: 3, bytes: 4 });
    }
}
