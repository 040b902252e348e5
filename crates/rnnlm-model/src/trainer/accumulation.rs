//! Gradient accumulation: an update follows the mean gradient of several minibatches.
//!
//! ```text
//! g = (g_1 + … + g_N) / N        g_i: the gradient of minibatch i, with the same parameters
//! ```
//!
//! Groups of **N** minibatches begin with each epoch; the last one of an epoch has what remains. Within rounding, `g` is the
//! gradient of a minibatch with the rows of all of them.

use rnnlm_rnn::{ParameterLayout, ParameterSet, Recurrence};
use rnnlm_tensor::ops;

use crate::{Result, TrainConfig};

/// The sum of the gradients of a group so far.
#[derive(Debug)]
pub(super) struct Accumulation<B: Recurrence> {
    sum: ParameterSet<B>,
}

/// Whether the parameters are updated after minibatch `index` of an epoch of `num_minibatches`; 0 if that is unknown.
pub(super) fn is_update(accumulate: u64, index: usize, num_minibatches: usize) -> bool {
    let done = index + 1;
    (done as u64).is_multiple_of(accumulate) || done == num_minibatches
}

impl<B: Recurrence> Accumulation<B> {
    /// `None` for a single minibatch.
    pub(super) fn new(backend: &B, config: &TrainConfig, layout: &ParameterLayout) -> Result<Option<Self>> {
        let sum = || ParameterSet::zeros(backend, layout);
        Ok((config.accumulate > 1).then(sum).transpose()?.map(|sum| Self { sum }))
    }

    /// The sum.
    pub(super) fn sum(&self) -> &ParameterSet<B> {
        &self.sum
    }

    /// The sum, mutable.
    pub(super) fn sum_mut(&mut self) -> &mut ParameterSet<B> {
        &mut self.sum
    }

    /// Adds the gradient of a minibatch. At the end of a group of `count`, `gradients` becomes the mean and the sum zero.
    pub(super) fn add(&mut self, backend: &B, gradients: &mut ParameterSet<B>, count: Option<usize>) -> Result<()> {
        ops::axpy(backend, 1.0, gradients.flat(), self.sum.flat_mut())?;
        let Some(count) = count else { return Ok(()) };
        ops::fill(backend, 0.0, gradients.flat_mut())?;
        ops::axpy(backend, 1.0 / count as f32, self.sum.flat(), gradients.flat_mut())?;
        Ok(ops::fill(backend, 0.0, self.sum.flat_mut())?)
    }
}
