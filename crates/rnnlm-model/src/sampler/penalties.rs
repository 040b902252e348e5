//! Penalties for tokens that occurred already.

use super::{Candidates, Filter, History};
use crate::{Error, Result};

/// Divides the positive logits of tokens that occurred by `penalty`, and multiplies the negative ones by it. Counts the prefix
/// and the generated tokens.
///
/// Source: N. S. Keskar et al., "CTRL: A Conditional Transformer Language Model for Controllable Generation", 2019, section 4.1;
/// for negative logits, Hugging Face's `RepetitionPenaltyLogitsProcessor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RepetitionPenalty {
    penalty: f64,
}

/// Subtracts `penalty` from the logits of tokens that were generated.
///
/// Source: `presence_penalty` of OpenAI's API and of vLLM.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PresencePenalty {
    penalty: f64,
}

/// Subtracts `count · penalty` from the logits of tokens that were generated `count` times.
///
/// Source: `frequency_penalty` of OpenAI's API and of vLLM.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrequencyPenalty {
    penalty: f64,
}

impl RepetitionPenalty {
    /// A penalty above 1 makes repetition less probable, one below 1 more probable.
    ///
    /// # Errors
    /// [`Error::Setting`] unless it is finite and above 0.
    pub fn new(penalty: f64) -> Result<Self> {
        let is_valid = penalty.is_finite() && penalty > 0.0;
        is_valid.then_some(Self { penalty }).ok_or(Error::setting("repetition_penalty", penalty, "finite and above 0"))
    }
}

impl PresencePenalty {
    /// A positive penalty makes repetition less probable, a negative one more probable.
    ///
    /// # Errors
    /// [`Error::Setting`] unless it is finite.
    pub fn new(penalty: f64) -> Result<Self> {
        penalty.is_finite().then_some(Self { penalty }).ok_or(Error::setting("presence_penalty", penalty, "finite"))
    }
}

impl FrequencyPenalty {
    /// A positive penalty makes repetition less probable, a negative one more probable.
    ///
    /// # Errors
    /// [`Error::Setting`] unless it is finite.
    pub fn new(penalty: f64) -> Result<Self> {
        penalty.is_finite().then_some(Self { penalty }).ok_or(Error::setting("frequency_penalty", penalty, "finite"))
    }
}

impl Filter for RepetitionPenalty {
    fn apply(&self, history: &History, candidates: &mut Candidates) {
        let logits = candidates.logits_mut();
        for (id, _) in history.iter() {
            let logit = &mut logits[id as usize];
            *logit = if *logit < 0.0 { *logit * self.penalty } else { *logit / self.penalty };
        }
    }

    fn needs_history(&self) -> bool {
        true
    }

    fn truncates(&self) -> bool {
        false
    }
}

impl Filter for PresencePenalty {
    fn apply(&self, history: &History, candidates: &mut Candidates) {
        let logits = candidates.logits_mut();
        for (id, occurrences) in history.iter() {
            if occurrences.generated > 0 {
                logits[id as usize] -= self.penalty;
            }
        }
    }

    fn needs_history(&self) -> bool {
        true
    }

    fn truncates(&self) -> bool {
        false
    }
}

impl Filter for FrequencyPenalty {
    fn apply(&self, history: &History, candidates: &mut Candidates) {
        let logits = candidates.logits_mut();
        for (id, occurrences) in history.iter() {
            logits[id as usize] -= f64::from(occurrences.generated) * self.penalty;
        }
    }

    fn needs_history(&self) -> bool {
        true
    }

    fn truncates(&self) -> bool {
        false
    }
}
