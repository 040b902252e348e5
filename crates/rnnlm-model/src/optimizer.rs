//! Stage 8 of the walk: clip by the global norm, then step against the gradient.
//!
//! ```text
//! ‖g‖ = √Σ g²                     over all parameters together
//! factor = min(1, clip / (‖g‖ + 10⁻⁶))    torch.nn.utils.clip_grad_norm_
//! w −= lr · factor · g            torch.optim.SGD
//! ```

use rnnlm_rnn::ParameterSet;
use rnnlm_tensor::{Backend, Tensor, ops};

use crate::Result;

/// Stochastic gradient descent with clipping by the global norm.
#[derive(Debug)]
pub struct Sgd<B: Backend> {
    lr: f32,
    clip: f32,
    /// `[1, 1]`: Σ g².
    sum_squares: Tensor<B>,
    /// `[1, 1]`: what clipping multiplies gradients by.
    factor: Tensor<B>,
}

impl<B: Backend> Sgd<B> {
    /// Learning rate `lr`; gradients are scaled down to a global norm of `clip`, or never if it is 0.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(backend: &B, lr: f32, clip: f32) -> Result<Self> {
        let factor = Tensor::from_slice(backend, 1, 1, &[1.0])?;
        Ok(Self { lr, clip, sum_squares: Tensor::zeros(backend, 1, 1)?, factor })
    }

    /// The learning rate.
    pub fn lr(&self) -> f32 {
        self.lr
    }

    /// What stays from one update to the next, a value a parameter, by PyTorch's names; saved in `trainer.safetensors` as
    /// `optimizer.NAME` and restored from there. Plain descent keeps nothing.
    pub fn buffers(&self) -> Vec<(&'static str, &Tensor<B>)> {
        Vec::new()
    }

    /// [`Sgd::buffers`], to write.
    pub fn buffers_mut(&mut self) -> Vec<(&'static str, &mut Tensor<B>)> {
        Vec::new()
    }

    /// The global norm of the gradients, before clipping.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradient_norm(&mut self, backend: &B, gradients: &ParameterSet<B>) -> Result<f32> {
        ops::sum_squares(backend, gradients.flat(), self.sum_squares.view_mut())?;
        let mut sum = [0.0];
        backend.read(self.sum_squares.view().buffer, 0, &mut sum)?;
        Ok(sum[0].sqrt())
    }

    /// Clips by the norm that [`Sgd::gradient_norm`] has just measured, and updates.
    ///
    /// # Errors
    /// If the two sets differ in size, or the device fails.
    pub fn update(&mut self, backend: &B, gradients: &ParameterSet<B>, parameters: &mut ParameterSet<B>) -> Result<()> {
        if self.clip > 0.0 {
            ops::clip_factor(backend, self.sum_squares.view(), self.clip, self.factor.view_mut())?;
        }
        Ok(ops::sgd(backend, self.lr, self.factor.view(), gradients.flat(), parameters.flat_mut())?)
    }
}
