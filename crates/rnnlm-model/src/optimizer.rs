//! Stage 8, update: clips the gradients and updates the parameters.
//!
//! ```text
//! ‖g‖ = √Σ g²                                  over all parameters
//! factor = min(1, clip / (‖g‖ + 10⁻⁶))         torch.nn.utils.clip_grad_norm_
//! g = min(max(g, −clip_value), clip_value)     torch.nn.utils.clip_grad_value_, instead of the factor
//! w changes by factor·g                        torch.optim, see `rnnlm_tensor::Update`
//! ```

use rnnlm_rnn::ParameterSet;
use rnnlm_tensor::{Backend, Tensor, View, ops};

use crate::report::MAX_LOSS;
use crate::workspace::LossSum;
use crate::{OptimizerConfig, Result, TrainConfig};

/// Gradient clipping, and one of PyTorch's optimizers with its state.
#[derive(Debug)]
pub struct Optimizer<B: Backend> {
    config: OptimizerConfig,
    clip: f32,
    clip_value: f32,
    /// `[1, 1]`: Σ g².
    sum_squares: Tensor<B>,
    /// `[1, 1]`: the factor of clipping by norm; NaN if the update is skipped.
    factor: Tensor<B>,
    /// `[1, 1]`: 1 after a step that was not finite, else 0.
    skipped: Tensor<B>,
    /// `[1, parameters]` each; no columns for a buffer that the optimizer does not have.
    state: [Tensor<B>; 2],
}

/// Whether loss and gradient norm of a step are finite, so that its update is applied. `Backend::skip_nonfinite` decides the
/// same on the device.
pub(crate) fn is_finite_step(loss_sum: f32, targets: usize, sum_squares: f32) -> bool {
    loss_sum.abs() <= max_loss_sum(targets) && sum_squares.is_finite()
}

fn max_loss_sum(targets: usize) -> f32 {
    MAX_LOSS * targets as f32
}

impl<B: Backend> Optimizer<B> {
    /// The optimizer and the clipping of `train`, for `num_parameters` parameters.
    ///
    /// # Errors
    /// If the device has not enough memory.
    pub fn new(backend: &B, train: &TrainConfig, num_parameters: usize) -> Result<Self> {
        let buffer = |index: usize| {
            let len = if index < train.optimizer.num_buffers() { num_parameters } else { 0 };
            Tensor::zeros(backend, 1, len)
        };
        Ok(Self {
            config: train.optimizer,
            clip: train.clip,
            clip_value: train.clip_value,
            sum_squares: Tensor::zeros(backend, 1, 1)?,
            factor: Tensor::from_slice(backend, 1, 1, &[1.0])?,
            skipped: Tensor::zeros(backend, 1, 1)?,
            state: [buffer(0)?, buffer(1)?],
        })
    }

    /// The state buffers, with one value per parameter, under PyTorch's names. `trainer.safetensors` stores them as
    /// `optimizer.NAME`.
    pub fn buffers(&self) -> Vec<(&'static str, &Tensor<B>)> {
        self.names().iter().copied().zip(&self.state).collect()
    }

    /// [`Optimizer::buffers`], mutable.
    pub fn buffers_mut(&mut self) -> Vec<(&'static str, &mut Tensor<B>)> {
        self.names().iter().copied().zip(&mut self.state).collect()
    }

    fn names(&self) -> &'static [&'static str] {
        self.config.rule(0.0, 1).buffers()
    }

    /// Stage 8, update `t`, counted from 1, at learning rate `lr`: gradient norm, clipping, update. Nothing here waits for
    /// the device.
    ///
    /// If the loss or the norm is not finite, this update and all following ones are skipped until
    /// [`Optimizer::resume_updates`].
    pub(crate) fn step(
        &mut self,
        backend: &B,
        lr: f32,
        t: u64,
        loss: LossSum<'_, B>,
        gradients: &mut ParameterSet<B>,
        parameters: &mut ParameterSet<B>,
    ) -> Result<()> {
        self.compute_norm(backend, gradients)?;
        let bound = max_loss_sum(loss.targets);
        let sum_squares = self.sum_squares.view();
        ops::skip_nonfinite(backend, bound, loss.sum, sum_squares, self.skipped.view_mut(), self.factor.view_mut())?;
        self.update(backend, lr, t, gradients, parameters)
    }

    /// Ends the skipping of updates that a step with a non-finite loss or norm started.
    pub(crate) fn resume_updates(&mut self, backend: &B) -> Result<()> {
        Ok(ops::fill(backend, 0.0, self.skipped.view_mut())?)
    }

    /// The global norm of the gradients, before clipping. It determines the factor by which [`Optimizer::update`] clips.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradient_norm(&mut self, backend: &B, gradients: &ParameterSet<B>) -> Result<f32> {
        self.compute_norm(backend, gradients)?;
        let mut sum = [0.0];
        backend.read(self.sum_squares().buffer, 0, &mut sum)?;
        Ok(sum[0].sqrt())
    }

    /// Writes [`Optimizer::sum_squares`] and the factor of clipping by norm.
    fn compute_norm(&mut self, backend: &B, gradients: &ParameterSet<B>) -> Result<()> {
        ops::sum_squares(backend, gradients.flat(), self.sum_squares.view_mut())?;
        let factor = self.factor.view_mut();
        Ok(match self.clip {
            clip if clip > 0.0 => ops::clip_factor(backend, self.sum_squares.view(), clip, factor),
            _ => ops::fill(backend, 1.0, factor),
        }?)
    }

    /// `[1, 1]`: the square of the gradient norm of the last step.
    pub(crate) fn sum_squares(&self) -> View<'_, B> {
        self.sum_squares.view()
    }

    /// Update `t`, counted from 1, at learning rate `lr`: clips by value, or by the norm that [`Optimizer::gradient_norm`]
    /// computed before, and updates the parameters.
    ///
    /// # Errors
    /// If the number of gradients or parameters differs from the optimizer's, or the device fails.
    pub fn update(
        &mut self,
        backend: &B,
        lr: f32,
        t: u64,
        gradients: &mut ParameterSet<B>,
        parameters: &mut ParameterSet<B>,
    ) -> Result<()> {
        if self.clip_value > 0.0 {
            ops::clamp(backend, self.clip_value, gradients.flat_mut())?;
        }
        let rule = self.config.rule(lr, t);
        let state = self.state.each_mut().map(Tensor::view_mut);
        Ok(ops::update(backend, rule, self.factor.view(), gradients.flat(), state, parameters.flat_mut())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_loss_is_the_last_one_with_a_finite_perplexity() {
        assert!(libm::exp(f64::from(MAX_LOSS)).is_finite());
        assert_eq!(libm::exp(f64::from(MAX_LOSS.next_up())), f64::INFINITY);
        assert!(is_finite_step(MAX_LOSS * 6.0, 6, 1.0));
        for (loss_sum, sum_squares) in [(MAX_LOSS * 6.1, 1.0), (f32::NAN, 1.0), (1.0, f32::INFINITY), (1.0, f32::NAN)] {
            assert!(!is_finite_step(loss_sum, 6, sum_squares), "{loss_sum} {sum_squares}");
        }
    }
}
