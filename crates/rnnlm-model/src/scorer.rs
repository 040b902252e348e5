//! Scoring of documents: the log-probability of every token, many documents at a time.
//!
//! ```text
//! documents  d₁ … dₙ           each is predicted from the zero state and a context token
//! rows       d₁ d₄ │ d₂ │ d₃ d₅ longest first, each to the row with the fewest tokens
//! chunks     T steps of N rows  one forward pass each; the state starts anew where a document starts
//! ```
//!
//! A row's result does not depend on the other rows, and a state that starts anew has the bits of the zero state, so the
//! scores of a document are the same bits in every group.

mod rows;

use std::ops::{ControlFlow, Range};

use rnnlm_rnn::{Recurrence, State};
use rnnlm_tensor::View;
use rnnlm_vocab::{Ids, Minibatch};

use self::rows::{Rows, Sequence};
use crate::{Error, LanguageModel, Result, Workspace};

/// The most documents that are scored at a time by default.
pub(crate) const DEFAULT_BATCH_SIZE: usize = 64;
/// Steps of a chunk with a single row: enough for an efficient output matmul, few enough for the cache.
pub(crate) const MAX_STEPS: usize = 128;
/// Rows of a chunk, `T·N`, that fill the cache: with more rows, a chunk has fewer steps.
pub(crate) const CHUNK_ROWS: usize = 1024;
/// [`Scorer::score_all`] collects documents up to this many tokens, and then scores them as a group.
const GROUP_TOKENS: usize = 1 << 16;

/// The score of one token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenScore {
    /// The token.
    pub id: u32,
    /// The natural logarithm of the token's probability, given the tokens before it.
    pub log_probability: f32,
    /// What [`Scorer::with_details`] adds.
    pub details: Option<TokenDetails>,
}

/// A token among all tokens that the model could have expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenDetails {
    /// 1 for the most probable token. Of equally probable tokens, the smaller id is first.
    pub rank: u32,
    /// The entropy of the predicted distribution, `−Σ p ln p`, in nats.
    pub entropy: f64,
}

/// Computes the log-probability of every token of documents.
///
/// ```
/// use rnnlm_model::{Cpu, ExecutionPath, Init, LanguageModel, ModelConfig, Scorer};
///
/// let vocab_size = 5;
/// let mut model = LanguageModel::new(&Cpu::new(1)?, &ModelConfig::book(vocab_size), ExecutionPath::Auto)?;
/// model.initialize(Init::Uniform, 0)?;
/// let context = 0;
/// let mut total = [0.0; 2];
/// Scorer::new(&model)?.score(context, &[&[1, 2, 3, 0], &[4, 0]], &mut |document, score| {
///     total[document] += f64::from(score.log_probability);
/// })?;
/// assert!(total[0] < 0.0 && total[1] < 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scorer<'a, B: Recurrence> {
    model: &'a LanguageModel<B>,
    max_batch_size: usize,
    has_details: bool,
    /// The memory of the last chunk, for the next one of the same size.
    chunk: Option<Chunk<B>>,
}

impl<'a, B: Recurrence> Scorer<'a, B> {
    /// A scorer for at most 64 documents at a time.
    ///
    /// # Errors
    /// [`Error::BidirectionalScoring`] for a bidirectional model, which reads the token that it predicts.
    pub fn new(model: &'a LanguageModel<B>) -> Result<Self> {
        if model.config().bidirectional {
            return Err(Error::BidirectionalScoring);
        }
        Ok(Self::of_any(model))
    }

    /// Like [`Scorer::new`], also for a bidirectional model, whose scores are no probabilities of the text.
    pub(crate) fn of_any(model: &'a LanguageModel<B>) -> Self {
        Self { model, max_batch_size: DEFAULT_BATCH_SIZE, has_details: false, chunk: None }
    }

    /// Limits the documents that are scored at a time, at least 1. The limit does not affect scores.
    #[must_use]
    pub fn with_batch_size(self, documents: usize) -> Self {
        Self { max_batch_size: documents.max(1), ..self }
    }

    /// Adds [`TokenDetails`] to every score. Reading the logits takes time.
    #[must_use]
    pub fn with_details(self) -> Self {
        Self { has_details: true, ..self }
    }

    /// Scores all tokens of `documents`. Each document is predicted from the zero state and the token `context`. Calls `emit`
    /// with the index of a document and the score of its next token; documents alternate.
    ///
    /// # Errors
    /// If an id is not below **V**, or the device fails.
    pub fn score(
        &mut self,
        context: u32,
        documents: &[&[u32]],
        emit: &mut (dyn FnMut(usize, TokenScore) + Send),
    ) -> Result<()> {
        let sequences = documents.iter().map(|&tokens| Sequence { context, tokens: tokens.into() }).collect();
        self.score_sequences(sequences, emit)
    }

    /// [`Scorer::score`] for documents that can be stored. Their ids are read as they are needed.
    ///
    /// # Errors
    /// As [`Scorer::score`], or if ids cannot be read.
    pub fn score_ids(
        &mut self,
        context: u32,
        documents: &[Ids<'_>],
        emit: &mut (dyn FnMut(usize, TokenScore) + Send),
    ) -> Result<()> {
        self.score_sequences(documents.iter().map(|&tokens| Sequence { context, tokens }).collect(), emit)
    }

    /// Scores every token of a stream after its first one, in blocks of `block_size` tokens, at least 1. Each block is
    /// predicted from the zero state and the token before it, and not from anything earlier: nanoGPT evaluates a text like
    /// this, where `block_size` is the length of the model's context. Calls `emit` with the index of a block and the score of
    /// its next token; blocks alternate.
    ///
    /// # Errors
    /// If there are fewer than two ids, an id is not below **V**, ids cannot be read, or the device fails.
    pub fn score_blocks(
        &mut self,
        ids: Ids<'_>,
        block_size: usize,
        emit: &mut (dyn FnMut(usize, TokenScore) + Send),
    ) -> Result<()> {
        if ids.len() < 2 {
            return Err(Error::NothingToScore { tokens: ids.len() });
        }
        let block_size = block_size.max(1);
        let mut blocks = Vec::with_capacity(ids.len().div_ceil(block_size));
        for start in (1..ids.len()).step_by(block_size) {
            let mut context = [0];
            ids.read(start - 1, &mut context)?;
            let tokens = ids.slice(start..ids.len().min(start + block_size));
            blocks.push(Sequence { context: context[0], tokens });
        }
        self.score_sequences(blocks, emit)
    }

    fn score_sequences(
        &mut self,
        sequences: Vec<Sequence<'_>>,
        emit: &mut (dyn FnMut(usize, TokenScore) + Send),
    ) -> Result<()> {
        let backend = self.model.backend().clone();
        backend.run(|| self.score_rows(Rows::new(sequences, self.max_batch_size), emit))
    }

    /// Scores documents of any number in groups of some ten thousand tokens, so that the memory depends on the longest
    /// document, not on their number. Calls `emit` with each document and the scores of its tokens, in order, until it
    /// returns [`ControlFlow::Break`].
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn score_all<D: AsRef<[u32]>>(
        &mut self,
        context: u32,
        documents: impl IntoIterator<Item = D>,
        mut emit: impl FnMut(D, Vec<TokenScore>) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut documents = documents.into_iter().peekable();
        while documents.peek().is_some() {
            let mut tokens = 0;
            let mut group = Vec::new();
            while let Some(document) = documents.next_if(|_| tokens < GROUP_TOKENS) {
                tokens += document.as_ref().len();
                group.push(document);
            }
            let ids: Vec<&[u32]> = group.iter().map(AsRef::as_ref).collect();
            let mut scores: Vec<Vec<TokenScore>> = ids.iter().map(|ids| Vec::with_capacity(ids.len())).collect();
            self.score(context, &ids, &mut |document, score| scores[document].push(score))?;
            if group.into_iter().zip(scores).try_for_each(|(document, scores)| emit(document, scores)).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn score_rows(&mut self, mut rows: Rows<'_>, emit: &mut dyn FnMut(usize, TokenScore)) -> Result<()> {
        let batch_size = rows.batch_size();
        let max_steps = (CHUNK_ROWS / batch_size).clamp(1, MAX_STEPS);
        let mut state = self.model.zero_state(batch_size)?;
        let mut first = 0;
        while first < rows.num_steps {
            let remaining = rows.num_steps - first;
            let num_steps = match batch_size {
                1 => remaining.min(max_steps),
                // powers of two, so that groups of similar documents use the same memory; steps after the end do nothing
                _ => rows.num_steps.next_power_of_two().min(max_steps),
            };
            // frees the memory of another size before the next is allocated
            let reused = self.chunk.take().filter(|chunk| chunk.size() == [num_steps, batch_size]);
            let chunk = self.chunk.insert(match reused {
                Some(chunk) => chunk,
                None => Chunk::new(self.model, [num_steps, batch_size])?,
            });
            rows.fill(&mut chunk.minibatch, &mut chunk.documents, &mut chunk.starts)?;
            chunk.run(self.model, &mut state, first == 0, self.has_details)?;
            chunk.emit(emit);
            first += num_steps;
        }
        Ok(())
    }
}

/// The memory of a chunk of `T` steps of `N` rows.
#[derive(Debug)]
struct Chunk<B: Recurrence> {
    workspace: Workspace<B>,
    minibatch: Minibatch,
    /// The document of each target; `None` after the last document of a row.
    documents: Vec<Option<usize>>,
    /// Whether the document starts with this target.
    starts: Vec<bool>,
    /// The negative log-probability of each target.
    losses: Vec<f32>,
    /// Empty unless requested.
    details: Vec<TokenDetails>,
}

impl<B: Recurrence> Chunk<B> {
    fn new(model: &LanguageModel<B>, [num_steps, batch_size]: [usize; 2]) -> Result<Self> {
        let rows = num_steps * batch_size;
        Ok(Self {
            workspace: model.workspace(num_steps, batch_size)?,
            minibatch: Minibatch::new(batch_size, num_steps),
            documents: vec![None; rows],
            starts: vec![false; rows],
            losses: vec![0.0; rows],
            details: Vec::new(),
        })
    }

    /// `[T, N]`.
    fn size(&self) -> [usize; 2] {
        [self.minibatch.num_steps, self.minibatch.batch_size]
    }

    /// The forward pass and the losses, from `state`, which is zero in the first chunk.
    fn run(&mut self, model: &LanguageModel<B>, state: &mut State<B>, is_first: bool, has_details: bool) -> Result<()> {
        let Self { workspace, minibatch, starts, losses, details, .. } = self;
        let backend = model.backend();
        // the state before the first step is zero anyway, and some devices are faster without starts
        let first_step = if is_first { minibatch.batch_size } else { 0 };
        let has_starts = starts[first_step..].contains(&true);
        workspace.set_starts(backend, has_starts.then_some(starts))?;
        workspace.load(backend, minibatch)?;
        model.forward(workspace, state)?;
        details.clear();
        let mut describe = |rows: Range<usize>, logits: View<'_, B>| {
            let width = logits.shape()[1];
            let logits = logits.to_vec(backend)?;
            let targets = &minibatch.targets[rows];
            details.extend(logits.chunks_exact(width).zip(targets).map(|(row, &target)| TokenDetails::of(row, target)));
            Ok(())
        };
        model.target_losses(workspace, has_details.then_some(&mut describe))?;
        Ok(backend.read(workspace.losses.view().buffer, 0, losses)?)
    }

    /// Calls `emit` with every score, step by step.
    fn emit(&self, emit: &mut dyn FnMut(usize, TokenScore)) {
        let targets = self.minibatch.targets.iter().zip(&self.losses);
        for (index, (document, (&id, &loss))) in self.documents.iter().zip(targets).enumerate() {
            if let &Some(document) = document {
                let details = self.details.get(index).copied();
                emit(document, TokenScore { id, log_probability: -loss, details });
            }
        }
    }
}

impl TokenDetails {
    /// The details of `target`, given the logits of all tokens.
    fn of(logits: &[f32], target: u32) -> Self {
        let target = target as usize;
        let own = logits[target];
        let is_before = |&(id, logit): &(usize, &f32)| *logit > own || (*logit == own && id < target);
        let rank = 1 + logits.iter().enumerate().filter(is_before).count() as u32;
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let [mut sum, mut weighted] = [0.0; 2];
        for &logit in logits {
            let difference = f64::from(logit) - largest;
            let weight = libm::exp(difference);
            sum += weight;
            // 0 · −∞ counts as 0
            weighted += if weight > 0.0 { weight * difference } else { 0.0 };
        }
        Self { rank, entropy: libm::log(sum) - weighted / sum }
    }
}
