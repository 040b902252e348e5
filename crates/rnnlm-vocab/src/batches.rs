//! Stage 3 of the walk: minibatches of inputs and targets, cut from a corpus of ids.
//!
//! Both ways of cutting are those of *Dive into Deep Learning*, section 8.3, and both are pure functions of the seed
//! and the epoch: minibatch `index` can be had at any time, which is what lets an interrupted run go on. With **T**
//! `num_steps` and **N** `batch_size`, a minibatch holds T·N inputs and as many targets, the target of an input being
//! the token after it. They are stored time-major: row `n` at step `t` is element `t * N + n`, so that a step is one
//! contiguous block.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rng::SplitMix64;

/// How an epoch cuts a corpus into minibatches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// A row goes on in the next minibatch where it stopped in this one, so that the hidden state can be carried over.
    #[default]
    Sequential,
    /// Every row starts at a place of its own, in random order.
    Random,
}

/// T·N inputs and their targets, time-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minibatch {
    /// Row `n` at step `t` is `inputs[t * batch_size + n]`.
    pub inputs: Vec<u32>,
    /// The token after each input, in the same place.
    pub targets: Vec<u32>,
    /// T.
    pub num_steps: usize,
    /// N.
    pub batch_size: usize,
}

impl Minibatch {
    /// A minibatch of zeros, to be filled.
    ///
    /// # Panics
    ///
    /// When `batch_size * num_steps` ids do not fit the address space; sizes that batches accepted do.
    pub fn new(batch_size: usize, num_steps: usize) -> Self {
        let ids = vec![0; batch_size.saturating_mul(num_steps)];
        Self { inputs: ids.clone(), targets: ids, num_steps, batch_size }
    }
}

/// The minibatches of an epoch whose rows continue from one to the next.
///
/// From an offset drawn from `0..=T`, the corpus is folded into N rows of equal length; minibatch `i` holds steps
/// `i * T` to `(i + 1) * T` of every row.
#[derive(Clone, Debug)]
pub struct SequentialBatches<'a>(Cutter<'a>);

/// The minibatches of an epoch whose rows start anywhere.
///
/// From an offset drawn from `0..T`, the corpus is cut into pieces of T tokens; they are shuffled, and each minibatch
/// takes the next N of them.
#[derive(Clone, Debug)]
pub struct RandomBatches<'a>(Cutter<'a>);

/// The minibatches of an epoch, cut in either way.
#[derive(Clone, Debug)]
pub enum Batches<'a> {
    /// Rows continue.
    Sequential(SequentialBatches<'a>),
    /// Rows start anywhere.
    Random(RandomBatches<'a>),
}

/// What both ways share: everything but where rows start.
#[derive(Clone, Debug)]
struct Cutter<'a> {
    corpus: &'a [u32],
    batch_size: usize,
    num_steps: usize,
    offset: usize,
    num_minibatches: usize,
    starts: Starts,
}

/// Where row `n` of minibatch `i` starts in the corpus.
#[derive(Clone, Debug)]
enum Starts {
    /// At `offset + n * row_length + i * T`.
    Folded { row_length: usize },
    /// At element `i * N + n` of this list.
    Listed(Vec<usize>),
}

impl<'a> SequentialBatches<'a> {
    /// The minibatches of `epoch` under `seed`, which together decide the offset.
    ///
    /// # Errors
    ///
    /// [`Error::Zero`], [`Error::BatchOverflow`], [`Error::CorpusTooShort`].
    pub fn new(corpus: &'a [u32], batch_size: usize, num_steps: usize, seed: u64, epoch: u64) -> Result<Self> {
        check(corpus.len(), batch_size, num_steps)?;
        let offset = SplitMix64::with_index(seed, epoch).below(num_steps as u64 + 1) as usize;
        let row_length = (corpus.len() - offset - 1) / batch_size;
        let (num_minibatches, starts) = (row_length / num_steps, Starts::Folded { row_length });
        Ok(Self(Cutter { corpus, batch_size, num_steps, offset, num_minibatches, starts }))
    }
}

impl<'a> RandomBatches<'a> {
    /// The minibatches of `epoch` under `seed`, which together decide the offset and the order.
    ///
    /// # Errors
    ///
    /// [`Error::Zero`], [`Error::BatchOverflow`], [`Error::CorpusTooShort`].
    pub fn new(corpus: &'a [u32], batch_size: usize, num_steps: usize, seed: u64, epoch: u64) -> Result<Self> {
        check(corpus.len(), batch_size, num_steps)?;
        let mut rng = SplitMix64::with_index(seed, epoch);
        let offset = rng.below(num_steps as u64) as usize;
        let num_pieces = (corpus.len() - offset - 1) / num_steps;
        let mut starts: Vec<usize> = (0..num_pieces).map(|piece| offset + piece * num_steps).collect();
        rng.shuffle(&mut starts);
        let (num_minibatches, starts) = (num_pieces / batch_size, Starts::Listed(starts));
        Ok(Self(Cutter { corpus, batch_size, num_steps, offset, num_minibatches, starts }))
    }
}

impl<'a> Batches<'a> {
    /// The minibatches of `epoch` under `seed`, cut as `sampling` says.
    ///
    /// # Errors
    ///
    /// [`Error::Zero`], [`Error::BatchOverflow`], [`Error::CorpusTooShort`].
    pub fn new(
        sampling: Sampling,
        corpus: &'a [u32],
        batch_size: usize,
        num_steps: usize,
        seed: u64,
        epoch: u64,
    ) -> Result<Self> {
        match sampling {
            Sampling::Sequential => {
                SequentialBatches::new(corpus, batch_size, num_steps, seed, epoch).map(Self::Sequential)
            }
            Sampling::Random => RandomBatches::new(corpus, batch_size, num_steps, seed, epoch).map(Self::Random),
        }
    }

    fn cutter(&self) -> &Cutter<'a> {
        match self {
            Self::Sequential(batches) => &batches.0,
            Self::Random(batches) => &batches.0,
        }
    }

    /// How many minibatches the epoch has, at least 1.
    pub fn num_minibatches(&self) -> usize {
        self.cutter().num_minibatches
    }

    /// How many tokens at the start of the corpus this epoch leaves out.
    pub fn offset(&self) -> usize {
        self.cutter().offset
    }

    /// Writes minibatch `index` into `minibatch` and allocates nothing.
    ///
    /// # Errors
    ///
    /// [`Error::MinibatchIndex`], [`Error::MinibatchShape`].
    pub fn fill(&self, index: usize, minibatch: &mut Minibatch) -> Result<()> {
        self.cutter().fill(index, minibatch)
    }
}

impl SequentialBatches<'_> {
    /// How many minibatches the epoch has, at least 1.
    pub fn num_minibatches(&self) -> usize {
        self.0.num_minibatches
    }

    /// How many tokens at the start of the corpus this epoch leaves out.
    pub fn offset(&self) -> usize {
        self.0.offset
    }

    /// Writes minibatch `index` into `minibatch` and allocates nothing.
    ///
    /// # Errors
    ///
    /// [`Error::MinibatchIndex`], [`Error::MinibatchShape`].
    pub fn fill(&self, index: usize, minibatch: &mut Minibatch) -> Result<()> {
        self.0.fill(index, minibatch)
    }
}

impl RandomBatches<'_> {
    /// How many minibatches the epoch has, at least 1.
    pub fn num_minibatches(&self) -> usize {
        self.0.num_minibatches
    }

    /// How many tokens at the start of the corpus this epoch leaves out.
    pub fn offset(&self) -> usize {
        self.0.offset
    }

    /// Writes minibatch `index` into `minibatch` and allocates nothing.
    ///
    /// # Errors
    ///
    /// [`Error::MinibatchIndex`], [`Error::MinibatchShape`].
    pub fn fill(&self, index: usize, minibatch: &mut Minibatch) -> Result<()> {
        self.0.fill(index, minibatch)
    }
}

impl Cutter<'_> {
    fn fill(&self, index: usize, minibatch: &mut Minibatch) -> Result<()> {
        let (batch_size, num_steps, num_minibatches) = (self.batch_size, self.num_steps, self.num_minibatches);
        if index >= num_minibatches {
            return Err(Error::MinibatchIndex { index, num_minibatches });
        }
        let lengths = [minibatch.inputs.len(), minibatch.targets.len()];
        let (expected, found) = ((batch_size, num_steps), (minibatch.batch_size, minibatch.num_steps));
        if found != expected || lengths != [batch_size * num_steps; 2] {
            return Err(Error::MinibatchShape { expected, found });
        }
        for row in 0..batch_size {
            let start = self.start(index, row);
            let tokens = &self.corpus[start..=start + num_steps];
            for (step, pair) in tokens.windows(2).enumerate() {
                minibatch.inputs[step * batch_size + row] = pair[0];
                minibatch.targets[step * batch_size + row] = pair[1];
            }
        }
        Ok(())
    }

    fn start(&self, index: usize, row: usize) -> usize {
        match &self.starts {
            Starts::Folded { row_length } => self.offset + row * row_length + index * self.num_steps,
            Starts::Listed(starts) => starts[index * self.batch_size + row],
        }
    }
}

/// The minibatches of an epoch in order, each in memory of its own. A training loop saves that memory by calling
/// `fill` instead.
#[derive(Clone, Debug)]
pub struct Minibatches<'a> {
    cutter: Cutter<'a>,
    next: usize,
}

impl Iterator for Minibatches<'_> {
    type Item = Minibatch;

    fn next(&mut self) -> Option<Minibatch> {
        let mut minibatch = Minibatch::new(self.cutter.batch_size, self.cutter.num_steps);
        self.cutter.fill(self.next, &mut minibatch).ok()?; // fails only past the last one
        self.next += 1;
        Some(minibatch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.cutter.num_minibatches - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Minibatches<'_> {}

impl<'a> IntoIterator for SequentialBatches<'a> {
    type Item = Minibatch;
    type IntoIter = Minibatches<'a>;

    fn into_iter(self) -> Minibatches<'a> {
        Minibatches { cutter: self.0, next: 0 }
    }
}

impl<'a> IntoIterator for RandomBatches<'a> {
    type Item = Minibatch;
    type IntoIter = Minibatches<'a>;

    fn into_iter(self) -> Minibatches<'a> {
        Minibatches { cutter: self.0, next: 0 }
    }
}

impl<'a> IntoIterator for Batches<'a> {
    type Item = Minibatch;
    type IntoIter = Minibatches<'a>;

    fn into_iter(self) -> Minibatches<'a> {
        match self {
            Self::Sequential(batches) => batches.into_iter(),
            Self::Random(batches) => batches.into_iter(),
        }
    }
}

/// The fewest tokens that give a minibatch at every offset: N rows of T tokens, an offset of up to T, and the target
/// of the last token.
fn tokens_needed(batch_size: usize, num_steps: usize) -> Option<usize> {
    batch_size.checked_mul(num_steps)?.checked_add(num_steps)?.checked_add(1)
}

fn check(tokens: usize, batch_size: usize, num_steps: usize) -> Result<()> {
    for (name, size) in [("batch_size", batch_size), ("num_steps", num_steps)] {
        if size == 0 {
            return Err(Error::Zero { name });
        }
    }
    let needed = tokens_needed(batch_size, num_steps).ok_or(Error::BatchOverflow { batch_size, num_steps })?;
    if tokens < needed {
        let advice = advice(tokens, num_steps);
        return Err(Error::CorpusTooShort { tokens, batch_size, num_steps, needed, advice });
    }
    Ok(())
}

/// Which sizes a corpus that is too short would do for: from N·T + T + 1 ≤ tokens, first N for the T asked for, then T
/// for N = 1.
fn advice(tokens: usize, num_steps: usize) -> String {
    let most_rows = tokens.saturating_sub(1) / num_steps;
    let most_steps = tokens.saturating_sub(1) / 2;
    match (most_rows, most_steps) {
        (2.., _) => format!("batch_size {} fits", most_rows - 1),
        (_, 1..) => format!("even batch_size 1 does not fit, num_steps {most_steps} would"),
        _ => "no size fits fewer than 3 tokens".to_owned(),
    }
}
