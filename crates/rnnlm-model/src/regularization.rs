//! Regularization of a training step, with the names of the AWD-LSTM code.
//!
//! ```text
//! e = dropout_rows(W_embedding[ids])    m[id], the same for every occurrence     dropout_embedding, `dropoute`
//! x_0 = e ∘ m                           one [N, E] mask for all steps            dropout_input, `dropouti`
//! x_l = y_{l−1} ∘ m                     one [N, H] mask for all steps            dropout_hidden, `dropouth`
//! W_hh ∘ m                              one mask for all steps                   weight_drop, `wdrop`
//! z = y_{L−1} ∘ m                       one [N, H] mask for all steps            dropout_output, `dropout`
//! logits = W z + b
//!
//! loss = (1 − ε)·NLL + ε·mean of −ln softmax over V       label_smoothing: ε, `torch.nn.CrossEntropyLoss`
//!      + α·mean of z²                                     ar: α, activation regularization
//!      + β·mean of (y_t − y_{t−1})²,  t = 1 … T−1         tar: β, temporal activation regularization
//! ```
//!
//! `y` is the output of the highest layer before dropout. The means are over all elements, as in the code. A difference across
//! the start of a document is zero. The loss that is reported is the NLL alone, so that perplexities stay comparable. All masks
//! are scaled by `1 / (1 − p)`; each is a function of seed, step and element.
//!
//! Sources: Merity, Keskar, Socher, *Regularizing and Optimizing LSTM Language Models* (2017), sections 2 to 4; Merity, McCann,
//! Socher, *Revisiting Activation Regularization for Language RNNs* (2017); Gal, Ghahramani, *A Theoretically Grounded
//! Application of Dropout in Recurrent Neural Networks* (2016); Szegedy et al., *Rethinking the Inception Architecture for
//! Computer Vision* (2016), section 7.

use rnnlm_rnn::{Recurrence, Stack, StackMemory};
use rnnlm_tensor::{Mask, MaskRows, Tensor, View, ops};

use crate::Result;

/// The regularization of one minibatch; the default has none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Regularization {
    /// Weight drop on `W_hh`.
    pub weight_drop: Option<Mask>,
    /// Dropout between recurrent layers; with a period of **N** rows it is locked.
    pub between_layers: Option<Mask>,
    /// Dropout of whole rows of the embedding.
    pub embedding: Option<Mask>,
    /// Locked dropout of the embedding's output.
    pub input: Option<Mask>,
    /// Locked dropout of the output of the highest layer.
    pub output: Option<Mask>,
    /// α of activation regularization.
    pub ar: f32,
    /// β of temporal activation regularization.
    pub tar: f32,
    /// ε of label smoothing.
    pub label_smoothing: f32,
}

impl Regularization {
    /// The same for a matrix with these rows of the minibatch.
    pub(crate) fn of_rows(self, rows: MaskRows) -> Self {
        let select = |mask: Option<Mask>| mask.map(|mask| Mask { rows, ..mask });
        Self {
            between_layers: select(self.between_layers),
            input: select(self.input),
            output: select(self.output),
            ..self
        }
    }
}

/// The layer number of the first mask of each group. A model has at most 2¹⁶ layers and directions.
pub(crate) mod layers {
    /// Dropout between layers, a new mask for every step.
    pub(crate) const BETWEEN: u32 = 0;
    /// Weight drop.
    pub(crate) const WEIGHT: u32 = 1 << 24;
    /// Locked dropout between layers.
    pub(crate) const HIDDEN: u32 = 2 << 24;
    /// Dropout of the embedding.
    pub(crate) const EMBEDDING: u32 = 3 << 24;
    /// Locked dropout of the embedding's output.
    pub(crate) const INPUT: u32 = 4 << 24;
    /// Locked dropout of the highest layer's output.
    pub(crate) const OUTPUT: u32 = 5 << 24;
}

/// The output of the recurrent layers of a minibatch, with its regularization.
#[derive(Debug)]
pub(crate) struct RegularizedOutput<B: Recurrence> {
    /// `[T·N, directions·H]`: the output after dropout. `None` until the first mask.
    dropped: Option<Tensor<B>>,
    /// `[T·N, directions·H]`: differences of successive steps. `None` until the first use.
    differences: Option<Tensor<B>>,
}

impl<B: Recurrence> RegularizedOutput<B> {
    pub(crate) fn new() -> Self {
        Self { dropped: None, differences: None }
    }

    /// Allocates what `regularization` needs for an output like `output`.
    pub(crate) fn reserve(&mut self, backend: &B, regularization: &Regularization, output: &Tensor<B>) -> Result<()> {
        let needed = [regularization.output.is_some(), regularization.tar > 0.0];
        for (tensor, is_needed) in [&mut self.dropped, &mut self.differences].into_iter().zip(needed) {
            if is_needed && tensor.is_none() {
                *tensor = Some(output.zeros_like(backend)?);
            }
        }
        Ok(())
    }

    /// Changes the number of rows, `T·N`.
    pub(crate) fn set_rows(&mut self, rows: usize) {
        for tensor in [&mut self.dropped, &mut self.differences].into_iter().flatten() {
            tensor.set_rows(rows);
        }
    }

    /// Applies dropout to the output of the recurrent layers.
    pub(crate) fn drop_output(
        &mut self,
        backend: &B,
        regularization: &Regularization,
        output: View<'_, B>,
    ) -> Result<()> {
        let (Some(mask), Some(dropped)) = (regularization.output, &mut self.dropped) else { return Ok(()) };
        ops::copy(backend, output, dropped.view_mut())?;
        Ok(ops::dropout(backend, mask, dropped.view_mut())?)
    }

    /// `z`: the input of the output layer.
    pub(crate) fn view<'a>(
        &'a self,
        regularization: &Regularization,
        stack: &Stack,
        memory: &'a StackMemory<B>,
    ) -> View<'a, B> {
        match &self.dropped {
            Some(dropped) if regularization.output.is_some() => dropped.view(),
            _ => stack.output(memory),
        }
    }

    /// From `∂NLL/∂z` to `∂loss/∂y`, in place: activation regularization, dropout, temporal activation regularization.
    pub(crate) fn backward(
        &mut self,
        backend: &B,
        regularization: &Regularization,
        (stack, memory): (&Stack, &StackMemory<B>),
        [batch_size, minibatch_batch_size]: [usize; 2],
        grad_output: &mut Tensor<B>,
    ) -> Result<()> {
        let [rows, cols] = grad_output.shape();
        // the means are over all elements of the minibatch, of which this rank may have a part
        let of_minibatch = |rows: usize| rows / batch_size * minibatch_batch_size;
        if regularization.ar > 0.0 {
            let scale = 2.0 * regularization.ar / (of_minibatch(rows) * cols) as f32;
            ops::axpy(backend, scale, self.view(regularization, stack, memory), grad_output.view_mut())?;
        }
        if let Some(mask) = regularization.output {
            ops::dropout(backend, mask, grad_output.view_mut())?;
        }
        let later = rows - batch_size;
        let Some(differences) = self.differences.as_mut().filter(|_| regularization.tar > 0.0 && later > 0) else {
            return Ok(());
        };
        // y_t − y_{t−1}
        let y = stack.output(memory);
        ops::copy(backend, y.rows(batch_size..rows), differences.view_mut().rows(0..later))?;
        ops::axpy(backend, -1.0, y.rows(0..later), differences.view_mut().rows(0..later))?;
        if let Some(starts) = memory.starts() {
            ops::zero_rows(backend, starts, batch_size..rows, differences.view_mut().rows(0..later))?;
        }
        let scale = 2.0 * regularization.tar / (of_minibatch(later) * cols) as f32;
        let differences = differences.view().rows(0..later);
        ops::axpy(backend, scale, differences, grad_output.view_mut().rows(batch_size..rows))?;
        Ok(ops::axpy(backend, -scale, differences, grad_output.view_mut().rows(0..later))?)
    }
}
