//! Stage 8, update: clips the gradients and updates the parameters.
//!
//! ```text
//! ‖g‖ = √Σ g²                                  over all parameters
//! factor = min(1, clip / (‖g‖ + 10⁻⁶))         torch.nn.utils.clip_grad_norm_
//! g = min(max(g, −clip_value), clip_value)     torch.nn.utils.clip_grad_value_, instead of the factor
//! w changes by factor·g                        torch.optim, see `rnnlm_tensor::Update`
//! ```
//!
//! A training step does this for the ranges of parameters whose gradients may differ from zero ([`GradientRanges`]).

use std::ops::Range;

use rnnlm_rnn::{ParameterLayout, ParameterSet, ParameterSpec};
use rnnlm_tensor::{Backend, Tensor, Update, View, ops};

use crate::gradient_ranges::GradientRanges;
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
    /// `[1, 1]`: 1, or NaN if the update of an average is skipped.
    average_factor: Tensor<B>,
    /// Ranges of parameters, and whether they have weight decay.
    ranges: Vec<(Range<usize>, bool)>,
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
    /// The optimizer and the clipping of `train`, for parameters with this layout.
    ///
    /// # Errors
    /// If the device has not enough memory.
    pub fn new(backend: &B, train: &TrainConfig, layout: &ParameterLayout) -> Result<Self> {
        let buffer = |index: usize| {
            let len = if index < train.optimizer.num_buffers() { layout.len() } else { 0 };
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
            average_factor: Tensor::from_slice(backend, 1, 1, &[1.0])?,
            ranges: ranges(layout, train.no_bias_decay),
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
        ranges: &GradientRanges,
        gradients: &mut ParameterSet<B>,
        parameters: &mut ParameterSet<B>,
    ) -> Result<()> {
        self.check(backend, loss, ranges, gradients)?;
        self.update_ranges(backend, (lr, t), ranges, gradients, parameters)
    }

    /// The part of [`Optimizer::step`] before the update: the gradient norm, and whether it and the loss are finite.
    pub(crate) fn check(
        &mut self,
        backend: &B,
        loss: LossSum<'_, B>,
        ranges: &GradientRanges,
        gradients: &ParameterSet<B>,
    ) -> Result<()> {
        self.compute_norm(backend, gradients, ranges)?;
        let Self { sum_squares, skipped, factor, .. } = self;
        let bound = max_loss_sum(loss.targets);
        let (skipped, factor) = (skipped.view_mut(), factor.view_mut());
        Ok(ops::skip_nonfinite(backend, bound, loss.sum, sum_squares.view(), skipped, factor)?)
    }

    /// `average += weight·(parameters − average)`, unless the last update was skipped.
    pub(crate) fn average(
        &mut self,
        backend: &B,
        weight: f32,
        loss: LossSum<'_, B>,
        parameters: &ParameterSet<B>,
        average: &mut ParameterSet<B>,
    ) -> Result<()> {
        let Self { sum_squares, skipped, average_factor: factor, state, .. } = self;
        ops::fill(backend, 1.0, factor.view_mut())?;
        let bound = max_loss_sum(loss.targets);
        ops::skip_nonfinite(backend, bound, loss.sum, sum_squares.view(), skipped.view_mut(), factor.view_mut())?;
        // SGD subtracts lr·(g + weight_decay·average), here −weight·(parameters − average)
        let rule = Update::Sgd { lr: -weight, momentum: 0.0, nesterov: false, weight_decay: -1.0 };
        let state = state.each_mut().map(Tensor::view_mut);
        Ok(ops::update(backend, rule, factor.view(), parameters.flat(), state, average.flat_mut())?)
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
        self.compute_norm(backend, gradients, &GradientRanges::dense(gradients.layout().len()))?;
        let mut sum = [0.0];
        backend.read(self.sum_squares().buffer, 0, &mut sum)?;
        Ok(sum[0].sqrt())
    }

    /// Writes [`Optimizer::sum_squares`] and the factor of clipping by norm.
    fn compute_norm(&mut self, backend: &B, gradients: &ParameterSet<B>, ranges: &GradientRanges) -> Result<()> {
        ops::sum_squares_in(backend, gradients.flat(), ranges.all(), self.sum_squares.view_mut())?;
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
    /// computed before, and updates the parameters. All gradients are dense: those of an embedding, too.
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
        let ranges = GradientRanges::dense(gradients.layout().len());
        self.update_ranges(backend, (lr, t), &ranges, gradients, parameters)
    }

    /// [`Optimizer::update`] of the parameters in `ranges`.
    fn update_ranges(
        &mut self,
        backend: &B,
        (lr, t): (f32, u64),
        ranges: &GradientRanges,
        gradients: &mut ParameterSet<B>,
        parameters: &mut ParameterSet<B>,
    ) -> Result<()> {
        let [before, rows, after] = ranges.parts();
        for index in 0..self.ranges.len() {
            let (with_one_decay, decays) = self.ranges[index].clone();
            let config = if decays { self.config } else { self.config.without_weight_decay() };
            let (rule, embedding_rule) = (config.rule(lr, t), config.embedding_rule(lr, t));
            for (rule, ranges) in [(rule, before), (embedding_rule, rows), (rule, after)] {
                for range in ranges {
                    let range = range.start.max(with_one_decay.start)..range.end.min(with_one_decay.end);
                    if !range.is_empty() {
                        self.update_range(backend, rule, range, gradients, parameters)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn update_range(
        &mut self,
        backend: &B,
        rule: Update,
        range: Range<usize>,
        gradients: &mut ParameterSet<B>,
        parameters: &mut ParameterSet<B>,
    ) -> Result<()> {
        if self.clip_value > 0.0 {
            ops::clamp(backend, self.clip_value, gradients.flat_mut().cols(range.clone()))?;
        }
        // a buffer that the optimizer does not have has no columns
        let state = self.state.each_mut().map(|buffer| match buffer.shape() {
            [_, 0] => buffer.view_mut(),
            _ => buffer.view_mut().cols(range.clone()),
        });
        let (gradients, parameters) = (gradients.flat().cols(range.clone()), parameters.flat_mut().cols(range));
        Ok(ops::update(backend, rule, self.factor.view(), gradients, state, parameters)?)
    }
}

/// The ranges of parameters that have weight decay and those that have none, in order.
fn ranges(layout: &ParameterLayout, no_bias_decay: bool) -> Vec<(Range<usize>, bool)> {
    if !no_bias_decay {
        return vec![(0..layout.len(), true)];
    }
    let decays = |spec: &ParameterSpec| spec.shape.len() > 1;
    layout
        .specs()
        .chunk_by(|a, b| decays(a) == decays(b))
        .map(|specs| (specs[0].range().start..specs[specs.len() - 1].range().end, decays(&specs[0])))
        .collect()
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
