//! Elman's cell, `torch.nn.RNN` (*Finding Structure in Time*, 1990; the book's section on RNNs, 8.4 in the Chinese edition, 9.4
//! in the English one):
//!
//! ```text
//! forward                                        backward
//! z_t = W_ih x_t + b_ih + W_hh h_{t−1} + b_hh    ∂z_t     = ∂h_t ∘ φ′(h_t)
//! h_t = φ(z_t)                                   ∂h_{t−1} = ∂z_t · W_hh
//! ```
//!
//! `φ` is tanh, `φ′ = 1 − h²`, or ReLU, `φ′ = [h > 0]`. `∂a` is the gradient of the loss with respect to `a`.

pub(crate) mod cpu;

use rnnlm_tensor::{Activation, Backend, Transpose, ops};

use crate::Result;
use crate::operands::Weights;
use crate::tape::{Adjoint, Tape};

/// One step of the reference path: `tape.hidden` at step `t` contains the input's term of `z_t` and becomes `h_t`.
pub(crate) fn forward_step<B: Backend>(
    backend: &B,
    activation: Activation,
    weights: &Weights<'_, B>,
    t: usize,
    tape: &mut Tape<B>,
    scratch: &mut Adjoint<B>,
) -> Result<()> {
    let (previous, next) = (tape.previous(t), tape.next(t));
    let recurrent = &mut scratch.scratch;
    ops::gemm(
        backend,
        Transpose::NT,
        tape.hidden.view().rows(previous),
        weights.weight_hh,
        false,
        recurrent.view_mut(),
    )?;
    ops::add_row(backend, weights.bias_hh, recurrent.view_mut())?;
    ops::axpy(backend, 1.0, recurrent.view(), tape.hidden.view_mut().rows(next.clone()))?;
    Ok(ops::activate(backend, activation, tape.hidden.view_mut().rows(next))?)
}

/// The reverse of [`forward_step`]: `adjoint.hidden` contains `∂h_t` and becomes `∂h_{t−1}`.
pub(crate) fn backward_step<B: Backend>(
    backend: &B,
    activation: Activation,
    weights: &Weights<'_, B>,
    t: usize,
    tape: &Tape<B>,
    adjoint: &mut Adjoint<B>,
) -> Result<()> {
    let now = tape.step(t);
    let h = tape.output().rows(now.clone());
    // ∂z_t = ∂h_t ∘ φ′(h_t)
    ops::copy(backend, adjoint.hidden.view(), adjoint.gates.view_mut().rows(now.clone()))?;
    ops::activate_backward(backend, activation, h, adjoint.gates.view_mut().rows(now.clone()))?;
    // ∂h_{t−1} = ∂z_t · W_hh
    let dz = adjoint.gates.view().rows(now);
    Ok(ops::gemm(backend, Transpose::NN, dz, weights.weight_hh, false, adjoint.hidden.view_mut())?)
}
