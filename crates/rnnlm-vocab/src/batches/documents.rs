//! Stage 3, minibatches of documents: the stream of an epoch, which is not stored.

use crate::document_index::Offsets;
use crate::document_set::DocumentSet;
use crate::ids::Ids;
use crate::rng::SplitMix64;

/// The stream of an epoch: an end token, then the documents in some order, each with its end token.
#[derive(Clone, Debug)]
pub(super) struct DocumentStream<'a> {
    /// The end token at the start.
    first: [u32; 1],
    documents: DocumentSet<'a>,
    /// The order of the documents, unless it is that of the text.
    order: Option<Order>,
}

#[derive(Clone, Debug)]
struct Order {
    /// The documents in their order.
    documents: Vec<u32>,
    /// Number of tokens up to the end of each document, in this order.
    ends: Offsets,
}

impl<'a> DocumentStream<'a> {
    /// The documents in the order of the text.
    pub(super) fn in_order(documents: DocumentSet<'a>) -> Self {
        let is_adjacent = documents.adjacent_ids().is_some();
        let order = (!is_adjacent).then(|| Order::new(documents, (0..documents.len() as u32).collect()));
        Self { first: [documents.end_token()], documents, order }
    }

    /// The documents in a random order.
    pub(super) fn shuffled(documents: DocumentSet<'a>, rng: &mut SplitMix64) -> Self {
        let mut order: Vec<u32> = (0..documents.len() as u32).collect();
        rng.shuffle(&mut order);
        Self { first: [documents.end_token()], documents, order: Some(Order::new(documents, order)) }
    }

    /// The tokens of the stream from index `start` on, in runs that are not empty.
    pub(super) fn runs(&self, start: usize) -> impl Iterator<Item = Ids<'_>> {
        let first = (start == 0).then_some(Ids::Memory(&self.first));
        let mut index = start.saturating_sub(1); // in the documents, which follow the first end token
        let mut number = self.order.as_ref().map_or(0, |order| order.ends.count_up_to(index as u64));
        let runs = std::iter::from_fn(move || {
            let run = self.run(number, index)?;
            number += 1;
            index += run.len();
            Some(run)
        });
        first.into_iter().chain(runs)
    }

    /// The tokens from `index` to the end of document `number` in the order; without an order, to the end of all documents.
    fn run(&self, number: usize, index: usize) -> Option<Ids<'a>> {
        let (ids, start) = match &self.order {
            None => (self.documents.adjacent_ids()?, index),
            Some(Order { documents, ends }) => {
                let document = self.documents.document(*documents.get(number)? as usize);
                (document, document.len() - (ends.get(number) as usize - index))
            }
        };
        (start < ids.len()).then(|| ids.slice(start..ids.len()))
    }
}

impl Order {
    fn new(set: DocumentSet<'_>, documents: Vec<u32>) -> Self {
        let mut ends = Offsets::with_capacity(documents.len());
        let mut end = 0;
        for &document in &documents {
            end += set.document(document as usize).len() as u64;
            ends.push(end);
        }
        Self { documents, ends }
    }
}
