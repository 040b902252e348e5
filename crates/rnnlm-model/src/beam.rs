//! Beam search: the most probable continuations of a prefix.
//!
//! A continuation of `L` tokens `y₁ … y_L` has the score of the book's section on beam search (9.8 in the Chinese edition, 10.8
//! in the current English one):
//!
//! ```text
//! score = 1/L^α · Σ ln P(y_t | y₁ … y_{t−1}, prefix)
//! ```
//!
//! `α` is the length penalty: 0 compares probabilities, 1 compares mean log-probabilities per token, and the book uses 0.75.
//! `L` counts the end token of a document. Each step extends all hypotheses of the beam by all tokens, and keeps the most
//! probable ones. A hypothesis is finished when its document ends, when its constraint is complete, or at the limit of tokens.

use std::cmp::Ordering;

use rnnlm_rnn::Recurrence;

use crate::constraint::Constraint;
use crate::continuation::Finish;
use crate::decoder::{StepBatch, check_prefix};
use crate::sampler::{Candidates, LogProbabilities};
use crate::{Error, LanguageModel, Result};

/// The settings of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamSettings {
    /// Hypotheses that are kept at each step, at least 1.
    pub beam_size: usize,
    /// Continuations that are returned, at most.
    pub num_results: usize,
    /// **α**, at least 0.
    pub length_penalty: f64,
    /// The limit of tokens of a continuation, without the end token.
    pub max_tokens: usize,
    /// Tokens that no continuation has.
    pub banned: Vec<u32>,
}

/// A continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// The tokens, without the end token.
    pub ids: Vec<u32>,
    /// The log-probability of each of the tokens.
    pub log_probabilities: Vec<f64>,
    /// The log-probability of the continuation, with that of its end token.
    pub log_probability: f64,
    /// `log_probability / L^α`.
    pub score: f64,
    /// Why it ends.
    pub finish: Finish,
    /// Whether it matches the constraint.
    pub is_match: bool,
}

/// Searches for the most probable continuations.
///
/// ```
/// use rnnlm_model::beam::BeamSettings;
/// use rnnlm_model::{BeamSearch, Cpu, ExecutionPath, Init, LanguageModel, ModelConfig};
///
/// let mut model = LanguageModel::new(&Cpu::new(1)?, &ModelConfig::book(5), ExecutionPath::Auto)?;
/// model.initialize(Init::Uniform, 0)?;
/// let settings = BeamSettings { beam_size: 4, num_results: 2, length_penalty: 0.75, max_tokens: 3, banned: vec![0] };
/// let results = BeamSearch::new(&model, settings)?.search(&[1, 2], None)?;
/// assert!(results.len() == 2 && results[0].score >= results[1].score);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BeamSearch<'a, B: Recurrence> {
    model: &'a LanguageModel<B>,
    settings: BeamSettings,
    end_token: Option<u32>,
}

/// A hypothesis that is not finished, with the row of its state.
#[derive(Clone, Debug)]
struct Open {
    ids: Vec<u32>,
    log_probabilities: Vec<f64>,
    log_probability: f64,
    constraint: Option<Constraint>,
}

/// A hypothesis and its next token.
#[derive(Clone, Copy, Debug)]
struct Extension {
    /// Index in the beam.
    parent: usize,
    id: u32,
    log_probability: f64,
    /// That of the whole continuation.
    total: f64,
}

impl<'a, B: Recurrence> BeamSearch<'a, B> {
    /// A search with these settings.
    ///
    /// # Errors
    /// [`Error::BidirectionalGeneration`] for a bidirectional model; [`Error::Setting`] for an invalid setting.
    pub fn new(model: &'a LanguageModel<B>, settings: BeamSettings) -> Result<Self> {
        let BeamSettings { beam_size, length_penalty, .. } = settings;
        if model.config().bidirectional {
            return Err(Error::BidirectionalGeneration);
        }
        if beam_size == 0 {
            return Err(Error::setting("beam_size", beam_size, "at least 1"));
        }
        if !(length_penalty.is_finite() && length_penalty >= 0.0) {
            return Err(Error::setting("length_penalty", length_penalty, "finite and at least 0"));
        }
        Ok(Self { model, settings, end_token: None })
    }

    /// Ends a continuation at this token: the end token of the vocabulary. It also starts a document where it is read.
    #[must_use]
    pub fn with_end_token(self, end_token: Option<u32>) -> Self {
        Self { end_token, ..self }
    }

    /// The continuations of `prefix` with the largest scores, in descending order. Of equal scores, the one that was found
    /// first is first: of two continuations of the same length, the one with the smaller ids.
    ///
    /// # Errors
    /// [`Error::EmptyPrefix`]; if an id is not below **V**; or if the device fails or has not enough memory.
    pub fn search(&mut self, prefix: &[u32], constraint: Option<Constraint>) -> Result<Vec<Hypothesis>> {
        check_prefix(prefix, self.model.config().vocab_size)?;
        let backend = self.model.backend().clone();
        backend.run(|| self.search_rows(prefix, constraint))
    }

    fn search_rows(&self, prefix: &[u32], constraint: Option<Constraint>) -> Result<Vec<Hypothesis>> {
        let mut batch = StepBatch::new(self.model, 1)?;
        for &id in prefix {
            if Some(id) == self.end_token {
                batch.reset_row(0)?;
            }
            batch.step(&[id], true)?;
        }
        let mut finished = Vec::new();
        let start = Open { ids: Vec::new(), log_probabilities: Vec::new(), log_probability: 0.0, constraint };
        let mut beam = self.close_complete(vec![(0, start)], &mut finished);
        while !beam.is_empty() && !self.is_final(&beam, &finished) {
            let extensions = self.extensions(&beam, &batch);
            let mut next = Vec::with_capacity(self.settings.beam_size);
            for (rank, extension) in extensions.into_iter().enumerate() {
                let (_, parent) = &beam[extension.parent];
                if Some(extension.id) != self.end_token {
                    next.push((extension.parent, parent.extended(extension)));
                } else if rank < self.settings.beam_size {
                    finished.push(self.finish(parent.extended(extension), Finish::Document));
                }
                if next.len() == self.settings.beam_size {
                    break;
                }
            }
            beam = self.close_complete(next, &mut finished);
            if !beam.is_empty() {
                let parents: Vec<usize> = beam.iter().map(|(parent, _)| *parent).collect();
                batch.rearrange(parents.len(), &parents)?;
                let last: Vec<u32> = beam.iter().filter_map(|(_, open)| open.ids.last().copied()).collect();
                batch.step(&last, true)?;
            }
        }
        self.sort(&mut finished);
        finished.truncate(self.settings.num_results);
        Ok(finished)
    }

    /// Moves the hypotheses that cannot be extended to `finished`.
    fn close_complete(&self, beam: Vec<(usize, Open)>, finished: &mut Vec<Hypothesis>) -> Vec<(usize, Open)> {
        let mut rest = Vec::with_capacity(beam.len());
        for (parent, open) in beam {
            if open.ids.len() == self.settings.max_tokens {
                finished.push(self.finish(open, Finish::Length));
            } else if open.constraint.as_ref().is_some_and(Constraint::is_complete) {
                finished.push(self.finish(open, Finish::Stop));
            } else {
                rest.push((parent, open));
            }
        }
        rest
    }

    /// All hypotheses with one more token, the most probable ones first. Ties are in the order of the beam, then of ids.
    fn extensions(&self, beam: &[(usize, Open)], batch: &StepBatch<'_, B>) -> Vec<Extension> {
        let mut extensions = Vec::new();
        for (parent, (_, open)) in beam.iter().enumerate() {
            let logits = batch.logits().row(parent);
            let log_probabilities = LogProbabilities::new(logits);
            let mut candidates = Candidates::new(logits);
            self.settings.banned.iter().for_each(|&id| candidates.remove(id));
            if let Some(constraint) = &open.constraint {
                constraint.restrict(&mut candidates);
            }
            let ids = (0..logits.len() as u32).filter(|&id| candidates.contains(id));
            extensions.extend(ids.map(|id| {
                let log_probability = log_probabilities.of(id);
                Extension { parent, id, log_probability, total: open.log_probability + log_probability }
            }));
        }
        let order = |a: &Extension, b: &Extension| -> Ordering {
            b.total.total_cmp(&a.total).then(a.parent.cmp(&b.parent)).then(a.id.cmp(&b.id))
        };
        // each hypothesis has at most one extension that ends it
        let needed = 2 * self.settings.beam_size;
        if needed < extensions.len() {
            extensions.select_nth_unstable_by(needed, order);
            extensions.truncate(needed);
        }
        extensions.sort_unstable_by(order);
        extensions
    }

    /// Whether no extension of the beam can be among the results.
    fn is_final(&self, beam: &[(usize, Open)], finished: &[Hypothesis]) -> bool {
        let BeamSettings { num_results, length_penalty, max_tokens, .. } = self.settings;
        if finished.len() < num_results {
            return false;
        }
        let mut scores: Vec<f64> = finished.iter().map(|hypothesis| hypothesis.score).collect();
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        let worst = scores[..num_results].last().copied().unwrap_or(f64::INFINITY);
        // a total only decreases, and is divided by at most the length with an end token
        let longest = libm::pow((max_tokens + 1) as f64, length_penalty);
        beam.iter().all(|(_, open)| open.log_probability / longest < worst)
    }

    fn finish(&self, open: Open, finish: Finish) -> Hypothesis {
        let Open { mut ids, mut log_probabilities, log_probability, constraint } = open;
        let length = ids.len().max(1) as f64;
        if finish == Finish::Document {
            ids.pop();
            log_probabilities.pop();
        }
        Hypothesis {
            ids,
            log_probabilities,
            log_probability,
            score: log_probability / libm::pow(length, self.settings.length_penalty),
            finish,
            is_match: constraint.is_none_or(|constraint| constraint.is_match()),
        }
    }

    fn sort(&self, finished: &mut [Hypothesis]) {
        finished.sort_by(|a, b| b.score.total_cmp(&a.score));
    }
}

impl Open {
    fn extended(&self, extension: Extension) -> Self {
        let Extension { id, log_probability, total, .. } = extension;
        let mut constraint = self.constraint.clone();
        if let Some(constraint) = &mut constraint {
            constraint.advance(id);
        }
        Self {
            ids: [&self.ids[..], &[id]].concat(),
            log_probabilities: [&self.log_probabilities[..], &[log_probability]].concat(),
            log_probability: total,
            constraint,
        }
    }
}
