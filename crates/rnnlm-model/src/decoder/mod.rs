//! Decoding of many texts as one batch: each has a slot, and a free slot can be given to the next text at any step.
//!
//! ```text
//! step       1     2     3     4     5
//! slot 0     p₁    p₂    a₁    a₂    a₃      reads its prefix p₁ p₂, then each generated token
//! slot 1     p₁    b₁    ■     p₁    c₁      ■ released; then admitted: the state of the row is zero
//! ```
//!
//! A step is one forward pass of all rows. A row's result does not depend on the other rows, and each text has a sampler of
//! its own, so its tokens are the same bits in every batch.

mod batch;

use rayon::prelude::*;
use rnnlm_rnn::Recurrence;

use crate::constraint::Constraint;
use crate::sampler::{LogProbabilities, Sampler};
use crate::{Error, LanguageModel, Result};

pub(crate) use self::batch::StepBatch;

/// The number of logits of a step from which the rows choose their tokens in parallel.
const PARALLEL_MIN_LOGITS: usize = 1 << 10;

/// A text to generate.
#[derive(Clone, Debug)]
pub struct Request {
    /// The tokens that are read first, at least one.
    pub prefix: Vec<u32>,
    /// Chooses the tokens of this text.
    pub sampler: Sampler,
    /// The number of most probable tokens that are reported with the log-probability of each token; `None` reports no
    /// log-probabilities, which saves time.
    pub logprobs: Option<usize>,
}

/// Identifies a text in a decoder. It is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u64);

/// A generated token.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedToken {
    /// Its id.
    pub id: u32,
    /// The natural logarithm of the probability that the model gives it, before any filter, if requested.
    pub log_probability: Option<f64>,
    /// The most probable tokens and their log-probabilities, in descending order, as many as requested.
    pub alternatives: Vec<(u32, f64)>,
    /// Whether the text matches the sampler's constraint after this token; `true` without a constraint.
    pub is_match: bool,
    /// Whether the constraint allows no further token.
    pub is_complete: bool,
}

/// Generates many texts at a time.
///
/// ```
/// use rnnlm_model::{Cpu, Decoder, ExecutionPath, Init, LanguageModel, ModelConfig, Request, Sampler};
///
/// let mut model = LanguageModel::new(&Cpu::new(1)?, &ModelConfig::book(5), ExecutionPath::Auto)?;
/// model.initialize(Init::Uniform, 0)?;
/// let max_slots = 8;
/// let mut decoder = Decoder::new(&model, max_slots)?;
/// let request = |seed| Ok::<_, rnnlm_model::Error>(Request {
///     prefix: vec![1, 2],
///     sampler: Sampler::new(1.0, seed)?,
///     logprobs: None,
/// });
/// let first = decoder.admit(request(0)?)?;
/// let second = decoder.admit(request(1)?)?;
/// assert!(decoder.step()?.is_empty()); // the first step reads the first token of both prefixes
/// let tokens = decoder.step()?;
/// assert_eq!(tokens.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [first, second]);
/// decoder.release(first)?;
/// assert_eq!(decoder.num_active(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Decoder<'a, B: Recurrence> {
    model: &'a LanguageModel<B>,
    batch: StepBatch<'a, B>,
    /// The texts, in the order of the batch's rows.
    rows: Vec<Row>,
    max_slots: usize,
    next_slot: u64,
    end_token: Option<u32>,
}

/// A text that is being generated.
#[derive(Debug)]
struct Row {
    slot: Slot,
    request: Request,
    /// The number of tokens of the prefix that were read.
    num_read: usize,
    /// The last generated token.
    last: u32,
}

impl<'a, B: Recurrence> Decoder<'a, B> {
    /// A decoder for at most `max_slots` texts at a time, at least 1. Memory is allocated as slots are used.
    ///
    /// # Errors
    /// [`Error::BidirectionalGeneration`] for a bidirectional model; otherwise if the device has not enough memory.
    pub fn new(model: &'a LanguageModel<B>, max_slots: usize) -> Result<Self> {
        if model.config().bidirectional {
            return Err(Error::BidirectionalGeneration);
        }
        let batch = StepBatch::new(model, 1)?;
        Ok(Self { model, batch, rows: Vec::new(), max_slots: max_slots.max(1), next_slot: 0, end_token: None })
    }

    /// Starts a document from the zero state wherever this token is read: the end token of the vocabulary.
    #[must_use]
    pub fn with_end_token(self, end_token: Option<u32>) -> Self {
        Self { end_token, ..self }
    }

    /// The number of texts that are being generated.
    pub fn num_active(&self) -> usize {
        self.rows.len()
    }

    /// Whether a text can be admitted.
    pub fn has_free_slot(&self) -> bool {
        self.rows.len() < self.max_slots
    }

    /// Starts a text from the zero state. It takes part in the next step.
    ///
    /// # Errors
    /// [`Error::NoFreeSlot`]; [`Error::EmptyPrefix`]; if an id of the prefix is not below **V**; or if the device fails or
    /// has not enough memory.
    pub fn admit(&mut self, mut request: Request) -> Result<Slot> {
        if !self.has_free_slot() {
            return Err(Error::NoFreeSlot { slots: self.max_slots });
        }
        check_prefix(&request.prefix, self.model.config().vocab_size)?;
        let row = self.rows.len();
        if row == self.batch.batch_size() {
            let sources: Vec<usize> = (0..row).collect();
            self.batch.rearrange((2 * row).min(self.max_slots), &sources)?;
        }
        self.batch.reset_row(row)?;
        request.sampler.begin(self.end_token);
        let slot = Slot(self.next_slot);
        self.next_slot += 1;
        self.rows.push(Row { slot, request, num_read: 0, last: 0 });
        Ok(slot)
    }

    /// Ends a text and frees its slot. Returns whether the slot was in use.
    ///
    /// # Errors
    /// If the device fails.
    pub fn release(&mut self, slot: Slot) -> Result<bool> {
        let Some(row) = self.rows.iter().position(|row| row.slot == slot) else { return Ok(false) };
        self.rows.swap_remove(row);
        let moved = self.rows.len();
        if row < moved {
            self.batch.copy_row(moved, row)?;
        }
        Ok(true)
    }

    /// Reads one token in every text, and returns the next token of those that have read their prefix, in the order in which
    /// the texts were admitted.
    ///
    /// # Errors
    /// [`Error::NoCandidates`] if a sampler removes all tokens; otherwise if the device fails.
    pub fn step(&mut self) -> Result<Vec<(Slot, DecodedToken)>> {
        let backend = self.model.backend().clone();
        backend.run(|| self.step_rows())
    }

    fn step_rows(&mut self) -> Result<Vec<(Slot, DecodedToken)>> {
        if self.rows.is_empty() {
            return Ok(Vec::new());
        }
        self.shrink()?;
        let mut inputs = Vec::with_capacity(self.rows.len());
        for (index, row) in self.rows.iter_mut().enumerate() {
            let input = row.next_input();
            if Some(input) == self.end_token {
                self.batch.reset_row(index)?;
            }
            inputs.push(input);
        }
        let generates = |row: &Row| row.num_read >= row.request.prefix.len();
        self.batch.step(&inputs, self.rows.iter().any(generates))?;
        let logits = self.batch.logits();
        let choose =
            |(index, row): (usize, &mut Row)| generates(row).then(|| Ok((row.slot, row.choose(logits.row(index))?)));
        let mut tokens: Vec<(Slot, DecodedToken)> =
            if self.rows.len() * self.model.config().vocab_size < PARALLEL_MIN_LOGITS {
                self.rows.iter_mut().enumerate().filter_map(choose).collect::<Result<_>>()?
            } else {
                self.rows.par_iter_mut().enumerate().filter_map(choose).collect::<Result<_>>()?
            };
        tokens.sort_unstable_by_key(|(slot, _)| *slot);
        Ok(tokens)
    }

    /// Releases the memory of a batch that is mostly empty.
    fn shrink(&mut self) -> Result<()> {
        let num_rows = self.rows.len();
        if 4 * num_rows <= self.batch.batch_size() {
            let sources: Vec<usize> = (0..num_rows).collect();
            self.batch.rearrange(num_rows.next_power_of_two(), &sources)?;
        }
        Ok(())
    }
}

impl Row {
    /// The next token to read: of the prefix, then the last generated one.
    fn next_input(&mut self) -> u32 {
        let Some(&id) = self.request.prefix.get(self.num_read) else { return self.last };
        self.num_read += 1;
        self.request.sampler.read_prefix(id);
        id
    }

    /// Chooses the next token.
    fn choose(&mut self, logits: &[f32]) -> Result<DecodedToken> {
        let Request { sampler, logprobs, .. } = &mut self.request;
        let id = sampler.choose(logits)?;
        self.last = id;
        let log_probabilities = logprobs.map(|count| (LogProbabilities::new(logits), count));
        Ok(DecodedToken {
            id,
            log_probability: log_probabilities.map(|(log_probabilities, _)| log_probabilities.of(id)),
            alternatives: log_probabilities.map_or_else(Vec::new, |(log_probabilities, k)| log_probabilities.top(k)),
            is_match: sampler.constraint().is_none_or(Constraint::is_match),
            is_complete: sampler.is_complete(),
        })
    }
}

/// An error unless there is a prefix, and every id is below `vocab_size`.
pub(crate) fn check_prefix(prefix: &[u32], vocab_size: usize) -> Result<()> {
    match prefix.iter().find(|&&id| id as usize >= vocab_size) {
        _ if prefix.is_empty() => Err(Error::EmptyPrefix),
        Some(&id) => Err(rnnlm_vocab::Error::IdOutOfRange { id, vocab_size }.into()),
        None => Ok(()),
    }
}
