//! Backpropagation through time, written out: the reference that every other path is verified against, and the fallback
//! where there is none.
//!
//! ```text
//! forward                                      backward
//! a_t = W_ih x_t + b_ih          every t       ∂output_t joins ∂h_t        t = T−1 … 0
//! h_t = cell(a_t, h_{t−1})       t = 0 … T−1   ∂a_t, ∂h_{t−1} = cell′(∂h_t)
//!                                              ∂W_ih = Σ ∂a_tᵀ x_t, ∂W_hh = Σ ∂a_tᵀ h_{t−1}, ∂x_t = ∂a_t W_ih
//! ```
//!
//! The book derives this in 8.7. Gradients stop at the first step of the minibatch: the carried state is a constant.

use rnnlm_tensor::{Backend, Transpose, View, ops};

use super::{Gradients, Pass};
use crate::{Adjoint, Cell, Input, Result, Tape, elman, gru, lstm};

/// Fills the tape from its initial state on; `scratch` lends its intermediate tensors.
pub(crate) fn forward<B: Backend>(
    backend: &B,
    pass: &Pass<'_, B>,
    tape: &mut Tape<B>,
    scratch: &mut Adjoint<B>,
) -> Result<()> {
    project_input(backend, pass, tape)?;
    let weights = pass.layer.weights(pass.parameters);
    for t in tape.direction().steps(tape.dims().num_steps) {
        match pass.layer.cell {
            Cell::Rnn(phi) => elman::forward_step(backend, phi.activation(), &weights, t, tape, scratch)?,
            Cell::Gru { reset_after } => gru::forward_step(backend, reset_after, &weights, t, tape, scratch)?,
            Cell::Lstm => lstm::forward_step(backend, &weights, t, tape, scratch)?,
        }
    }
    Ok(())
}

/// `W_ih x_t + b_ih` of every step, where the tape will have the activated gates.
pub(crate) fn project_input<B: Backend>(backend: &B, pass: &Pass<'_, B>, tape: &mut Tape<B>) -> Result<()> {
    let weights = pass.layer.weights(pass.parameters);
    match pass.input {
        Input::OneHot(ids) => ops::gather_columns(backend, weights.weight_ih, ids, tape.pre_activations())?,
        Input::Dense(x) => ops::gemm(backend, Transpose::NT, x, weights.weight_ih, false, tape.pre_activations())?,
    }
    Ok(ops::add_row(backend, weights.bias_ih, tape.pre_activations())?)
}

/// The mirror of [`forward`]: steps in the opposite order, then the sums over all steps.
pub(crate) fn backward<B: Backend>(
    backend: &B,
    pass: &Pass<'_, B>,
    tape: &Tape<B>,
    mut gradients: Gradients<'_, B>,
) -> Result<()> {
    let weights = pass.layer.weights(pass.parameters);
    let adjoint = &mut *gradients.adjoint;
    for t in tape.direction().steps(tape.dims().num_steps).rev() {
        ops::axpy(backend, 1.0, gradients.output.rows(tape.step(t)), adjoint.hidden.view_mut())?;
        match pass.layer.cell {
            Cell::Rnn(phi) => elman::backward_step(backend, phi.activation(), &weights, t, tape, adjoint)?,
            Cell::Gru { reset_after } => gru::backward_step(backend, reset_after, &weights, t, tape, adjoint)?,
            Cell::Lstm => lstm::backward_step(backend, &weights, t, tape, adjoint)?,
        }
    }
    parameter_gradients(backend, pass, tape, &mut gradients)
}

/// What does not depend on the order of the steps: `∂W`, `∂b` and `∂x`, each one large product or sum.
pub(crate) fn parameter_gradients<B: Backend>(
    backend: &B,
    pass: &Pass<'_, B>,
    tape: &Tape<B>,
    gradients: &mut Gradients<'_, B>,
) -> Result<()> {
    let (layer, out) = (pass.layer, &mut *gradients.parameters);
    let Adjoint { gates, bias, .. } = &mut *gradients.adjoint;
    ops::fill(backend, 0.0, bias.view_mut())?;
    let (da, weight_ih) = (gates.view(), out.view_mut(layer.weight_ih));
    match pass.input {
        Input::OneHot(ids) => ops::scatter_add_columns(backend, da, ids, weight_ih, bias.view_mut())?,
        Input::Dense(x) => {
            ops::gemm(backend, Transpose::TN, da, x, true, weight_ih)?;
            ops::sum_rows(backend, da, bias.view_mut())?;
        }
    }
    ops::axpy(backend, 1.0, bias.view(), out.view_mut(layer.bias_ih))?;
    for part in recurrent_parts(layer.cell, tape, gradients.adjoint) {
        let rows = part.rows.clone();
        let weight_hh = out.view_mut(layer.weight_hh).rows(rows.clone());
        ops::gemm(backend, Transpose::TN, part.gradient, part.operand, true, weight_hh)?;
        let bias_hh = out.view_mut(layer.bias_hh).cols(rows.clone());
        if part.joins_input {
            ops::axpy(backend, 1.0, gradients.adjoint.bias.view().cols(rows), bias_hh)?;
        } else {
            ops::sum_rows(backend, part.gradient, bias_hh)?;
        }
    }
    if let Some(dx) = gradients.input.take() {
        let da = gradients.adjoint.gates.view();
        ops::gemm(backend, Transpose::NN, da, pass.parameters.view(layer.weight_ih), true, dx)?;
    }
    Ok(())
}

/// A block of rows of `W_hh` and `b_hh`: the gradient of what it adds to, and what it is multiplied by.
struct RecurrentPart<'a, B: Backend> {
    rows: std::ops::Range<usize>,
    gradient: View<'a, B>,
    operand: View<'a, B>,
    /// Whether it adds to the input's share as it stands, so that both biases have one gradient.
    joins_input: bool,
}

/// The blocks of `W_hh`: one, but for a GRU, whose third gate stands inside (or behind) the reset gate.
fn recurrent_parts<'a, B: Backend>(
    cell: Cell,
    tape: &'a Tape<B>,
    adjoint: &'a Adjoint<B>,
) -> impl Iterator<Item = RecurrentPart<'a, B>> {
    let h = tape.dims().hidden_size;
    let (gates, before) = (adjoint.gates.view(), tape.hidden.view().rows(tape.all_previous()));
    let part =
        |rows: std::ops::Range<usize>, gradient, operand| RecurrentPart { rows, gradient, operand, joins_input: true };
    let parts = match cell {
        Cell::Rnn(_) | Cell::Lstm => [Some(part(0..cell.num_gates() * h, gates, before)), None],
        Cell::Gru { reset_after } => {
            let [rz, n] = gru::gate_columns(h);
            let new = if reset_after {
                RecurrentPart { joins_input: false, ..part(n, adjoint.candidate.view(), before) }
            } else {
                part(n.clone(), gates.cols(n), tape.candidate.view())
            };
            [Some(part(rz.clone(), gates.cols(rz), before)), Some(new)]
        }
    };
    parts.into_iter().flatten()
}
