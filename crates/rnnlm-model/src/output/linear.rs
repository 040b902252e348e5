//! The linear output layer `torch.nn.Linear(H, V)`, whose logits enter the softmax cross-entropy.
//!
//! ```text
//! forward                                     backward
//! logits = y Wᵀ + b              [T·N, V]     ∂logits = (softmax(logits) − one_hot(target)) / (T·N)
//! loss = mean of −ln softmax(logits)[target]  ∂W = ∂logitsᵀ y,  ∂b = Σ ∂logits,  ∂y = ∂logits W
//! ```

use rnnlm_rnn::{ParameterId, ParameterLayout, ParameterSet};
use rnnlm_tensor::{Backend, Transpose, View, ViewMut, ops};

use crate::Result;

/// With at most this many rows, the packed weight is kept between calls: decoding steps repeat with the same parameters.
pub(crate) const KEEP_PACKED_MAX_ROWS: usize = 32;

/// `linear`: from the output of the recurrent layers to one logit per vocabulary entry.
#[derive(Clone, Debug)]
pub(crate) struct LinearOutput {
    weight: ParameterId,
    bias: ParameterId,
}

impl LinearOutput {
    /// Appends `linear.weight` `[V, H]` and `linear.bias` `[V]` to the layout. With `tied`, the weight is a second name of
    /// that parameter.
    pub(crate) fn new(
        layout: &mut ParameterLayout,
        tied: Option<ParameterId>,
        input_size: usize,
        vocab_size: usize,
    ) -> Result<Self> {
        let weight = match tied {
            Some(tied) => layout.add_name("linear.weight", tied),
            None => layout.add_weight("linear.weight", [vocab_size, input_size], input_size)?,
        };
        Ok(Self { weight, bias: layout.add_bias("linear.bias", vocab_size, input_size)? })
    }

    /// `logits = y Wᵀ + b`; with few rows, `cache` keeps the packed weight.
    pub(crate) fn forward<B: Backend>(
        &self,
        backend: &B,
        parameters: &ParameterSet<B>,
        cache: &mut B::LinearCache,
        y: View<'_, B>,
        logits: ViewMut<'_, B>,
    ) -> Result<()> {
        let (weight, bias) = (parameters.view(self.weight), parameters.view(self.bias));
        if y.shape()[0] > KEEP_PACKED_MAX_ROWS {
            return Ok(ops::linear(backend, y, weight, bias, logits)?);
        }
        Ok(ops::linear_packed(backend, y, (weight, parameters.version()), cache, bias, logits)?)
    }

    /// The backward pass of [`LinearOutput::forward`]. It overwrites `grad_y` and adds to the parameters' gradients.
    pub(crate) fn backward<B: Backend>(
        &self,
        backend: &B,
        parameters: &ParameterSet<B>,
        y: View<'_, B>,
        grad_logits: View<'_, B>,
        grad_y: ViewMut<'_, B>,
        gradients: &mut ParameterSet<B>,
    ) -> Result<()> {
        ops::sum_rows(backend, grad_logits, gradients.view_mut(self.bias))?;
        ops::gemm(backend, Transpose::TN, grad_logits, y, true, gradients.view_mut(self.weight))?;
        Ok(ops::gemm(backend, Transpose::NN, grad_logits, parameters.view(self.weight), false, grad_y)?)
    }
}
