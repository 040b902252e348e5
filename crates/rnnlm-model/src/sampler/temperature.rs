//! The temperature.

use super::{Candidates, Filter, History};
use crate::{Error, Result};

/// Divides the logits by the temperature: `softmax(logits / temperature)`. Below 1, the distribution is sharper; above 1, it is
/// flatter. 0 keeps the most probable token only, which is greedy decoding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    temperature: f64,
}

impl Temperature {
    /// The most probable token only.
    pub(super) const GREEDY: Self = Self { temperature: 0.0 };

    /// The filter with this temperature.
    ///
    /// # Errors
    /// [`Error::Temperature`] if it is negative or not finite.
    pub fn new(temperature: f64) -> Result<Self> {
        let is_valid = temperature.is_finite() && temperature >= 0.0;
        is_valid.then_some(Self { temperature }).ok_or(Error::Temperature(temperature))
    }
}

impl Filter for Temperature {
    fn apply(&self, _history: &History, candidates: &mut Candidates) {
        if self.temperature > 0.0 {
            candidates.divide(self.temperature);
        } else if let Some(id) = candidates.most_probable() {
            candidates.keep(&[id]);
        }
    }

    fn truncates(&self) -> bool {
        false
    }
}
