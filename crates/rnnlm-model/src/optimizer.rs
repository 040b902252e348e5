//! Stage 8 of the walk: clip the gradients, then move the parameters by them.
//!
//! ```text
//! ‖g‖ = √Σ g²                             over all parameters together
//! factor = min(1, clip / (‖g‖ + 10⁻⁶))    torch.nn.utils.clip_grad_norm_
//! g = min(max(g, −clip_value), clip_value)     or torch.nn.utils.clip_grad_value_
//! w moves by factor·g                     torch.optim, see `rnnlm_tensor::Update`
//! ```

use rnnlm_rnn::ParameterSet;
use rnnlm_tensor::{Backend, Tensor, View, ops};

use crate::{OptimizerConfig, Result, TrainConfig};

/// Clipping, and one of PyTorch's optimizers with what it keeps from one update to the next.
#[derive(Debug)]
pub struct Optimizer<B: Backend> {
    config: OptimizerConfig,
    clip: f32,
    clip_value: f32,
    /// `[1, 1]`: Σ g².
    sum_squares: Tensor<B>,
    /// `[1, 1]`: what clipping by the norm multiplies gradients by; NaN where an update is skipped back.
    factor: Tensor<B>,
    /// `[1, 1]`: 1 from a step on that was not finite, else 0.
    skipped: Tensor<B>,
    /// `[1, parameters]` each, or no columns where the optimizer keeps no more.
    state: [Tensor<B>; 2],
}

impl<B: Backend> Optimizer<B> {
    /// The optimizer and the clipping of `train`, for so many parameters.
    ///
    /// # Errors
    /// If the device has no room.
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

    /// What stays from one update to the next, a value a parameter, by PyTorch's names; saved in `trainer.safetensors` as
    /// `optimizer.NAME` and restored from there.
    pub fn buffers(&self) -> Vec<(&'static str, &Tensor<B>)> {
        self.names().iter().copied().zip(&self.state).collect()
    }

    /// [`Optimizer::buffers`], to write.
    pub fn buffers_mut(&mut self) -> Vec<(&'static str, &mut Tensor<B>)> {
        self.names().iter().copied().zip(&mut self.state).collect()
    }

    fn names(&self) -> &'static [&'static str] {
        self.config.rule(0.0, 1).buffers()
    }

    /// The global norm of the gradients, before clipping.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradient_norm(&mut self, backend: &B, gradients: &ParameterSet<B>) -> Result<f32> {
        self.measure(backend, gradients)?;
        let mut sum = [0.0];
        backend.read(self.sum_squares.view().buffer, 0, &mut sum)?;
        Ok(sum[0].sqrt())
    }

    /// [`Optimizer::gradient_norm`] for who does not ask yet: its square stays in [`Optimizer::sum_squares`].
    pub(crate) fn measure(&mut self, backend: &B, gradients: &ParameterSet<B>) -> Result<()> {
        ops::sum_squares(backend, gradients.flat(), self.sum_squares.view_mut())?;
        let factor = self.factor.view_mut();
        Ok(match self.clip {
            clip if clip > 0.0 => ops::clip_factor(backend, self.sum_squares.view(), clip, factor),
            _ => ops::fill(backend, 1.0, factor),
        }?)
    }

    /// `[1, 1]`: the square of the norm that was measured.
    pub(crate) fn sum_squares(&self) -> View<'_, B> {
        self.sum_squares.view()
    }

    /// Holds every update back from now on if the step under way is not finite: its loss, which may be at most `bound`, or the
    /// norm that was measured.
    pub(crate) fn hold(&mut self, backend: &B, bound: f32, loss: View<'_, B>) -> Result<()> {
        let (skipped, factor) = (self.skipped.view_mut(), self.factor.view_mut());
        Ok(ops::skip_nonfinite(backend, bound, loss, self.sum_squares.view(), skipped, factor)?)
    }

    /// Holds nothing back any more.
    pub(crate) fn release(&mut self, backend: &B) -> Result<()> {
        Ok(ops::fill(backend, 0.0, self.skipped.view_mut())?)
    }

    /// Update `t`, from 1, at learning rate `lr`: clips, by the norm that [`Optimizer::gradient_norm`] has just measured or
    /// value by value, and moves the parameters.
    ///
    /// # Errors
    /// If the two sets differ in size from each other or from what the optimizer was made for, or the device fails.
    pub fn update(
        &mut self,
        backend: &B,
        (lr, t): (f32, u64),
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
