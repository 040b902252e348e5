//! The reference path: backpropagation through time as tensor operations. Every other path is verified against it, and cells
//! without a fused path run on it.
//!
//! ```text
//! forward                                      backward
//! a_t = W_ih x_t + b_ih          every t       ∂h_t += ∂output_t           t = T−1 … 0
//! h_t = cell(a_t, h_{t−1})       t = 0 … T−1   ∂a_t, ∂h_{t−1} = cell′(∂h_t)
//!                                              ∂W_ih = Σ ∂a_tᵀ x_t, ∂W_hh = Σ ∂a_tᵀ h_{t−1}, ∂x_t = ∂a_t W_ih
//! ```
//!
//! *Dive into Deep Learning* derives this in "Backpropagation Through Time" (8.7 in the Chinese edition, 9.7 in the English
//! one). Gradients stop at the first step of the minibatch: the carried state is a constant.
//!
//! Sequences may also start inside a minibatch ([`StackMemory::set_starts`]). Let `s_t` be a column of `N` flags, 1 for a row
//! that starts at step `t`. Step `t` reads `h′_{t−1}` instead of `h_{t−1}`, and an LSTM likewise `c′_{t−1}`:
//!
//! ```text
//! forward                                      backward
//! h′_{t−1} = (1 − s_t) ∘ h_{t−1}               ∂h_{t−1} = (1 − s_t) ∘ ∂h′_{t−1}
//! h_t = cell(a_t, h′_{t−1})                    ∂a_t, ∂h′_{t−1} = cell′(∂h_t)
//!                                              ∂W_hh = Σ ∂a_tᵀ h′_{t−1}
//! ```
//!
//! `h′` overwrites `h` in `tape.hidden`, so that a cell reads the same memory with and without starts; [`Tape::output`] has
//! a copy of `h`. A zero is a selection and not a product, so a NaN of one sequence does not reach the next one.
//!
//! [`StackMemory::set_starts`]: crate::StackMemory::set_starts
//! [`StackMemory::set_weight_mask`]: crate::StackMemory::set_weight_mask
//!
//! With weight drop ([`StackMemory::set_weight_mask`]), `W_hh ∘ m` takes the place of `W_hh` in both passes, and
//! `∂W_hh = m ∘ Σ ∂a_tᵀ h_{t−1}`, with one mask `m` for all steps.
//!
//! The book's symbols:
//!
//! | book | here | shape | PyTorch |
//! |---|---|---|---|
//! | `X_t` | `input`, rows [`Tape::step`]`(t)` | `[N, D]` | `input[t]` |
//! | `H_t` | [`Tape::output`], rows [`Tape::step`]`(t)` | `[N, H]` | `output[t]` |
//! | `H_{t−1}` | `tape.hidden`, rows [`Tape::previous`]`(t)` | `[N, H]` | |
//! | `C_t` (LSTM) | [`Tape::cell_output`], rows [`Tape::step`]`(t)` | `[N, H]` | `c_n` |
//! | `R_t`, `Z_t`, `H̃_t` (GRU) | `tape.gates`: reset, update, new | `[N, H]` each | `r, z, n` |
//! | `I_t`, `F_t`, `C̃_t`, `O_t` (LSTM) | `tape.gates`: input, forget, cell, output | `[N, H]` each | `i, f, g, o` |
//! | `W_xh`, `W_xr` … | `weight_ihᵀ`, a block of `H` rows a gate | `[G·H, D]` | `weight_ih_l0` |
//! | `W_hh`, `W_hr` … | `weight_hhᵀ`, likewise | `[G·H, H]` | `weight_hh_l0` |
//! | `b_h`, `b_r` … | `bias_ih + bias_hh` | `[G·H]` | `bias_ih_l0`, `bias_hh_l0` |
//! | `W_hq`, `b_q` | the output layer, in `rnnlm-model` | `[V, H]`, `[V]` | `linear.weight`, `linear.bias` |
//! | `∂L/∂H_t` | `adjoint.hidden` during step `t` | `[N, H]` | |

use rnnlm_tensor::{Backend, Tensor, Transpose, View, ops};

use super::{DroppedWeight, Gradients, Pass};
use crate::shards::SummedRows;
use crate::structure::Operand;
use crate::{Adjoint, Input, ParameterSet, RecurrentParameters, Result, Tape};

/// Fills the tape, starting from its initial state; `scratch` provides intermediate tensors.
pub(crate) fn forward<B: Backend>(
    backend: &B,
    pass: &Pass<'_, B>,
    tape: &mut Tape<B>,
    scratch: &mut Adjoint<B>,
) -> Result<()> {
    project_input(backend, pass, tape)?;
    let weights = pass.weights();
    for t in tape.direction().steps(tape.dims().num_steps) {
        tape.reset_starts(backend, t)?;
        pass.layer.cell.forward_step(backend, &weights, t, tape, scratch)?;
        tape.copy_output(backend, t)?;
    }
    Ok(())
}

/// `W_ih x_t + b_ih` of every step, in the memory of the pre-activations.
pub(crate) fn project_input<B: Backend>(backend: &B, pass: &Pass<'_, B>, tape: &mut Tape<B>) -> Result<()> {
    let weights = pass.weights();
    match pass.input {
        Input::OneHot(ids) => ops::gather_columns(backend, weights.weight_ih, ids, tape.pre_activations())?,
        Input::Dense(x) => ops::gemm(backend, Transpose::NT, x, weights.weight_ih, false, tape.pre_activations())?,
    }
    Ok(ops::add_row(backend, weights.bias_ih, tape.pre_activations())?)
}

/// The reverse of [`forward`]: the steps in the opposite order, then the sums over all steps.
pub(crate) fn backward<B: Backend>(
    backend: &B,
    pass: &Pass<'_, B>,
    tape: &Tape<B>,
    mut gradients: Gradients<'_, B>,
) -> Result<()> {
    let weights = pass.weights();
    let adjoint = &mut *gradients.adjoint;
    for t in tape.direction().steps(tape.dims().num_steps).rev() {
        ops::axpy(backend, 1.0, gradients.output.rows(tape.step(t)), adjoint.hidden.view_mut())?;
        pass.layer.cell.backward_step(backend, &weights, t, tape, adjoint)?;
        adjoint.reset_starts(backend, tape, t)?;
    }
    parameter_gradients(backend, pass, tape, &mut gradients)
}

/// The gradients that do not depend on the order of the steps, `∂W`, `∂b` and `∂x`: each is one large multiplication or sum.
pub(crate) fn parameter_gradients<B: Backend>(
    backend: &B,
    pass: &Pass<'_, B>,
    tape: &Tape<B>,
    gradients: &mut Gradients<'_, B>,
) -> Result<()> {
    let Gradients { adjoint, parameters, shards, dropped_weight, input, .. } = gradients;
    let Adjoint { gates, candidate, bias, .. } = &mut **adjoint;
    let rows = SummedRows::all(tape, gates, candidate, pass.input);
    for (shard, out) in parameters.iter_mut().enumerate() {
        let dropped = dropped_weight.as_deref_mut();
        match shards {
            None => sums_over_rows(backend, pass, &rows, bias, dropped, out)?,
            Some(shards) => {
                let rows = shards.gather(backend, shard, &rows)?;
                sums_over_rows(backend, pass, &rows, bias, dropped, out)?;
            }
        }
    }
    if let Some(dx) = input.take() {
        ops::gemm(backend, Transpose::NN, gates.view(), pass.parameters.view(pass.layer.weight_ih), true, dx)?;
    }
    Ok(())
}

/// `∂W` and `∂b`, the sums over `rows`, added to `out`. `bias` and `dropped` are memory for intermediate values.
fn sums_over_rows<B: Backend>(
    backend: &B,
    pass: &Pass<'_, B>,
    rows: &SummedRows<'_, B>,
    bias: &mut Tensor<B>,
    dropped: Option<&mut Tensor<B>>,
    out: &mut ParameterSet<B>,
) -> Result<()> {
    let layer = pass.layer;
    ops::fill(backend, 0.0, bias.view_mut())?;
    let (da, weight_ih) = (rows.gates, out.view_mut(layer.weight_ih));
    match rows.input {
        Input::OneHot(ids) => ops::scatter_add_columns(backend, da, ids, weight_ih, bias.view_mut())?,
        Input::Dense(x) => {
            ops::gemm(backend, Transpose::TN, da, x, true, weight_ih)?;
            ops::sum_rows(backend, da, bias.view_mut())?;
        }
    }
    ops::axpy(backend, 1.0, bias.view(), out.view_mut(layer.bias_ih))?;
    match layer.recurrent {
        Some(recurrent) => recurrent_gradients(backend, pass, recurrent, rows, bias.view(), dropped, out),
        None => Ok(()),
    }
}

/// `∂W_hh` and `∂b_hh`, block by block.
fn recurrent_gradients<B: Backend>(
    backend: &B,
    pass: &Pass<'_, B>,
    recurrent: RecurrentParameters,
    summed: &SummedRows<'_, B>,
    bias: View<'_, B>,
    mut dropped: Option<&mut Tensor<B>>,
    out: &mut ParameterSet<B>,
) -> Result<()> {
    for block in pass.layer.cell.recurrent_blocks() {
        let rows = block.rows(pass.layer.hidden_size);
        let operand = match block.operand {
            Operand::Hidden => summed.hidden,
            Operand::Candidate => summed.candidate,
        };
        let gradient = if block.shares_input_bias { summed.gates.cols(rows.clone()) } else { summed.grad_candidate };
        let (weight_hh, accumulate) = match &mut dropped {
            Some(dropped) => (dropped.view_mut(), false),
            None => (out.view_mut(recurrent.weight_hh), true),
        };
        ops::gemm(backend, Transpose::TN, gradient, operand, accumulate, weight_hh.rows(rows.clone()))?;
        let bias_hh = out.view_mut(recurrent.bias_hh).cols(rows.clone());
        if block.shares_input_bias {
            ops::axpy(backend, 1.0, bias.cols(rows), bias_hh)?;
        } else {
            ops::sum_rows(backend, gradient, bias_hh)?;
        }
    }
    if let (Some(DroppedWeight { mask, .. }), Some(dropped)) = (&pass.dropped_weight, dropped) {
        ops::dropout(backend, *mask, dropped.view_mut())?;
        ops::axpy(backend, 1.0, dropped.view(), out.view_mut(recurrent.weight_hh))?;
    }
    Ok(())
}
