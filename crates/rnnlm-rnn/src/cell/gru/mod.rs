//! The gated recurrent unit, `torch.nn.GRU` (Cho et al. 2014; the book's 9.1 in the Chinese edition, 10.2 in the English one). The
//! gates are in PyTorch's order: reset, update, new.
//!
//! ```text
//! forward                                            backward
//! r = σ(W_ir x + b_ir + W_hr h_{t−1} + b_hr)         ∂z = ∂h_t ∘ (h_{t−1} − n) ∘ z(1 − z)
//! z = σ(W_iz x + b_iz + W_hz h_{t−1} + b_hz)         ∂n = ∂h_t ∘ (1 − z) ∘ (1 − n²)
//! after:  m = W_hn h_{t−1} + b_hn,  n = tanh(W_in x + b_in + r ∘ m)
//!                                                    ∂m = ∂n ∘ r,  ∂r = ∂n ∘ m ∘ r(1 − r)
//! before: m = r ∘ h_{t−1},  n = tanh(W_in x + b_in + W_hn m + b_hn)
//!                                                    ∂m = ∂n · W_hn,  ∂r = ∂m ∘ h_{t−1} ∘ r(1 − r)
//! h_t = (1 − z) ∘ n + z ∘ h_{t−1}                    ∂h_{t−1} = ∂h_t ∘ z + [∂r ∂z] · W_h[rz] + (after: ∂m · W_hn,
//!                                                                before: ∂m ∘ r)
//! ```
//!
//! Two functions share the name. PyTorch and cuDNN apply the reset gate *after* the recurrent product, so that all gates
//! share one product a step; the paper and the book's from-scratch code apply it *before*. `m` is kept on the tape as
//! `candidate`.

pub(crate) mod cpu;

use std::ops::Range;

use rnnlm_tensor::{Activation, Backend, Transpose, ops};

use crate::Result;
use crate::operands::Weights;
use crate::tape::{Adjoint, Tape};

/// Columns of the gates r and z together, and of n, in `[T·N, 3H]`.
pub(crate) fn gate_columns(h: usize) -> [Range<usize>; 2] {
    [0..2 * h, 2 * h..3 * h]
}

/// One step of the reference path: `tape.gates` at step `t` contains the input's term and becomes the activated gates.
pub(crate) fn forward_step<B: Backend>(
    backend: &B,
    reset_after: bool,
    weights: &Weights<'_, B>,
    t: usize,
    tape: &mut Tape<B>,
    scratch: &mut Adjoint<B>,
) -> Result<()> {
    let (now, previous, next, h) = (tape.step(t), tape.previous(t), tape.next(t), tape.dims().hidden_size);
    let [rz, n] = gate_columns(h);
    let before = tape.hidden.view().rows(previous);
    // r, z
    let out = tape.gates.view_mut().rows(now.clone()).cols(rz.clone());
    ops::gemm(backend, Transpose::NT, before, weights.weight_hh.rows(rz.clone()), true, out)?;
    let out = tape.gates.view_mut().rows(now.clone()).cols(rz.clone());
    ops::add_row(backend, weights.bias_hh.cols(rz.clone()), out)?;
    ops::activate(backend, Activation::Sigmoid, tape.gates.view_mut().rows(now.clone()).cols(rz))?;
    let (w_n, b_n) = (weights.weight_hh.rows(n.clone()), weights.bias_hh.cols(n.clone()));
    let work = &mut scratch.scratch;
    if reset_after {
        // m = W_hn h + b_hn; n = tanh(… + r ∘ m)
        ops::gemm(backend, Transpose::NT, before, w_n, false, tape.candidate.view_mut().rows(now.clone()))?;
        ops::add_row(backend, b_n, tape.candidate.view_mut().rows(now.clone()))?;
        let (r, m) = (tape.gates.view().rows(now.clone()).cols(0..h), tape.candidate.view().rows(now.clone()));
        ops::multiply(backend, r, m, false, work.view_mut())?;
    } else {
        // m = r ∘ h; n = tanh(… + W_hn m + b_hn)
        let r = tape.gates.view().rows(now.clone()).cols(0..h);
        ops::multiply(backend, r, before, false, tape.candidate.view_mut().rows(now.clone()))?;
        ops::gemm(backend, Transpose::NT, tape.candidate.view().rows(now.clone()), w_n, false, work.view_mut())?;
        ops::add_row(backend, b_n, work.view_mut())?;
    }
    ops::axpy(backend, 1.0, work.view(), tape.gates.view_mut().rows(now.clone()).cols(n.clone()))?;
    ops::activate(backend, Activation::Tanh, tape.gates.view_mut().rows(now.clone()).cols(n.clone()))?;
    // h_t = n + z ∘ (h_{t−1} − n)
    let (z, n) = (tape.gates.view().rows(now.clone()).cols(h..2 * h), tape.gates.view().rows(now).cols(n));
    ops::copy(backend, before, work.view_mut())?;
    ops::axpy(backend, -1.0, n, work.view_mut())?;
    ops::copy(backend, n, tape.hidden.view_mut().rows(next.clone()))?;
    Ok(ops::multiply(backend, z, work.view(), true, tape.hidden.view_mut().rows(next))?)
}

/// The reverse of [`forward_step`]: `adjoint.hidden` contains `∂h_t` and becomes `∂h_{t−1}`.
pub(crate) fn backward_step<B: Backend>(
    backend: &B,
    reset_after: bool,
    weights: &Weights<'_, B>,
    t: usize,
    tape: &Tape<B>,
    adjoint: &mut Adjoint<B>,
) -> Result<()> {
    let (now, h) = (tape.step(t), tape.dims().hidden_size);
    let [rz, new] = gate_columns(h);
    let gate = |columns: Range<usize>| tape.gates.view().rows(now.clone()).cols(columns);
    let (r, z, n) = (gate(0..h), gate(h..2 * h), gate(new.clone()));
    let (before, m) = (tape.hidden.view().rows(tape.previous(t)), tape.candidate.view().rows(now.clone()));
    let (w_rz, w_n) = (weights.weight_hh.rows(rz.clone()), weights.weight_hh.rows(new.clone()));
    let Adjoint { gates, candidate, hidden, scratch, .. } = adjoint;
    // ∂z (before its σ′) = ∂h ∘ (h_{t−1} − n)
    ops::copy(backend, before, scratch.view_mut())?;
    ops::axpy(backend, -1.0, n, scratch.view_mut())?;
    let dz = gates.view_mut().rows(now.clone()).cols(h..2 * h);
    ops::multiply(backend, hidden.view(), scratch.view(), false, dz)?;
    // ∂h_{t−1} starts as ∂h ∘ z, and ∂n = (∂h − ∂h ∘ z) ∘ (1 − n²)
    ops::multiply(backend, hidden.view(), z, false, scratch.view_mut())?;
    ops::copy(backend, hidden.view(), gates.view_mut().rows(now.clone()).cols(new.clone()))?;
    ops::axpy(backend, -1.0, scratch.view(), gates.view_mut().rows(now.clone()).cols(new.clone()))?;
    ops::activate_backward(backend, Activation::Tanh, n, gates.view_mut().rows(now.clone()).cols(new.clone()))?;
    ops::copy(backend, scratch.view(), hidden.view_mut())?;
    // ∂m, and ∂r (before its σ′)
    if reset_after {
        let dn = gates.view().rows(now.clone()).cols(new);
        ops::multiply(backend, dn, r, false, candidate.view_mut().rows(now.clone()))?;
        ops::copy(backend, dn, scratch.view_mut())?;
        ops::multiply(backend, scratch.view(), m, false, gates.view_mut().rows(now.clone()).cols(0..h))?;
        let dm = candidate.view().rows(now.clone());
        ops::gemm(backend, Transpose::NN, dm, w_n, true, hidden.view_mut())?;
    } else {
        let dn = gates.view().rows(now.clone()).cols(new);
        ops::gemm(backend, Transpose::NN, dn, w_n, false, scratch.view_mut())?;
        ops::multiply(backend, scratch.view(), before, false, gates.view_mut().rows(now.clone()).cols(0..h))?;
        ops::multiply(backend, scratch.view(), r, true, hidden.view_mut())?;
    }
    let d_rz = gates.view_mut().rows(now.clone()).cols(rz.clone());
    ops::activate_backward(backend, Activation::Sigmoid, gate(rz.clone()), d_rz)?;
    let d_rz = gates.view().rows(now).cols(rz);
    Ok(ops::gemm(backend, Transpose::NN, d_rz, w_rz, true, hidden.view_mut())?)
}
