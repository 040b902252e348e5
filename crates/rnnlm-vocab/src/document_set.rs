//! Stage 2, documents: some documents of a text, such as the training set.

use std::ops::Range;

use crate::document_index::DocumentIndex;
use crate::error::Result;
use crate::ids::Ids;

/// The numbers of some documents of a text, in ascending order. It takes 4 bytes a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentList {
    documents: Vec<u32>,
    /// Number of their tokens, with end tokens.
    num_tokens: usize,
}

impl DocumentList {
    /// The documents of an index for which `is_member` is true.
    pub(crate) fn new(index: &DocumentIndex, is_member: impl Fn(usize) -> bool) -> Self {
        let mut list = Self::default();
        for document in (0..index.len()).filter(|&document| is_member(document)) {
            list.documents.push(document as u32); // at most `DocumentIndex::MAX_DOCUMENTS`
            list.num_tokens += index.range(document).len();
        }
        list.documents.shrink_to_fit();
        list
    }
}

/// Some documents of a text, such as those of the training set.
#[derive(Clone, Copy, Debug)]
pub struct DocumentSet<'a> {
    ids: Ids<'a>,
    index: &'a DocumentIndex,
    members: Members<'a>,
    num_tokens: usize,
    end_token: u32,
}

/// The documents of a set.
#[derive(Clone, Copy, Debug)]
enum Members<'a> {
    /// Adjacent documents, which start with this one.
    From(usize, usize),
    Listed(&'a [u32]),
}

impl<'a> DocumentSet<'a> {
    /// The documents in this range. `ids` are those of the whole index.
    ///
    /// # Panics
    ///
    /// If the range exceeds the documents.
    pub fn adjacent(
        ids: impl Into<Ids<'a>>,
        index: &'a DocumentIndex,
        documents: Range<usize>,
        end_token: u32,
    ) -> Self {
        let num_tokens = index.range_of_documents(documents.clone()).len();
        let members = Members::From(documents.start, documents.len());
        Self { ids: ids.into(), index, members, num_tokens, end_token }
    }

    /// The documents of a list. `ids` are those of the whole index.
    pub fn listed(ids: impl Into<Ids<'a>>, index: &'a DocumentIndex, list: &'a DocumentList, end_token: u32) -> Self {
        let members = Members::Listed(&list.documents);
        Self { ids: ids.into(), index, members, num_tokens: list.num_tokens, end_token }
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        match self.members {
            Members::From(_, len) => len,
            Members::Listed(documents) => documents.len(),
        }
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of tokens of all documents, with their end tokens.
    pub fn num_tokens(&self) -> usize {
        self.num_tokens
    }

    /// The ids of all documents, each followed by the end token, if the documents are adjacent.
    pub(crate) fn adjacent_ids(&self) -> Option<Ids<'a>> {
        match self.members {
            Members::From(first, len) => Some(self.ids.slice(self.index.range_of_documents(first..first + len))),
            Members::Listed(_) => None,
        }
    }

    /// The id of the end token.
    pub fn end_token(&self) -> u32 {
        self.end_token
    }

    /// The ids of a document with its end token. `document` counts from the first document of the set.
    ///
    /// # Panics
    ///
    /// If there is no document with this index.
    pub fn document(&self, document: usize) -> Ids<'a> {
        assert!(document < self.len(), "document {document} of {}", self.len());
        let document = match self.members {
            Members::From(first, _) => first + document,
            Members::Listed(documents) => documents[document] as usize,
        };
        self.ids.slice(self.index.range(document))
    }

    /// The documents in order, each with its end token.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Ids<'a>> + use<'a> {
        let set = *self;
        (0..self.len()).map(move |document| set.document(document))
    }

    /// Calls `sink` with the ids of all documents, in order and in parts.
    ///
    /// # Errors
    ///
    /// Those of [`IdSource::read`](crate::IdSource::read).
    pub fn for_each_part(&self, mut sink: impl FnMut(&[u32])) -> Result<()> {
        match self.adjacent_ids() {
            Some(ids) => ids.for_each_part(sink),
            None => self.iter().try_for_each(|document| document.for_each_part(&mut sink)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_ids_of_its_documents() {
        let ids = [5, 9, 6, 7, 9, 8, 9];
        let index = DocumentIndex::from_lengths([2, 3, 2].into_iter());
        assert_eq!(index.ranges().collect::<Vec<_>>(), [0..2, 2..5, 5..7]);
        let documents = |set: DocumentSet<'_>| -> Vec<Vec<u32>> {
            assert_eq!(set.num_tokens(), set.iter().map(|document| document.len()).sum::<usize>());
            let mut all = Vec::new();
            set.for_each_part(|part| all.extend_from_slice(part)).expect("ids in memory");
            let documents: Vec<Vec<u32>> =
                set.iter().map(|document| document.load().expect("ids in memory").into_owned()).collect();
            assert_eq!((documents.concat(), documents.len(), set.end_token()), (all, set.len(), 9));
            documents
        };
        assert_eq!(documents(DocumentSet::adjacent(&ids, &index, 1..3, 9)), [&[6, 7, 9][..], &[8, 9]]);
        assert!(DocumentSet::adjacent(&ids, &index, 3..3, 9).is_empty());
        let list = DocumentList::new(&index, |document| document != 1);
        assert_eq!(documents(DocumentSet::listed(&ids, &index, &list, 9)), [[5, 9], [8, 9]]);
    }
}
