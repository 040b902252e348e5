//! Stage 3, minibatches: cutting the ids of a corpus into inputs and targets.
//!
//! The two strategies, sequential partitioning and random sampling, are those of section 8.3 of the book; a corpus of
//! documents is partitioned sequentially after its documents are shuffled. Each is a pure function of seed and epoch,
//! and any minibatch can be read by index, so an interrupted run can resume within an epoch.
//!
//! With **T** = `num_steps` and **N** = `batch_size`, a minibatch has T·N inputs and T·N targets. The target of an
//! input is the next token. The layout is time-major: row `n` at step `t` is element `t * N + n`, so the ids of one
//! step are contiguous.

mod documents;
mod lengths;
mod sizes;

use serde::{Deserialize, Serialize};

use crate::document_set::DocumentSet;
use crate::error::{Error, Result};
use crate::ids::Ids;
use crate::rng::SplitMix64;
use documents::DocumentStream;
use sizes::check_sizes;

/// The strategy that cuts a corpus into minibatches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// Sequential partitioning: each row continues in the next minibatch, so the hidden state can be carried over.
    #[default]
    Sequential,
    /// Random sampling: each row is an independent subsequence, and the order is random.
    Random,
}

/// T·N inputs and T·N targets, time-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minibatch {
    /// Row `n` at step `t` is `inputs[t * batch_size + n]`.
    pub inputs: Vec<u32>,
    /// The token after each input, at the same index.
    pub targets: Vec<u32>,
    /// T.
    pub num_steps: usize,
    /// N.
    pub batch_size: usize,
}

impl Minibatch {
    /// A minibatch of zeros, to be filled by [`Batches::fill`].
    ///
    /// # Panics
    ///
    /// If `batch_size * num_steps` ids exceed the address space. Sizes that [`Batches`] accepts never do.
    pub fn new(batch_size: usize, num_steps: usize) -> Self {
        let ids = vec![0; batch_size.saturating_mul(num_steps)];
        Self { inputs: ids.clone(), targets: ids, num_steps, batch_size }
    }

    /// Changes the number of steps. Does not allocate if there were once as many.
    pub fn set_num_steps(&mut self, num_steps: usize) {
        let len = self.batch_size * num_steps;
        self.inputs.resize(len, 0);
        self.targets.resize(len, 0);
        self.num_steps = num_steps;
    }
}

/// The minibatches of one epoch.
///
/// ```
/// use rnnlm_vocab::Batches;
///
/// let corpus: Vec<u32> = (0..100).collect();
/// let (batch_size, num_steps, seed, epoch) = (2, 5, 0, 0);
/// for minibatch in Batches::random(&corpus, batch_size, num_steps, seed, epoch)? {
///     assert_eq!(minibatch.inputs.len(), 10);
///     assert_eq!(minibatch.targets[0], minibatch.inputs[0] + 1); // the next token
/// }
/// # Ok::<(), rnnlm_vocab::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    corpus: Ids<'a>,
    batch_size: usize,
    num_steps: usize,
    offset: usize,
    num_minibatches: usize,
    row_starts: RowStarts<'a>,
    /// The first step of each minibatch, and the number of steps of the epoch; `None` if each minibatch has T.
    first_steps: Option<Vec<usize>>,
}

/// Where row `n` of minibatch `i` starts in the corpus.
#[derive(Clone, Debug)]
enum RowStarts<'a> {
    /// At `offset + n * row_length + i * T`.
    Sequential { row_length: usize },
    /// At element `i * N + n` of this list.
    Random(Vec<usize>),
    /// As `Sequential`, in a stream of documents.
    Documents { row_length: usize, stream: DocumentStream<'a> },
}

impl<'a> Batches<'a> {
    /// The minibatches of `epoch` by the given strategy: [`Batches::sequential`] or [`Batches::random`].
    ///
    /// # Errors
    ///
    /// [`Error::Zero`], [`Error::BatchOverflow`], [`Error::CorpusTooShort`].
    pub fn new(
        sampling: Sampling,
        corpus: impl Into<Ids<'a>>,
        batch_size: usize,
        num_steps: usize,
        seed: u64,
        epoch: u64,
    ) -> Result<Self> {
        match sampling {
            Sampling::Sequential => Self::sequential(corpus, batch_size, num_steps, seed, epoch),
            Sampling::Random => Self::random(corpus, batch_size, num_steps, seed, epoch),
        }
    }

    /// The minibatches of `epoch` by sequential partitioning. Seed and epoch decide the offset.
    ///
    /// The offset is drawn from `0..=T`. From there on, the corpus is split into N rows of equal length. Minibatch `i`
    /// has steps `i * T` to `(i + 1) * T` of every row.
    ///
    /// # Errors
    ///
    /// [`Error::Zero`], [`Error::BatchOverflow`], [`Error::CorpusTooShort`].
    pub fn sequential(
        corpus: impl Into<Ids<'a>>,
        batch_size: usize,
        num_steps: usize,
        seed: u64,
        epoch: u64,
    ) -> Result<Self> {
        let corpus = corpus.into();
        check_sizes(corpus.len(), batch_size, num_steps)?;
        let offset = SplitMix64::with_index(seed, epoch).below(num_steps as u64 + 1) as usize;
        let row_length = (corpus.len() - offset - 1) / batch_size;
        let num_minibatches = row_length / num_steps;
        let row_starts = RowStarts::Sequential { row_length };
        Ok(Self { corpus, batch_size, num_steps, offset, num_minibatches, row_starts, first_steps: None })
    }

    /// The minibatches of `epoch` by random sampling. Seed and epoch decide the offset and the order.
    ///
    /// The offset is drawn from `0..T`. From there on, the corpus is split into subsequences of T tokens, which are
    /// shuffled. Each minibatch takes the next N of them.
    ///
    /// # Errors
    ///
    /// [`Error::Zero`], [`Error::BatchOverflow`], [`Error::CorpusTooShort`].
    pub fn random(
        corpus: impl Into<Ids<'a>>,
        batch_size: usize,
        num_steps: usize,
        seed: u64,
        epoch: u64,
    ) -> Result<Self> {
        let corpus = corpus.into();
        check_sizes(corpus.len(), batch_size, num_steps)?;
        let mut rng = SplitMix64::with_index(seed, epoch);
        let offset = rng.below(num_steps as u64) as usize;
        let num_subsequences = (corpus.len() - offset - 1) / num_steps;
        let mut starts: Vec<usize> = (0..num_subsequences).map(|index| offset + index * num_steps).collect();
        rng.shuffle(&mut starts);
        let num_minibatches = num_subsequences / batch_size;
        let row_starts = RowStarts::Random(starts);
        Ok(Self { corpus, batch_size, num_steps, offset, num_minibatches, row_starts, first_steps: None })
    }

    /// The minibatches of `epoch` over documents, by sequential partitioning. Seed and epoch decide the order of the
    /// documents, or with `shuffle: false` the offset.
    ///
    /// The documents form a stream: the end token, then each document with its end token. So the first token of each
    /// document is predicted from an end token. The stream is split into N adjacent rows of equal length, a multiple of T.
    /// As in [`Batches::sequential`], each row continues in the next minibatch. The stream is not stored: its order takes
    /// 8 bytes a document.
    ///
    /// An epoch leaves out up to N·T - 1 tokens that do not fill a minibatch. If the documents are shuffled, these are at
    /// the end of the stream, which differs between epochs. In the order of the text, the offset is drawn from all that
    /// give the same number of minibatches, so every token is used in some epochs.
    ///
    /// ```
    /// use rnnlm_vocab::{Batches, Corpus, CorpusOptions, Documents};
    ///
    /// let options = CorpusOptions { documents: Documents::Lines, ..CorpusOptions::default() };
    /// let corpus = Corpus::from_bytes(b"ada\ngrace\nmary\nannie\n", &options)?;
    /// let documents = corpus.document_set(0..corpus.documents.len()).unwrap();
    /// let (batch_size, num_steps, seed, epoch, shuffle) = (1, 10, 0, 0, true);
    /// for minibatch in Batches::documents(documents, batch_size, num_steps, seed, epoch, shuffle)? {
    ///     println!("{:?}", corpus.vocab.decode(&minibatch.inputs)?);
    /// }
    /// # Ok::<(), rnnlm_vocab::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Zero`], [`Error::BatchOverflow`], [`Error::CorpusTooShort`].
    pub fn documents(
        documents: DocumentSet<'a>,
        batch_size: usize,
        num_steps: usize,
        seed: u64,
        epoch: u64,
        shuffle: bool,
    ) -> Result<Self> {
        let num_tokens = documents.num_tokens();
        check_sizes(num_tokens, batch_size, num_steps)?;
        let mut rng = SplitMix64::with_index(seed, epoch);
        // the stream has one token more than the corpus, and so has as many inputs as the corpus has tokens
        let num_minibatches = num_tokens / (batch_size * num_steps);
        let row_length = num_minibatches * num_steps;
        let left_out = num_tokens - batch_size * row_length;
        let (stream, offset) = match shuffle {
            true => (DocumentStream::shuffled(documents, &mut rng), 0),
            false => (DocumentStream::in_order(documents), rng.below(left_out as u64 + 1) as usize),
        };
        let row_starts = RowStarts::Documents { row_length, stream };
        let corpus = Ids::Memory(&[]); // the stream has the ids
        Ok(Self { corpus, batch_size, num_steps, offset, num_minibatches, row_starts, first_steps: None })
    }

    /// Number of minibatches in the epoch, at least 1.
    pub fn num_minibatches(&self) -> usize {
        self.num_minibatches
    }

    /// Number of tokens that this epoch skips at the start of the corpus, or of the stream of documents.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Writes minibatch `index` into `minibatch`. Does not allocate.
    ///
    /// # Errors
    ///
    /// [`Error::MinibatchIndex`], [`Error::MinibatchShape`]; those of [`IdSource::read`](crate::IdSource::read) if the ids are
    /// stored.
    pub fn fill(&self, index: usize, minibatch: &mut Minibatch) -> Result<()> {
        let num_minibatches = self.num_minibatches;
        if index >= num_minibatches {
            return Err(Error::MinibatchIndex { index, num_minibatches });
        }
        let expected = (self.batch_size, self.steps(index..index + 1));
        let found = (minibatch.batch_size, minibatch.num_steps);
        let lengths = [minibatch.inputs.len(), minibatch.targets.len()];
        if found != expected || lengths != [expected.0 * expected.1; 2] {
            return Err(Error::MinibatchShape { expected, found });
        }
        for row in 0..self.batch_size {
            let start = self.row_start(index, row);
            let mut writer = RowWriter { minibatch: &mut *minibatch, index: row };
            match &self.row_starts {
                RowStarts::Documents { stream, .. } => writer.write_all(stream.runs(start))?,
                RowStarts::Sequential { .. } | RowStarts::Random(_) => {
                    writer.write_all(std::iter::once(self.corpus.slice(start..self.corpus.len())))?;
                }
            }
        }
        Ok(())
    }

    /// The index in the corpus, or in the stream of documents, where `row` of minibatch `index` starts.
    fn row_start(&self, index: usize, row: usize) -> usize {
        match &self.row_starts {
            RowStarts::Sequential { row_length } | RowStarts::Documents { row_length, .. } => {
                self.offset + row * row_length + self.steps(0..index)
            }
            RowStarts::Random(starts) => starts[index * self.batch_size + row],
        }
    }
}

/// Writes the first T + 1 tokens of a row: its inputs and targets.
struct RowWriter<'a> {
    minibatch: &'a mut Minibatch,
    /// The index of the input of the next token.
    index: usize,
}

impl RowWriter<'_> {
    /// Writes tokens; returns whether the row is complete.
    fn write(&mut self, run: &[u32]) -> bool {
        let Minibatch { inputs, targets, batch_size, .. } = &mut *self.minibatch;
        for &token in run {
            if self.index >= *batch_size {
                targets[self.index - *batch_size] = token;
            }
            if self.index >= inputs.len() {
                return true;
            }
            inputs[self.index] = token;
            self.index += *batch_size;
        }
        false
    }

    fn write_all<'b>(&mut self, runs: impl Iterator<Item = Ids<'b>>) -> Result<()> {
        for run in runs {
            if self.write_ids(run)? {
                break;
            }
        }
        Ok(())
    }

    /// Writes tokens from memory or a store; returns whether the row is complete.
    fn write_ids(&mut self, ids: Ids<'_>) -> Result<bool> {
        if let Ids::Memory(ids) = ids {
            return Ok(self.write(ids));
        }
        let Minibatch { num_steps, batch_size, .. } = *self.minibatch;
        let end = ids.len().min(num_steps + 1 - self.index / batch_size);
        let mut part = [0; 256];
        let mut next = 0;
        while next < end {
            let len = part.len().min(end - next);
            ids.read(next, &mut part[..len])?;
            if self.write(&part[..len]) {
                return Ok(true);
            }
            next += len;
        }
        Ok(false)
    }
}

impl<'a> IntoIterator for Batches<'a> {
    type Item = Minibatch;
    type IntoIter = Minibatches<'a>;

    fn into_iter(self) -> Minibatches<'a> {
        Minibatches { batches: self, next: 0, error: None }
    }
}

/// Iterator over the minibatches of an epoch. It allocates each one; [`Batches::fill`] reuses one buffer instead.
///
/// It ends early if stored ids cannot be read. [`Minibatches::error`] returns the reason.
#[derive(Debug)]
pub struct Minibatches<'a> {
    batches: Batches<'a>,
    next: usize,
    error: Option<Error>,
}

impl Minibatches<'_> {
    /// Why the iterator ended before the last minibatch; `None` if it did not. Ids in memory have no such error.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }
}

impl Iterator for Minibatches<'_> {
    type Item = Minibatch;

    fn next(&mut self) -> Option<Minibatch> {
        if self.next == self.batches.num_minibatches {
            return None;
        }
        let num_steps = self.batches.steps(self.next..self.next + 1);
        let mut minibatch = Minibatch::new(self.batches.batch_size, num_steps);
        if let Err(error) = self.batches.fill(self.next, &mut minibatch) {
            self.error = Some(error);
            self.next = self.batches.num_minibatches;
            return None;
        }
        self.next += 1;
        Some(minibatch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let remaining = self.batches.num_minibatches - self.next;
        (remaining, Some(remaining))
    }
}

impl ExactSizeIterator for Minibatches<'_> {}
