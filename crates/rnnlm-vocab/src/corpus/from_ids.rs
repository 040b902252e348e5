//! Stage 2, ids of other programs as a corpus.

use super::Corpus;
use crate::document_index::DocumentIndex;
use crate::encoding::TextEncoding;
use crate::error::{Error, Result};
use crate::normalize::DroppedLetters;
use crate::text::TextSize;
use crate::unknown::{UNKNOWN_TOKEN, UnknownTokens};
use crate::vocab::Vocab;

impl Corpus {
    /// A stream of ids that another program made with this vocabulary. Its text is that of the decoded ids.
    ///
    /// # Errors
    ///
    /// [`Error::IdOutOfRange`]; [`Error::VocabContent`] if the vocabulary divides texts into documents.
    pub fn from_ids(ids: Vec<u32>, vocab: Vocab) -> Result<Self> {
        if vocab.end_token().is_some() {
            let reason = "it divides texts into documents, but ids are one stream".to_owned();
            return Err(Error::VocabContent { reason });
        }
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab.len()) {
            return Err(Error::IdOutOfRange { id, vocab_size: vocab.len() });
        }
        let mut unknown = UnknownTokens::default();
        ids.iter()
            .filter(|&&id| vocab.is_unknown(id))
            .for_each(|_| unknown.record(UNKNOWN_TOKEN.as_bytes(), vocab.kind()));
        let mut corpus = Self {
            documents: DocumentIndex::default(),
            empty_documents: 0,
            looks_like_records: false,
            text_format: vocab.text_format(),
            encoding: TextEncoding::UTF_8,
            is_likely_utf_16: false,
            source_bytes: 0,
            text: TextSize::default(),
            tokens: ids.len() as u64,
            unknown,
            dropped_letters: DroppedLetters::default(),
            document_contents: None,
            ids,
            vocab,
        };
        corpus.text = corpus.text_size(0..corpus.ids.len());
        corpus.source_bytes = corpus.text.bytes;
        Ok(corpus)
    }
}
