//! The distribution of documents over the rows of a batch.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rnnlm_vocab::{Ids, Minibatch};

use crate::Result;

/// Tokens that are predicted from the zero state and the token `context`.
#[derive(Clone, Copy)]
pub(super) struct Sequence<'a> {
    pub(super) context: u32,
    pub(super) tokens: Ids<'a>,
}

/// Documents on the rows of a batch, and how far each row has been read.
pub(super) struct Rows<'a> {
    documents: Vec<Sequence<'a>>,
    rows: Vec<Row>,
    /// Tokens of the longest row.
    pub(super) num_steps: usize,
    /// Scratch memory for ids that are read.
    ids: Vec<u32>,
}

/// The documents of a row, and the next token.
#[derive(Clone, Default)]
struct Row {
    documents: Vec<usize>,
    /// Index in `documents`.
    document: usize,
    /// Index in the document.
    token: usize,
    /// The token before it in the document.
    previous: u32,
}

impl<'a> Rows<'a> {
    /// As many rows as can be about equally long, at most `max_batch_size`.
    pub(super) fn new(documents: Vec<Sequence<'a>>, max_batch_size: usize) -> Self {
        let len = |index: usize| documents[index].tokens.len();
        let mut order: Vec<usize> = (0..documents.len()).filter(|&index| len(index) > 0).collect();
        order.sort_by_key(|&index| Reverse(len(index)));
        let longest = order.first().map_or(1, |&index| len(index));
        let total: usize = order.iter().map(|&index| len(index)).sum();
        let batch_size = (1 << (total / longest).max(1).ilog2()).min(max_batch_size);

        let mut rows = vec![Row::default(); batch_size];
        let mut shortest: BinaryHeap<_> = (0..batch_size).map(|row| Reverse((0, row))).collect();
        for index in order {
            let Some(mut top) = shortest.peek_mut() else { break };
            let Reverse((tokens, row)) = &mut *top;
            *tokens += len(index);
            rows[*row].documents.push(index);
        }
        let num_steps = shortest.iter().map(|Reverse((tokens, _))| *tokens).max().unwrap_or(0);
        Self { documents, rows, num_steps, ids: Vec::new() }
    }

    pub(super) fn batch_size(&self) -> usize {
        self.rows.len()
    }

    /// Moves the next steps of every row to `minibatch`. `documents` and `starts` receive for each of its rows the index of the
    /// document, and whether it starts there.
    pub(super) fn fill(
        &mut self,
        minibatch: &mut Minibatch,
        documents: &mut [Option<usize>],
        starts: &mut [bool],
    ) -> Result<()> {
        let batch_size = self.rows.len();
        // of steps after the last document of a row
        let padding = self.documents.first().map_or(0, |first| first.context);
        for (n, row) in self.rows.iter_mut().enumerate() {
            let mut index = n;
            while index < starts.len() {
                let Some(&document) = row.documents.get(row.document) else {
                    documents[index] = None;
                    starts[index] = false;
                    minibatch.inputs[index] = padding;
                    minibatch.targets[index] = padding;
                    index += batch_size;
                    continue;
                };
                let Sequence { context, tokens } = self.documents[document];
                let steps = (starts.len() - index).div_ceil(batch_size);
                self.ids.resize(steps.min(tokens.len() - row.token), 0);
                tokens.read(row.token, &mut self.ids)?;
                for &id in &self.ids {
                    documents[index] = Some(document);
                    starts[index] = row.token == 0;
                    minibatch.inputs[index] = if row.token == 0 { context } else { row.previous };
                    minibatch.targets[index] = id;
                    row.previous = id;
                    row.token += 1;
                    index += batch_size;
                }
                if row.token == tokens.len() {
                    row.document += 1;
                    row.token = 0;
                }
            }
        }
        Ok(())
    }
}
