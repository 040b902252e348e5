//! Stage 3, ids: a text as training and evaluation read it.

use crate::corpus::Corpus;
use crate::document_set::DocumentSet;
use crate::error::Result;
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
    /// Number of tokens, with the end tokens of documents.
    pub fn num_tokens(&self) -> usize {
        match self {
            Self::Stream(ids) => ids.len(),
            Self::Documents(documents) => documents.num_tokens(),
        }
    }

    /// Calls `sink` with all ids, in order and in parts, with the end tokens of documents.
    ///
    /// # Errors
    ///
    /// Those of [`IdSource::read`](crate::IdSource::read).
    pub fn for_each_part(&self, sink: impl FnMut(&[u32])) -> Result<()> {
        match self {
            Self::Stream(ids) => ids.for_each_part(sink),
            Self::Documents(documents) => documents.for_each_part(sink),
        }
    }

    /// The first `len` ids, or all if there are fewer, with the end tokens of documents.
    ///
    /// # Errors
    ///
    /// Those of [`IdSource::read`](crate::IdSource::read).
    pub fn start(&self, len: usize) -> Result<Vec<u32>> {
        let mut start = vec![0; len.min(self.num_tokens())];
        let mut rest = &mut start[..];
        let mut read = |ids: Ids<'_>| -> Result<bool> {
            let len = ids.len().min(rest.len());
            let (part, others) = std::mem::take(&mut rest).split_at_mut(len);
            rest = others;
            ids.read(0, part)?;
            Ok(rest.is_empty())
        };
        match self {
            Self::Stream(ids) => drop(read(*ids)?),
            Self::Documents(documents) => {
                for document in documents.iter() {
                    if read(document)? {
                        break;
                    }
                }
            }
        }
        Ok(start)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::CorpusOptions;
    use crate::documents::Documents;

    #[test]
    fn the_start_of_a_text_has_its_first_ids() {
        for documents in [Documents::None, Documents::Lines] {
            let options = CorpusOptions { documents, ..CorpusOptions::default() };
            let corpus = Corpus::from_bytes(b"ada\ngrace\nmary\n", &options).expect("a text");
            let text = TextIds::from(&corpus);
            for len in [0, 1, 3, 7, corpus.ids.len(), 100] {
                let expected = &corpus.ids[..len.min(corpus.ids.len())];
                assert_eq!(text.start(len).expect("ids in memory"), expected, "{documents} {len}");
            }
        }
    }
}
