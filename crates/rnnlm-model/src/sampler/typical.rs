//! Typical sampling.

use super::truncation::keep_until;
use super::{Candidates, Filter, History};
use crate::{Error, Result};

/// Keeps the tokens whose information content `−ln p` is closest to the entropy of the distribution, until their
/// probabilities sum to at least `mass`, with the token that reaches it.
///
/// Source: C. Meister et al., "Locally Typical Sampling", TACL 2023, section 4.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Typical {
    mass: f64,
}

impl Typical {
    /// The filter that keeps a probability of `mass`; 1 keeps all tokens.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 < mass ≤ 1`.
    pub fn new(mass: f64) -> Result<Self> {
        (mass > 0.0 && mass <= 1.0).then_some(Self { mass }).ok_or(Error::setting(
            "typical",
            mass,
            "above 0 and at most 1",
        ))
    }
}

impl Filter for Typical {
    fn apply(&self, _history: &History, candidates: &mut Candidates) {
        if self.mass >= 1.0 {
            return;
        }
        let probabilities = candidates.probabilities();
        let information: Vec<f64> = probabilities.iter().map(|&p| -libm::log(p)).collect();
        let mut ids: Vec<u32> = (0..candidates.len() as u32).filter(|&id| probabilities[id as usize] > 0.0).collect();
        let entropy: f64 = ids.iter().map(|&id| probabilities[id as usize] * information[id as usize]).sum();
        let distance = |id: u32| (information[id as usize] - entropy).abs();
        ids.sort_unstable_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
        keep_until(&mut ids, &probabilities, self.mass);
        candidates.keep(&ids);
    }
}
