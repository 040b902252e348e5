//! Long short-term memory, `torch.nn.LSTM` (Hochreiter and Schmidhuber 1997, with the forget gate of Gers 2000; the book's 9.2
//! in the Chinese edition, 10.1 in the English one). The gates are in PyTorch's order: input, forget, cell, output.
//!
//! ```text
//! forward                                              backward
//! [i f g o] = W_ih x_t + b_ih + W_hh h_{t−1} + b_hh    ∂o = ∂h_t ∘ tanh(c_t) ∘ o(1 − o)
//! i, f, o = σ(·), g = tanh(·)                          ∂c_t += ∂h_t ∘ o ∘ (1 − tanh²(c_t))
//! c_t = f ∘ c_{t−1} + i ∘ g                            ∂i = ∂c_t ∘ g ∘ i(1 − i),  ∂g = ∂c_t ∘ i ∘ (1 − g²)
//! h_t = o ∘ tanh(c_t)                                  ∂f = ∂c_t ∘ c_{t−1} ∘ f(1 − f),  ∂c_{t−1} = ∂c_t ∘ f
//!                                                      ∂h_{t−1} = [∂i ∂f ∂g ∂o] · W_hh
//! ```

pub(crate) mod cpu;

use std::ops::Range;

use rnnlm_tensor::{Activation, Backend, Transpose, View, ops};

use crate::Result;
use crate::operands::Weights;
use crate::tape::{Adjoint, Tape};

/// The columns of the gates i, f, g, o in `[T·N, 4H]`.
pub(crate) fn gate_columns(h: usize) -> [Range<usize>; 4] {
    [0..h, h..2 * h, 2 * h..3 * h, 3 * h..4 * h]
}

/// The activation of each gate, in the same order.
pub(crate) const ACTIVATIONS: [Activation; 4] =
    [Activation::Sigmoid, Activation::Sigmoid, Activation::Tanh, Activation::Sigmoid];

/// One step of the reference path: `tape.gates` at step `t` contains the input's term and becomes the activated gates.
pub(crate) fn forward_step<B: Backend>(
    backend: &B,
    weights: &Weights<'_, B>,
    t: usize,
    tape: &mut Tape<B>,
    scratch: &mut Adjoint<B>,
) -> Result<()> {
    let (now, previous, next) = (tape.step(t), tape.previous(t), tape.next(t));
    let [i, f, g, o] = gate_columns(tape.dims().hidden_size);
    let before = tape.hidden.view().rows(previous.clone());
    ops::gemm(backend, Transpose::NT, before, weights.weight_hh, true, tape.gates.view_mut().rows(now.clone()))?;
    ops::add_row(backend, weights.bias_hh, tape.gates.view_mut().rows(now.clone()))?;
    for (columns, activation) in [&i, &f, &g, &o].into_iter().zip(ACTIVATIONS) {
        ops::activate(backend, activation, tape.gates.view_mut().rows(now.clone()).cols(columns.clone()))?;
    }
    let gate = |columns: Range<usize>| tape.gates.view().rows(now.clone()).cols(columns);
    // c_t = f ∘ c_{t−1} + i ∘ g
    let work = &mut scratch.scratch;
    ops::multiply(backend, gate(f), tape.cell.view().rows(previous), false, work.view_mut())?;
    ops::multiply(backend, gate(i), gate(g), true, work.view_mut())?;
    ops::copy(backend, work.view(), tape.cell.view_mut().rows(next.clone()))?;
    // h_t = o ∘ tanh(c_t)
    ops::activate(backend, Activation::Tanh, work.view_mut())?;
    Ok(ops::multiply(backend, gate(o), work.view(), false, tape.hidden.view_mut().rows(next))?)
}

/// The reverse of [`forward_step`]: `adjoint.hidden` and `adjoint.cell` contain `∂h_t` and `∂c_t` and become those of `t − 1`.
pub(crate) fn backward_step<B: Backend>(
    backend: &B,
    weights: &Weights<'_, B>,
    t: usize,
    tape: &Tape<B>,
    adjoint: &mut Adjoint<B>,
) -> Result<()> {
    let now = tape.step(t);
    let columns = gate_columns(tape.dims().hidden_size);
    let [i, f, g, o] = &columns;
    let gate = |columns: &Range<usize>| tape.gates.view().rows(now.clone()).cols(columns.clone());
    let Adjoint { gates, hidden, cell, scratch, .. } = adjoint;
    let mut multiply = |a: View<'_, B>, b: View<'_, B>, accumulate, columns: &Range<usize>| {
        let out = gates.view_mut().rows(now.clone()).cols(columns.clone());
        ops::multiply(backend, a, b, accumulate, out)
    };
    // ∂o (before its σ′) = ∂h_t ∘ tanh(c_t)
    ops::copy(backend, tape.cell_output().rows(now.clone()), scratch.view_mut())?;
    ops::activate(backend, Activation::Tanh, scratch.view_mut())?;
    multiply(hidden.view(), scratch.view(), false, o)?;
    // ∂c_t += ∂h_t ∘ o ∘ (1 − tanh²(c_t)); `hidden` is overwritten
    ops::activate_backward(backend, Activation::Tanh, scratch.view(), hidden.view_mut())?;
    ops::multiply(backend, hidden.view(), gate(o), true, cell.view_mut())?;
    multiply(cell.view(), gate(g), false, i)?;
    multiply(cell.view(), tape.cell.view().rows(tape.previous(t)), false, f)?;
    multiply(cell.view(), gate(i), false, g)?;
    // ∂c_{t−1} = ∂c_t ∘ f
    ops::multiply(backend, cell.view(), gate(f), false, scratch.view_mut())?;
    ops::copy(backend, scratch.view(), cell.view_mut())?;
    for (columns, activation) in columns.iter().zip(ACTIVATIONS) {
        let out = gates.view_mut().rows(now.clone()).cols(columns.clone());
        ops::activate_backward(backend, activation, gate(columns), out)?;
    }
    // ∂h_{t−1} = ∂[i f g o] · W_hh
    let gates = gates.view().rows(now.clone());
    Ok(ops::gemm(backend, Transpose::NN, gates, weights.weight_hh, false, hidden.view_mut())?)
}
