//! Stage 2, documents: the end token of a vocabulary, and encoding one document.

use super::{Encoding, Parts, Vocab};
use crate::documents::Documents;
use crate::error::{Error, Result};
use crate::normalize::{Extent, LineEndConversion, Normalization};
use crate::text::Piece;
use crate::tokenize::TokenKind;

impl Vocab {
    /// This vocabulary with another division of texts into documents.
    ///
    /// # Errors
    ///
    /// [`Error::VocabContent`] if the vocabulary does not have the end token: `\n`, or [`EOS_TOKEN`](crate::EOS_TOKEN) among the reserved
    /// tokens, or that of the tokenizer of subwords.
    pub fn with_documents(self, documents: Documents) -> Result<Self> {
        let Self { kind, normalization, line_ends, text_format, reserved, tokens, frequencies, subwords, .. } = self;
        Self::from_parts(Parts {
            kind,
            normalization,
            line_ends,
            documents,
            text_format,
            reserved,
            tokens,
            frequencies,
            subwords,
        })
    }

    /// How texts are divided into documents.
    pub fn documents(&self) -> Documents {
        self.documents
    }

    /// The id of the token that ends a document; `None` if texts are streams.
    pub fn end_token(&self) -> Option<u32> {
        self.end_token
    }

    /// The text between two adjacent tokens when they are decoded: a space between words and before some subwords, empty
    /// before and after an end token and before the first token.
    pub fn separator(&self, previous: Option<u32>, next: u32) -> &'static str {
        let is_end = |id: u32| Some(id) == self.end_token;
        let subword = self.tokenizer_of_subwords().and_then(|tokenizer| tokenizer.tokens().get(next as usize));
        match subword {
            _ if previous.is_none_or(is_end) || is_end(next) => "",
            None => self.kind().separator(),
            Some(subword) if subword.has_space => " ",
            Some(_) => "",
        }
    }

    /// Encodes one document: its tokens, then the end token, if the vocabulary has one. A document may be empty.
    ///
    /// ```
    /// use rnnlm_vocab::{Corpus, CorpusOptions, Documents};
    ///
    /// let options = CorpusOptions { documents: Documents::Lines, ..CorpusOptions::default() };
    /// let vocab = Corpus::from_bytes(b"anna\nhannah\n", &options)?.vocab;
    /// assert_eq!(vocab.decode(&vocab.encode_document(b"Hanna")?.ids)?, "hanna\n");
    /// assert_eq!(vocab.encode_document(b"")?.ids, [vocab.end_token().unwrap()]);
    /// # Ok::<(), rnnlm_vocab::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::LineEndInDocument`] with [`Documents::Lines`], and [`Error::InvalidUtf8`] except for byte tokens without
    /// normalization, which accept any bytes.
    pub fn encode_document(&self, document: &[u8]) -> Result<Encoding> {
        self.check_line_ends(document)?;
        let piece = match (self.kind, self.normalization) {
            (TokenKind::Byte, Normalization::None) => Piece::Bytes(document),
            _ => Piece::Text(super::text_of(document, "the document")?),
        };
        let mut encoding = Encoding::default();
        let mut tokenizer = self.tokenizer(Extent::Lines);
        for part in piece.parts() {
            match tokenizer.push(part, &mut |token| encoding.add(token, self)) {
                Ok(()) => {}
            }
        }
        match tokenizer.finish(&mut |token| encoding.add(token, self)) {
            Ok(()) => {}
        }
        encoding.ids.extend(self.end_token);
        Ok(encoding)
    }

    /// An error if documents are lines and this one has a line end.
    pub(super) fn check_line_ends(&self, document: &[u8]) -> Result<()> {
        let ends_line = |&byte: &u8| byte == b'\n' || byte == b'\r' && self.line_ends == LineEndConversion::Lf;
        match document.iter().position(ends_line) {
            Some(offset) if self.documents == Documents::Lines => {
                Err(Error::LineEndInDocument { offset: offset as u64 })
            }
            _ => Ok(()),
        }
    }
}
