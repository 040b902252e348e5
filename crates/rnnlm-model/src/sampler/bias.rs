//! Fixed changes of the logits of some tokens.

use super::{Candidates, Filter, History};
use crate::{Error, Result};

/// Adds a number to the logits of some tokens: `logit[id] += bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogitBias {
    biases: Vec<(u32, f64)>,
}

impl LogitBias {
    /// A bias for each of these tokens.
    ///
    /// # Errors
    /// [`Error::Setting`] if a bias is not finite. [`Ban`] removes a token.
    pub fn new(biases: Vec<(u32, f64)>) -> Result<Self> {
        match biases.iter().find(|(_, bias)| !bias.is_finite()) {
            Some((_, bias)) => Err(Error::setting("logit_bias", bias, "finite")),
            None => Ok(Self { biases }),
        }
    }
}

impl Filter for LogitBias {
    fn apply(&self, _history: &History, candidates: &mut Candidates) {
        let logits = candidates.logits_mut();
        for &(id, bias) in &self.biases {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit += bias;
            }
        }
    }

    fn truncates(&self) -> bool {
        false
    }
}

/// Removes some tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    ids: Vec<u32>,
}

impl Ban {
    /// Removes these tokens.
    pub fn new(ids: Vec<u32>) -> Self {
        Self { ids }
    }
}

impl Filter for Ban {
    fn apply(&self, _history: &History, candidates: &mut Candidates) {
        self.ids.iter().for_each(|&id| candidates.remove(id));
    }

    fn truncates(&self) -> bool {
        false
    }
}
