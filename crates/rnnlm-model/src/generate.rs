//! Decoding: one token at a time, each fed back as the next input. The book's `predict_ch8`: the prefix warms the state
//! up, then the model speaks.

use rnnlm_rnn::{Recurrence, State};
use rnnlm_vocab::Minibatch;

use crate::rng::SplitMix64;
use crate::{Error, LanguageModel, Result, Workspace};

/// How the next token is chosen from the logits.
#[derive(Clone, Debug)]
pub enum Sampler {
    /// The likeliest token; of equals the one with the smaller id.
    Greedy,
    /// A draw from `softmax(logits / temperature)`.
    Temperature {
        /// Below 1 bolder towards the likeliest, above 1 flatter.
        temperature: f64,
        /// Where the draws come from.
        rng: SplitMix64,
    },
}

impl Sampler {
    /// Greedy for temperature 0, else draws with the given seed.
    ///
    /// # Errors
    /// [`Error::Temperature`] if it is negative or not finite.
    pub fn new(temperature: f64, seed: u64) -> Result<Self> {
        match temperature {
            0.0 => Ok(Self::Greedy),
            t if t.is_finite() && t > 0.0 => Ok(Self::Temperature { temperature, rng: SplitMix64::new(seed) }),
            t => Err(Error::Temperature(t)),
        }
    }

    /// An id below `logits.len()`.
    fn choose(&mut self, logits: &[f32]) -> u32 {
        let likeliest = || {
            let better = |best: usize, (id, logit): (usize, &f32)| if *logit > logits[best] { id } else { best };
            logits.iter().enumerate().fold(0, better)
        };
        let id = match self {
            Self::Greedy => likeliest(),
            Self::Temperature { temperature, rng } => {
                let largest = f64::from(logits[likeliest()]);
                let weight = |logit: &f32| ((f64::from(*logit) - largest) / *temperature).exp();
                let total: f64 = logits.iter().map(weight).sum();
                // 53 random bits make every double of [0, 1) that is a multiple of 2^−53
                let mut left = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * total;
                let below = |logit: &f32| {
                    left -= weight(logit);
                    left < 0.0
                };
                logits.iter().position(below).unwrap_or_else(likeliest)
            }
        };
        id as u32
    }
}

/// A model that has read a prefix and goes on from there.
#[derive(Debug)]
pub struct Generator<'a, B: Recurrence> {
    model: &'a LanguageModel<B>,
    workspace: Workspace<B>,
    state: State<B>,
    step: Minibatch,
    logits: Vec<f32>,
}

impl<'a, B: Recurrence> Generator<'a, B> {
    /// From the zero state.
    ///
    /// # Errors
    /// [`Error::GenerateBothWays`] for a bidirectional model; else if the device has no room.
    pub fn new(model: &'a LanguageModel<B>) -> Result<Self> {
        if model.config().bidirectional {
            return Err(Error::GenerateBothWays);
        }
        Ok(Self {
            model,
            workspace: model.workspace(1, 1)?,
            state: model.zero_state(1)?,
            step: Minibatch::new(1, 1),
            logits: vec![0.0; model.config().vocab_size],
        })
    }

    /// Reads one token and leaves the logits of the next.
    ///
    /// # Errors
    /// If the id is outside the vocabulary, or the device fails.
    pub fn read(&mut self, id: u32) -> Result<&[f32]> {
        let backend = self.model.backend();
        self.step.inputs[0] = id;
        self.workspace.load(backend, &self.step)?;
        self.model.forward(&mut self.workspace, &mut self.state)?;
        let logits = self.model.logits(&mut self.workspace, 0..1)?;
        backend.read(logits.buffer, 0, &mut self.logits)?;
        Ok(&self.logits)
    }

    /// Warms up on `prefix`, then calls `emit` with each of `num_tokens` further tokens as it is chosen, until `emit`
    /// says `false`.
    ///
    /// # Errors
    /// If the prefix is empty (there is nothing to go on from), an id is outside the vocabulary, or the device fails.
    pub fn generate(
        &mut self,
        prefix: &[u32],
        num_tokens: usize,
        sampler: &mut Sampler,
        emit: &mut (dyn FnMut(u32) -> bool + Send),
    ) -> Result<()>
    where
        Sampler: Send,
    {
        let backend = self.model.backend().clone();
        backend.run(|| {
            if prefix.is_empty() {
                return Err(Error::NothingToScore { tokens: 0 });
            }
            for &id in prefix {
                self.read(id)?;
            }
            for produced in 1..=num_tokens {
                let id = sampler.choose(&self.logits);
                if !emit(id) {
                    break;
                }
                if produced < num_tokens {
                    self.read(id)?;
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_largest_logit_and_of_equals_the_first() {
        assert_eq!(Sampler::Greedy.choose(&[0.0, 2.0, 1.0, 2.0]), 1);
        assert_eq!(Sampler::Greedy.choose(&[-5.0]), 0);
    }

    #[test]
    fn draws_follow_the_softmax_of_logits_over_temperature() {
        // softmax([0, ln 3]) = [1/4, 3/4]; at temperature 0.5 the odds are squared: [1/10, 9/10]
        for (temperature, share) in [(1.0, 0.75), (0.5, 0.9)] {
            let mut sampler = Sampler::new(temperature, 3).unwrap();
            let ones = (0..20_000).filter(|_| sampler.choose(&[0.0, 3.0_f32.ln()]) == 1).count();
            // three standard deviations of a binomial share at 20,000 draws are below 0.01
            assert!((ones as f64 / 20_000.0 - share).abs() < 0.01, "{ones} at {temperature}");
        }
    }

    #[test]
    fn a_temperature_that_is_no_temperature_is_refused() {
        assert!(matches!(Sampler::new(-1.0, 0), Err(Error::Temperature(t)) if t == -1.0));
        assert!(Sampler::new(f64::NAN, 0).is_err());
    }
}
