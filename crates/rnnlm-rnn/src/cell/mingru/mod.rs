//! minGRU (Feng, Tung, Ahmed, Bengio, Hajimirsadegh 2024, *Were RNNs All We Needed?*, arXiv 2410.01201): a GRU whose gate and
//! candidate depend on the input alone. The pre-activations of all steps are therefore one matrix multiplication, and a step
//! is elementwise. The gates are in the paper's order, update and candidate, with the candidate under the GRU's name `new`.
//!
//! ```text
//! forward                             backward
//! z = σ(W_z x_t + b_z)                ∂z = ∂h_t ∘ (n − h_{t−1}) ∘ z(1 − z)
//! n = W_n x_t + b_n                   ∂n = ∂h_t ∘ z
//! h_t = (1 − z) ∘ h_{t−1} + z ∘ n     ∂h_{t−1} = ∂h_t ∘ (1 − z)
//! ```
//!
//! This is the paper's vanilla form, evaluated step by step. Its log-space form, which needs positive states, applies a
//! function `g` to the candidate and is another function. The gate `z` multiplies the candidate here, and the state in
//! [`gru`](super::gru).

pub(crate) mod cpu;

use std::ops::Range;

use rnnlm_tensor::{Activation, Backend, ops};

use crate::Result;
use crate::tape::{Adjoint, Tape};

/// The columns of the gates z and n in `[T·N, 2H]`.
fn gate_columns(h: usize) -> [Range<usize>; 2] {
    [0..h, h..2 * h]
}

/// One step of the reference path: `tape.gates` at step `t` contains the pre-activations and becomes the activated gates.
pub(crate) fn forward_step<B: Backend>(
    backend: &B,
    t: usize,
    tape: &mut Tape<B>,
    scratch: &mut Adjoint<B>,
) -> Result<()> {
    let (now, previous, next) = (tape.step(t), tape.previous(t), tape.next(t));
    let [z, n] = gate_columns(tape.dims().hidden_size);
    ops::activate(backend, Activation::Sigmoid, tape.gates.view_mut().rows(now.clone()).cols(z.clone()))?;
    let (z, n) = (tape.gates.view().rows(now.clone()).cols(z), tape.gates.view().rows(now).cols(n));
    // h_t = z ∘ (n − h_{t−1}) + h_{t−1}
    let work = &mut scratch.scratch;
    ops::copy(backend, n, work.view_mut())?;
    ops::axpy(backend, -1.0, tape.hidden.view().rows(previous.clone()), work.view_mut())?;
    ops::multiply(backend, z, work.view(), false, tape.hidden.view_mut().rows(next.clone()))?;
    ops::copy(backend, tape.hidden.view().rows(previous), work.view_mut())?;
    Ok(ops::axpy(backend, 1.0, work.view(), tape.hidden.view_mut().rows(next))?)
}

/// The reverse of [`forward_step`]: `adjoint.hidden` contains `∂h_t` and becomes `∂h_{t−1}`.
pub(crate) fn backward_step<B: Backend>(backend: &B, t: usize, tape: &Tape<B>, adjoint: &mut Adjoint<B>) -> Result<()> {
    let now = tape.step(t);
    let [update, new] = gate_columns(tape.dims().hidden_size);
    let gate = |columns: &Range<usize>| tape.gates.view().rows(now.clone()).cols(columns.clone());
    let (z, n) = (gate(&update), gate(&new));
    let Adjoint { gates, hidden, scratch, .. } = adjoint;
    // ∂z = ∂h ∘ (n − h_{t−1}) ∘ σ′
    ops::copy(backend, n, scratch.view_mut())?;
    ops::axpy(backend, -1.0, tape.hidden.view().rows(tape.previous(t)), scratch.view_mut())?;
    let dz = gates.view_mut().rows(now.clone()).cols(update.clone());
    ops::multiply(backend, hidden.view(), scratch.view(), false, dz)?;
    ops::activate_backward(backend, Activation::Sigmoid, z, gates.view_mut().rows(now.clone()).cols(update))?;
    // ∂n = ∂h ∘ z, and ∂h_{t−1} = ∂h − ∂n
    ops::multiply(backend, hidden.view(), z, false, gates.view_mut().rows(now.clone()).cols(new.clone()))?;
    Ok(ops::axpy(backend, -1.0, gates.view().rows(now.clone()).cols(new), hidden.view_mut())?)
}
