//! The tokens that may come next.

use crate::SplitMix64;

/// The logit of a removed token.
pub(super) const REMOVED: f64 = f64::NEG_INFINITY;

/// The logits of all tokens, in id order. A removed token has the logit −∞.
#[derive(Clone, Debug)]
pub struct Candidates {
    logits: Vec<f64>,
    /// The divisor of the logits that is not applied to them yet.
    divisor: f64,
    weights: Vec<f64>,
}

impl Candidates {
    /// All tokens, with the logits of a model.
    pub fn new(logits: &[f32]) -> Self {
        let mut candidates = Self { logits: Vec::new(), divisor: 1.0, weights: Vec::new() };
        candidates.load(logits);
        candidates
    }

    /// Replaces the content by all tokens with these logits.
    pub(super) fn load(&mut self, logits: &[f32]) {
        self.logits.clear();
        self.logits.extend(logits.iter().copied().map(f64::from));
        self.divisor = 1.0;
    }

    /// Number of tokens, removed ones included: V.
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary is never empty")]
    pub fn len(&self) -> usize {
        self.logits.len()
    }

    /// The logits in id order.
    pub fn logits_mut(&mut self) -> &mut [f64] {
        if self.divisor != 1.0 {
            let divisor = self.divisor;
            self.logits.iter_mut().for_each(|logit| *logit /= divisor);
            self.divisor = 1.0;
        }
        &mut self.logits
    }

    /// Divides all logits by `divisor`, above 0. The division is applied to differences of logits, as in
    /// `exp((logit − max) / divisor)`.
    pub fn divide(&mut self, divisor: f64) {
        self.logits_mut();
        self.divisor = divisor;
    }

    /// Whether the token is a candidate.
    pub fn contains(&self, id: u32) -> bool {
        self.logits.get(id as usize).is_some_and(|&logit| logit != REMOVED)
    }

    /// Removes a token.
    pub fn remove(&mut self, id: u32) {
        if let Some(logit) = self.logits.get_mut(id as usize) {
            *logit = REMOVED;
        }
    }

    /// Removes all tokens except these.
    pub fn keep(&mut self, ids: &[u32]) {
        let kept: Vec<(usize, f64)> = ids.iter().map(|&id| (id as usize, self.logits[id as usize])).collect();
        self.logits.fill(REMOVED);
        kept.into_iter().for_each(|(id, logit)| self.logits[id] = logit);
    }

    /// Removes the tokens for which `is_kept` is false.
    pub fn retain(&mut self, mut is_kept: impl FnMut(u32) -> bool) {
        let logits = self.logits.iter_mut().enumerate();
        logits.filter(|(id, _)| !is_kept(*id as u32)).for_each(|(_, logit)| *logit = REMOVED);
    }

    /// The candidates, by descending logit, and by id where logits are equal.
    pub fn by_logit(&self) -> Vec<u32> {
        let mut ids = self.ids();
        ids.sort_unstable_by(|&a, &b| self.logits[b as usize].total_cmp(&self.logits[a as usize]).then(a.cmp(&b)));
        ids
    }

    /// The `k` candidates with the largest logits, in no order. Of equal logits, those with the smallest ids.
    pub(super) fn largest(&self, k: usize) -> Vec<u32> {
        let mut ids = self.ids();
        if k < ids.len() {
            ids.select_nth_unstable_by(k, |&a, &b| {
                self.logits[b as usize].total_cmp(&self.logits[a as usize]).then(a.cmp(&b))
            });
            ids.truncate(k);
        }
        ids
    }

    fn ids(&self) -> Vec<u32> {
        (0..self.len() as u32).filter(|&id| self.contains(id)).collect()
    }

    /// The token with the largest logit, the one with the smallest id of equal ones; `None` if all are removed.
    pub fn most_probable(&self) -> Option<u32> {
        let better = |best: usize, (id, &logit): (usize, &f64)| if logit > self.logits[best] { id } else { best };
        let best = self.logits.iter().enumerate().fold(0, better);
        self.contains(best as u32).then_some(best as u32)
    }

    /// Numbers in proportion to the probabilities: `exp(logit − max)`, and 0 for removed tokens.
    pub fn weights(&mut self) -> &[f64] {
        let largest = self.most_probable().map_or(0.0, |id| self.logits[id as usize]);
        let divisor = self.divisor;
        let weight = |&logit: &f64| if logit == REMOVED { 0.0 } else { libm::exp((logit - largest) / divisor) };
        self.weights.clear();
        self.weights.extend(self.logits.iter().map(weight));
        &self.weights
    }

    /// The probabilities, the softmax of the logits: 0 for removed tokens.
    pub fn probabilities(&mut self) -> Vec<f64> {
        let weights = self.weights();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    }

    /// Draws a token with its probability, with one random number; `None` if all are removed.
    pub fn draw(&mut self, rng: &mut SplitMix64) -> Option<u32> {
        let most_probable = self.most_probable()?;
        let weights = self.weights();
        let total: f64 = weights.iter().sum();
        // 53 random bits give a uniform multiple of 2⁻⁵³ in [0, 1)
        let mut left = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * total;
        let is_chosen = |weight: &f64| {
            left -= weight;
            left < 0.0
        };
        Some(weights.iter().position(is_chosen).map_or(most_probable, |id| id as u32))
    }
}
