//! A chain with its randomness and its history.

use std::sync::Arc;

use super::{Candidates, Chain, History, Temperature};
use crate::constraint::Constraint;
use crate::{Error, Result, SplitMix64};

/// Chooses the tokens of one text.
#[derive(Clone, Debug)]
pub struct Sampler {
    chain: Arc<Chain>,
    rng: SplitMix64,
    excluded: Option<u32>,
    /// A document starts where it is read or generated.
    end_token: Option<u32>,
    constraint: Option<Constraint>,
    /// The tokens of the current document. Empty unless the chain needs it.
    history: History,
    candidates: Candidates,
}

impl Sampler {
    /// Samples from `softmax(logits / temperature)` with the given seed; greedy for temperature 0.
    ///
    /// # Errors
    /// [`Error::Temperature`] if it is negative or not finite.
    pub fn new(temperature: f64, seed: u64) -> Result<Self> {
        let filter = Temperature::new(temperature)?;
        let chain = if temperature == 0.0 { Chain::greedy() } else { Chain::new().with(filter) };
        Ok(Self::from_chain(chain, SplitMix64::new(seed)))
    }

    /// The most probable token; among equals, the one with the smallest id.
    pub fn greedy() -> Self {
        Self::from_chain(Chain::greedy(), SplitMix64::new(0))
    }

    /// Draws from what a chain makes of the logits. Each token takes one random number.
    pub fn from_chain(chain: impl Into<Arc<Chain>>, rng: SplitMix64) -> Self {
        Self {
            chain: chain.into(),
            rng,
            excluded: None,
            end_token: None,
            constraint: None,
            history: History::default(),
            candidates: Candidates::new(&[]),
        }
    }

    /// Never chooses this token, such as `<unk>`. If no filter truncates and the token is drawn, another one is drawn with the
    /// next random number, so tokens differ from those without this setting only after the excluded token was drawn.
    #[must_use]
    pub fn without(self, excluded: Option<u32>) -> Self {
        Self { excluded, ..self }
    }

    /// Chooses only tokens that the constraint allows.
    #[must_use]
    pub fn with_constraint(self, constraint: Option<Constraint>) -> Self {
        Self { constraint, ..self }
    }

    /// Whether the constraint allows no further token.
    pub fn is_complete(&self) -> bool {
        self.constraint.as_ref().is_some_and(Constraint::is_complete)
    }

    /// The constraint, in the state after the tokens so far.
    pub fn constraint(&self) -> Option<&Constraint> {
        self.constraint.as_ref()
    }

    /// Starts a text without history. Penalties do not count the tokens before an end token.
    pub(crate) fn begin(&mut self, end_token: Option<u32>) {
        self.end_token = end_token;
        self.history.clear();
    }

    /// Counts a token of the prefix for penalties.
    pub(crate) fn read_prefix(&mut self, id: u32) {
        self.count(id, History::push_prefix);
    }

    fn count(&mut self, id: u32, push: impl FnOnce(&mut History, u32)) {
        if Some(id) == self.end_token {
            self.history.clear();
        } else if self.chain.needs_history() {
            push(&mut self.history, id);
        }
    }

    /// Chooses an id below `logits.len()`, and counts it for penalties.
    ///
    /// # Errors
    /// [`Error::NoCandidates`] if all tokens are removed.
    pub fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        let chosen = if self.chain.is_greedy() && self.constraint.is_none() {
            most_probable(logits, self.excluded)
        } else {
            self.draw(logits)
        };
        let id = chosen.ok_or(Error::NoCandidates)?;
        self.count(id, History::push_generated);
        if let Some(constraint) = &mut self.constraint {
            constraint.advance(id);
        }
        Ok(id)
    }

    /// Draws an id with the probability that the chain gives it.
    fn draw(&mut self, logits: &[f32]) -> Option<u32> {
        let redraws = self.constraint.is_none() && !self.chain.truncates();
        self.filter(logits, !redraws);
        let mut chosen = self.candidates.draw(&mut self.rng);
        if redraws && chosen.is_some() && chosen == self.excluded {
            self.filter(logits, true);
            chosen = self.candidates.draw(&mut self.rng);
        }
        chosen
    }

    /// The probability of each token to be chosen next.
    pub fn distribution(&mut self, logits: &[f32]) -> Vec<f64> {
        self.filter(logits, true);
        self.candidates.probabilities()
    }

    /// Applies the chain to the logits.
    fn filter(&mut self, logits: &[f32], removes_excluded: bool) {
        let Self { chain, excluded, constraint, history, candidates, .. } = self;
        candidates.load(logits);
        if let (Some(id), true) = (*excluded, removes_excluded) {
            candidates.remove(id);
        }
        if let Some(constraint) = constraint {
            constraint.restrict(candidates);
        }
        chain.apply(history, candidates);
    }
}

/// The token with the largest logit, the one with the smallest id of equal ones.
fn most_probable(logits: &[f32], excluded: Option<u32>) -> Option<u32> {
    let candidates = logits.iter().zip(0..).filter(|&(_, id)| Some(id) != excluded);
    candidates.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_largest_logit_and_the_first_of_equals() {
        assert_eq!(Sampler::greedy().choose(&[0.0, 2.0, 1.0, 2.0]).unwrap(), 1);
        assert_eq!(Sampler::greedy().choose(&[-5.0]).unwrap(), 0);
        assert_eq!(Sampler::greedy().without(Some(1)).choose(&[0.0, 2.0, 1.0, 1.0]).unwrap(), 2);
        assert_eq!(Sampler::greedy().without(Some(0)).choose(&[9.0, 2.0, 1.0, 2.0]).unwrap(), 1);
    }

    #[test]
    fn samples_follow_the_softmax_of_the_logits_over_the_temperature() {
        // softmax([0, ln 3]) = [1/4, 3/4]; at temperature 0.5 the odds are squared: [1/10, 9/10]
        for (temperature, expected) in [(1.0, 0.75), (0.5, 0.9)] {
            let mut sampler = Sampler::new(temperature, 3).unwrap();
            let ones = (0..20_000).filter(|_| sampler.choose(&[0.0, 3.0_f32.ln()]).unwrap() == 1).count();
            // three standard deviations of a binomial frequency with 20,000 samples are below 0.01
            assert!((ones as f64 / 20_000.0 - expected).abs() < 0.01, "{ones} at {temperature}");
        }
    }

    #[test]
    fn negative_and_non_finite_temperatures_are_refused() {
        assert!(matches!(Sampler::new(-1.0, 0), Err(Error::Temperature(t)) if t == -1.0));
        assert!(Sampler::new(f64::NAN, 0).is_err());
    }

    #[test]
    fn an_excluded_token_changes_tokens_only_after_it_was_drawn() {
        let logits = [0.5, 1.0, -0.5, 0.0];
        let tokens = |seed, excluded| {
            let mut sampler = Sampler::new(1.0, seed).unwrap().without(excluded);
            (0..200).map(|_| sampler.choose(&logits).unwrap()).collect::<Vec<_>>()
        };
        let mut num_equal = 0;
        for seed in 0..50 {
            let (all, others) = (tokens(seed, None), tokens(seed, Some(2)));
            let first = all.iter().position(|&id| id == 2).unwrap();
            assert_eq!(all[..first], others[..first]);
            assert!(!others.contains(&2) && all != others);
            num_equal += first;
        }
        assert!(num_equal > 200, "{num_equal}");
    }

    #[test]
    fn a_chain_that_removes_all_tokens_is_an_error() {
        let mut sampler = Sampler::greedy().without(Some(0));
        assert!(matches!(sampler.choose(&[1.0]), Err(Error::NoCandidates)));
    }
}
