//! minLSTM (Feng, Tung, Ahmed, Bengio, Hajimirsadegh 2024, *Were RNNs All We Needed?*, arXiv 2410.01201): an LSTM without output
//! gate and cell state, whose gates and candidate depend on the input alone. The pre-activations of all steps are therefore
//! one matrix multiplication, and a step is elementwise. The gates are in the paper's order, forget, input and candidate, with
//! the candidate under the GRU's name `new`.
//!
//! ```text
//! forward                             backward
//! f = σ(W_f x_t + b_f)                ∂f = q ∘ (1 − f),  q = ∂h_t ∘ (h_{t−1} − n) ∘ f′i′
//! i = σ(W_i x_t + b_i)                ∂i = −q ∘ (1 − i)
//! n = W_n x_t + b_n                   ∂n = ∂h_t ∘ i′
//! f′ = f / (f + i),  i′ = i / (f + i)
//! h_t = f′ ∘ h_{t−1} + i′ ∘ n         ∂h_{t−1} = ∂h_t ∘ f′
//! ```
//!
//! This is the paper's vanilla form with normalized gates, evaluated step by step: `f′ + i′ = 1` keeps the scale of the state
//! independent of the number of steps. The log-space form, which needs positive states, applies a function `g` to the
//! candidate and is another function. Where both `f` and `i` are 0 in single precision, `f′` and `i′` are 1/2.

pub(crate) mod cpu;

use std::ops::Range;

use rnnlm_tensor::{Activation, Backend, Tensor, View, ViewMut, ops};

use crate::Result;
use crate::tape::{Adjoint, Tape};

/// The columns of the gates f, i and n in `[T·N, 3H]`.
fn gate_columns(h: usize) -> [Range<usize>; 3] {
    [0..h, h..2 * h, 2 * h..3 * h]
}

/// One step of the reference path: `tape.gates` at step `t` contains the pre-activations and becomes the activated gates.
pub(crate) fn forward_step<B: Backend>(
    backend: &B,
    t: usize,
    tape: &mut Tape<B>,
    scratch: &mut Adjoint<B>,
) -> Result<()> {
    let (now, previous, next, h) = (tape.step(t), tape.previous(t), tape.next(t), tape.dims().hidden_size);
    ops::activate(backend, Activation::Sigmoid, tape.gates.view_mut().rows(now.clone()).cols(0..2 * h))?;
    let [f, i, n] = gate_columns(h).map(|columns| tape.gates.view().rows(now.clone()).cols(columns));
    let Adjoint { scratch: normalized, hidden: sum, .. } = scratch;
    // f′ ∘ h_{t−1} + i′ ∘ n; the states of both steps are in one matrix, so the sum is copied
    ops::normalize(backend, f, i, normalized.view_mut())?;
    ops::multiply(backend, normalized.view(), tape.hidden.view().rows(previous), false, sum.view_mut())?;
    ops::normalize(backend, i, f, normalized.view_mut())?;
    ops::multiply(backend, normalized.view(), n, true, sum.view_mut())?;
    Ok(ops::copy(backend, sum.view(), tape.hidden.view_mut().rows(next))?)
}

/// The reverse of [`forward_step`]: `adjoint.hidden` contains `∂h_t` and becomes `∂h_{t−1}`.
pub(crate) fn backward_step<B: Backend>(backend: &B, t: usize, tape: &Tape<B>, adjoint: &mut Adjoint<B>) -> Result<()> {
    let now = tape.step(t);
    let columns = gate_columns(tape.dims().hidden_size);
    let [f, i, n] = columns.each_ref().map(|columns| tape.gates.view().rows(now.clone()).cols(columns.clone()));
    let Adjoint { gates, hidden, scratch, .. } = adjoint;
    let [forget, input, new] = columns;
    // ∂n = ∂h ∘ i′
    ops::normalize(backend, i, f, scratch.view_mut())?;
    ops::multiply(backend, hidden.view(), scratch.view(), false, block_mut(gates, &now, &new))?;
    // q = ∂h ∘ (h_{t−1} − n) ∘ f′(1 − f′), in the memory of ∂f
    ops::copy(backend, tape.hidden.view().rows(tape.previous(t)), scratch.view_mut())?;
    ops::axpy(backend, -1.0, n, scratch.view_mut())?;
    ops::multiply(backend, hidden.view(), scratch.view(), false, block_mut(gates, &now, &forget))?;
    ops::normalize(backend, f, i, scratch.view_mut())?;
    ops::activate_backward(backend, Activation::Sigmoid, scratch.view(), block_mut(gates, &now, &forget))?;
    // ∂i = q ∘ i − q
    ops::copy(backend, block(gates, &now, &forget), scratch.view_mut())?;
    ops::multiply(backend, scratch.view(), i, false, block_mut(gates, &now, &input))?;
    ops::axpy(backend, -1.0, scratch.view(), block_mut(gates, &now, &input))?;
    // ∂f = q − q ∘ f
    ops::multiply(backend, block(gates, &now, &forget), f, false, scratch.view_mut())?;
    ops::axpy(backend, -1.0, scratch.view(), block_mut(gates, &now, &forget))?;
    // ∂h_{t−1} = ∂h ∘ f′ = ∂h − ∂n
    Ok(ops::axpy(backend, -1.0, block(gates, &now, &new), hidden.view_mut())?)
}

fn block<'a, B: Backend>(gates: &'a Tensor<B>, rows: &Range<usize>, columns: &Range<usize>) -> View<'a, B> {
    gates.view().rows(rows.clone()).cols(columns.clone())
}

fn block_mut<'a, B: Backend>(gates: &'a mut Tensor<B>, rows: &Range<usize>, columns: &Range<usize>) -> ViewMut<'a, B> {
    gates.view_mut().rows(rows.clone()).cols(columns.clone())
}
