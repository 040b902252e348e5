//! The log-probabilities that a model gives to tokens.

use std::cmp::Ordering;

/// The log-softmax of a row of logits: `ln p = logit − ln Σ exp(logit)`, before any filter.
#[derive(Clone, Copy, Debug)]
pub struct LogProbabilities<'a> {
    logits: &'a [f32],
    normalizer: f64,
}

impl<'a> LogProbabilities<'a> {
    /// The log-probabilities for the logits of all tokens.
    pub fn new(logits: &'a [f32]) -> Self {
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let total: f64 = logits.iter().map(|&logit| libm::exp(f64::from(logit) - largest)).sum();
        Self { logits, normalizer: largest + libm::log(total) }
    }

    /// The natural logarithm of the probability of a token below V.
    pub fn of(&self, id: u32) -> f64 {
        f64::from(self.logits[id as usize]) - self.normalizer
    }

    /// The `k` most probable tokens, in descending order. Of equally probable tokens, the smaller id is first.
    pub fn top(&self, k: usize) -> Vec<(u32, f64)> {
        let mut ids: Vec<u32> = (0..self.logits.len() as u32).collect();
        let order = |&a: &u32, &b: &u32| -> Ordering {
            self.logits[b as usize].total_cmp(&self.logits[a as usize]).then(a.cmp(&b))
        };
        if k < ids.len() {
            ids.select_nth_unstable_by(k, order);
            ids.truncate(k);
        }
        ids.sort_unstable_by(order);
        ids.into_iter().map(|id| (id, self.of(id))).collect()
    }
}
