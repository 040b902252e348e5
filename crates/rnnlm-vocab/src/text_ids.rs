//! Stage 3, ids: a text as training and evaluation read it.

use crate::corpus::Corpus;
use crate::document_index::DocumentSet;
use crate::ids::Ids;

/// The ids of a text: one stream, or documents.
#[derive(Clone, Copy, Debug)]
pub enum TextIds<'a> {
    /// One sequence. Its state is carried from each minibatch to the next.
    Stream(Ids<'a>),
    /// Documents, each of which starts from the zero state with the end token as context.
    Documents(DocumentSet<'a>),
}

impl<'a> TextIds<'a> {
    /// All ids, with the end tokens of documents.
    pub fn ids(&self) -> Ids<'a> {
        match *self {
            Self::Stream(ids) => ids,
            Self::Documents(documents) => Ids::Memory(documents.ids()),
        }
    }

    /// The token that ends a document, and with which the next one starts; `None` for a stream.
    pub fn end_token(&self) -> Option<u32> {
        match self {
            Self::Stream(_) => None,
            Self::Documents(documents) => Some(documents.end_token()),
        }
    }

    /// The number of documents; 0 for a stream.
    pub fn num_documents(&self) -> usize {
        match self {
            Self::Stream(_) => 0,
            Self::Documents(documents) => documents.len(),
        }
    }
}

impl<'a, T: Into<Ids<'a>>> From<T> for TextIds<'a> {
    fn from(ids: T) -> Self {
        Self::Stream(ids.into())
    }
}

impl<'a> From<DocumentSet<'a>> for TextIds<'a> {
    fn from(documents: DocumentSet<'a>) -> Self {
        Self::Documents(documents)
    }
}

/// All of a text.
impl<'a> From<&'a Corpus> for TextIds<'a> {
    fn from(corpus: &'a Corpus) -> Self {
        let documents = corpus.document_set(0..corpus.documents.len());
        documents.map_or_else(|| Self::from(&corpus.ids), Self::Documents)
    }
}
