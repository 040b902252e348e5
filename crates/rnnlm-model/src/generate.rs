//! Text generation: the model reads a prefix, then each generated token is the next input. This is `predict_ch8` of the book.

use rnnlm_rnn::{Recurrence, State};
use rnnlm_vocab::Minibatch;

use crate::rng::SplitMix64;
use crate::{Error, LanguageModel, Result, Workspace};

/// How the next token is chosen from the logits.
#[derive(Clone, Debug)]
pub enum Sampler {
    /// The most probable token; among equals, the one with the smallest id.
    Greedy,
    /// A sample from `softmax(logits / temperature)`.
    Temperature {
        /// Below 1, the distribution is sharper; above 1, it is flatter.
        temperature: f64,
        /// The source of randomness.
        rng: SplitMix64,
    },
}

impl Sampler {
    /// Greedy for temperature 0, otherwise sampling with the given seed.
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

    /// Chooses an id below `logits.len()`.
    fn choose(&mut self, logits: &[f32]) -> u32 {
        let most_probable = || {
            let better = |best: usize, (id, logit): (usize, &f32)| if *logit > logits[best] { id } else { best };
            logits.iter().enumerate().fold(0, better)
        };
        let id = match self {
            Self::Greedy => most_probable(),
            Self::Temperature { temperature, rng } => {
                let largest = f64::from(logits[most_probable()]);
                let weight = |logit: &f32| libm::exp((f64::from(*logit) - largest) / *temperature);
                let total: f64 = logits.iter().map(weight).sum();
                // 53 random bits give a uniform multiple of 2⁻⁵³ in [0, 1)
                let mut left = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * total;
                let is_chosen = |logit: &f32| {
                    left -= weight(logit);
                    left < 0.0
                };
                logits.iter().position(is_chosen).unwrap_or_else(most_probable)
            }
        };
        id as u32
    }
}

/// A model that generates text, with its recurrent state.
#[derive(Debug)]
pub struct Generator<'a, B: Recurrence> {
    model: &'a LanguageModel<B>,
    workspace: Workspace<B>,
    state: State<B>,
    step: Minibatch,
    logits: Vec<f32>,
    end_token: Option<u32>,
}

impl<'a, B: Recurrence> Generator<'a, B> {
    /// A generator in the zero state.
    ///
    /// # Errors
    /// [`Error::BidirectionalGeneration`] for a bidirectional model; otherwise if the device has not enough memory.
    pub fn new(model: &'a LanguageModel<B>) -> Result<Self> {
        if model.config().bidirectional {
            return Err(Error::BidirectionalGeneration);
        }
        Ok(Self {
            model,
            workspace: model.workspace(1, 1)?,
            state: model.zero_state(1)?,
            step: Minibatch::new(1, 1),
            logits: vec![0.0; model.config().vocab_size],
            end_token: None,
        })
    }

    /// Starts a document from the zero state wherever this token is read: the end token of the vocabulary.
    #[must_use]
    pub fn with_end_token(self, end_token: Option<u32>) -> Self {
        Self { end_token, ..self }
    }

    /// Reads one token and returns the logits of the next one.
    ///
    /// # Errors
    /// If the id is not below **V**, or the device fails.
    pub fn read(&mut self, id: u32) -> Result<&[f32]> {
        let backend = self.model.backend();
        if Some(id) == self.end_token {
            self.state.reset(backend)?;
        }
        self.step.inputs[0] = id;
        self.workspace.load(backend, &self.step)?;
        self.model.forward(&mut self.workspace, &mut self.state)?;
        let logits = self.model.logits(&mut self.workspace, 0..1)?;
        backend.read(logits.buffer, 0, &mut self.logits)?;
        Ok(&self.logits)
    }

    /// The probability of every token after those that were read: `softmax` of the logits, **V** values.
    pub fn distribution(&self) -> Vec<f64> {
        let largest = f64::from(self.logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let weights: Vec<f64> = self.logits.iter().map(|&logit| libm::exp(f64::from(logit) - largest)).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }

    /// Reads `prefix`, then generates `num_tokens` tokens and calls `emit` with each. Stops if `emit` returns `false`.
    ///
    /// # Errors
    /// [`Error::EmptyPrefix`] if the prefix is empty; otherwise if an id is not below **V**, or the device fails.
    pub fn generate(
        &mut self,
        prefix: &[u32],
        num_tokens: usize,
        sampler: &mut Sampler,
        emit: &mut (dyn FnMut(u32) -> bool + Send),
    ) -> Result<()> {
        let backend = self.model.backend().clone();
        backend.run(|| {
            if prefix.is_empty() {
                return Err(Error::EmptyPrefix);
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
    fn greedy_takes_the_largest_logit_and_the_first_of_equals() {
        assert_eq!(Sampler::Greedy.choose(&[0.0, 2.0, 1.0, 2.0]), 1);
        assert_eq!(Sampler::Greedy.choose(&[-5.0]), 0);
    }

    #[test]
    fn samples_follow_the_softmax_of_the_logits_over_the_temperature() {
        // softmax([0, ln 3]) = [1/4, 3/4]; at temperature 0.5 the odds are squared: [1/10, 9/10]
        for (temperature, expected) in [(1.0, 0.75), (0.5, 0.9)] {
            let mut sampler = Sampler::new(temperature, 3).unwrap();
            let ones = (0..20_000).filter(|_| sampler.choose(&[0.0, 3.0_f32.ln()]) == 1).count();
            // three standard deviations of a binomial frequency with 20,000 samples are below 0.01
            assert!((ones as f64 / 20_000.0 - expected).abs() < 0.01, "{ones} at {temperature}");
        }
    }

    #[test]
    fn negative_and_non_finite_temperatures_are_refused() {
        assert!(matches!(Sampler::new(-1.0, 0), Err(Error::Temperature(t)) if t == -1.0));
        assert!(Sampler::new(f64::NAN, 0).is_err());
    }
}
