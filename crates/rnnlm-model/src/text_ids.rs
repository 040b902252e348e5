//! The ids of a text, as training and evaluation read them.

use rnnlm_vocab::{DocumentSet, Ids};

/// The ids of a text: one stream, or documents.
#[derive(Clone, Copy, Debug)]
pub enum TextIds<'a> {
    /// One sequence. Its state is carried from each minibatch to the next.
    Stream(&'a [u32]),
    /// One sequence, as `Stream`, whose ids can be in files.
    Stored(Ids<'a>),
    /// Documents, each of which starts from the zero state with the end token as context.
    Documents(DocumentSet<'a>),
}

impl<'a> TextIds<'a> {
    /// All ids, with the end tokens of documents.
    pub fn ids(&self) -> Ids<'a> {
        match *self {
            Self::Stream(ids) => Ids::Memory(ids),
            Self::Stored(ids) => ids,
            Self::Documents(documents) => Ids::Memory(documents.ids()),
        }
    }

    /// The token that ends a document, and with which the next one starts; `None` for a stream.
    pub fn end_token(&self) -> Option<u32> {
        match self {
            Self::Stream(_) | Self::Stored(_) => None,
            Self::Documents(documents) => Some(documents.end_token()),
        }
    }

    /// The number of documents; 0 for a stream.
    pub fn num_documents(&self) -> usize {
        match self {
            Self::Stream(_) | Self::Stored(_) => 0,
            Self::Documents(documents) => documents.len(),
        }
    }
}

impl<'a> From<&'a [u32]> for TextIds<'a> {
    fn from(ids: &'a [u32]) -> Self {
        Self::Stream(ids)
    }
}

impl<'a> From<&'a Vec<u32>> for TextIds<'a> {
    fn from(ids: &'a Vec<u32>) -> Self {
        Self::Stream(ids)
    }
}

impl<'a, const N: usize> From<&'a [u32; N]> for TextIds<'a> {
    fn from(ids: &'a [u32; N]) -> Self {
        Self::Stream(ids)
    }
}

impl<'a> From<Ids<'a>> for TextIds<'a> {
    fn from(ids: Ids<'a>) -> Self {
        Self::Stored(ids)
    }
}

impl<'a> From<DocumentSet<'a>> for TextIds<'a> {
    fn from(documents: DocumentSet<'a>) -> Self {
        Self::Documents(documents)
    }
}
