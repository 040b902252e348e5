//! Filters that keep the most probable tokens.

use super::{Candidates, Filter, History};
use crate::{Error, Result};

/// Keeps the `k` most probable tokens.
///
/// Source: A. Fan, M. Lewis, Y. Dauphin, "Hierarchical Neural Story Generation", ACL 2018, section 5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopK {
    k: usize,
}

/// Keeps the most probable tokens until their probabilities sum to at least `p`, with the token that reaches `p`.
///
/// Source: A. Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020, section 3.1 (nucleus sampling).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopP {
    p: f64,
}

/// Keeps the tokens with at least `min_p` times the probability of the most probable token.
///
/// Source: M. Nguyen et al., "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs", ICLR 2025.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinP {
    min_p: f64,
}

impl TopK {
    /// The filter that keeps `k` tokens.
    ///
    /// # Errors
    /// [`Error::Setting`] if `k` is 0.
    pub fn new(k: usize) -> Result<Self> {
        (k > 0).then_some(Self { k }).ok_or(Error::setting("top_k", k, "at least 1"))
    }
}

impl TopP {
    /// The filter that keeps a probability of `p`; 1 keeps all tokens.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 < p ≤ 1`.
    pub fn new(p: f64) -> Result<Self> {
        (p > 0.0 && p <= 1.0).then_some(Self { p }).ok_or(Error::setting("top_p", p, "above 0 and at most 1"))
    }
}

impl MinP {
    /// The filter for `min_p`; 0 keeps all tokens.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 ≤ min_p ≤ 1`.
    pub fn new(min_p: f64) -> Result<Self> {
        (0.0..=1.0).contains(&min_p).then_some(Self { min_p }).ok_or(Error::setting("min_p", min_p, "between 0 and 1"))
    }
}

impl Filter for TopK {
    fn apply(&self, _history: &History, candidates: &mut Candidates) {
        let kept = candidates.largest(self.k);
        candidates.keep(&kept);
    }
}

impl Filter for TopP {
    fn apply(&self, _history: &History, candidates: &mut Candidates) {
        if self.p >= 1.0 {
            return;
        }
        let mut ids = candidates.by_logit();
        let weights = candidates.weights();
        keep_until(&mut ids, weights, self.p);
        candidates.keep(&ids);
    }
}

impl Filter for MinP {
    fn apply(&self, _history: &History, candidates: &mut Candidates) {
        // the weight of the most probable token is 1
        let weights = candidates.weights().to_vec();
        candidates.retain(|id| weights[id as usize] >= self.min_p);
    }
}

/// Shortens `ids` after the first one at which the sum of probabilities is at least `p`.
pub(super) fn keep_until(ids: &mut Vec<u32>, weights: &[f64], p: f64) {
    let threshold = p * weights.iter().sum::<f64>();
    let mut sum = 0.0;
    let reaches = |&id: &u32| {
        sum += weights[id as usize];
        sum >= threshold
    };
    if let Some(last) = ids.iter().position(reaches) {
        ids.truncate(last + 1);
    }
}
