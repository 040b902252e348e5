//! minGRU's fused step on the CPU. Rows of gates are `[z n]`.
//!
//! There is no matrix multiplication in a step, so it is a pass over memory; each equation is a loop that writes one slice, as
//! in the LSTM's step.

use rnnlm_tensor::cpu::{Kernel, Lanes, math};

use crate::recurrence::cpu::{BACKWARD_CHUNK, BackwardStep, ForwardStep, FusedCell, Strides};

/// The fused minGRU cell.
#[derive(Debug)]
pub(crate) struct MinGru;

impl FusedCell for MinGru {
    fn forward(&self, step: ForwardStep<'_>) {
        let ForwardStep { context, gates, hidden_before, hidden, .. } = step;
        let strides = context.strides;
        context.input_term(0..2 * strides.hidden_size, gates);
        context.isa.run(Forward { gates, h_before: hidden_before, h: hidden, strides });
    }

    fn backward(&self, step: BackwardStep<'_>) {
        let BackwardStep { context, gates, hidden_before, grad_hidden, .. } = step;
        context.isa.run(Backward { gates, h_before: hidden_before, dh: grad_hidden, strides: context.strides });
    }
}

/// Activates `z`; `h = h_before + z ∘ (n − h_before)`.
struct Forward<'a> {
    /// `[m, 2H]`: pre-activations, then activated gates.
    gates: &'a mut [f32],
    /// Hidden state before the step, `[m, H]`.
    h_before: &'a [f32],
    /// Hidden state after the step, `[m, H]`.
    h: &'a mut [f32],
    strides: Strides,
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Strides { hidden_size: size, state, gates } = self.strides;
        let rows = self.gates.chunks_exact_mut(gates).zip(self.h_before.chunks_exact(state));
        for ((gates, before), h) in rows.zip(self.h.chunks_exact_mut(state)) {
            let (z, n) = gates[..2 * size].split_at_mut(size);
            math::sigmoid_each::<L>(z);
            h.iter_mut().zip(&*z).zip(before.iter().zip(&*n)).for_each(|((h, z), (b, n))| *h = b + z * (n - b));
        }
    }
}

/// The gradients of the pre-activations, and `∂h ∘ (1 − z)` in `dh`.
struct Backward<'a> {
    /// `[m, 2H]`: activated gates, which their gradients overwrite.
    gates: &'a mut [f32],
    /// Hidden state before the step, `[m, H]`.
    h_before: &'a [f32],
    /// `[m, H]`.
    dh: &'a mut [f32],
    strides: Strides,
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Strides { hidden_size: size, state, gates } = self.strides;
        let rows = self.gates.chunks_exact_mut(gates).zip(self.h_before.chunks_exact(state));
        // a copy of some of z: the compiler knows that no other slice overlaps it
        let mut copy = [0.0; BACKWARD_CHUNK];
        for ((gates, before), dh) in rows.zip(self.dh.chunks_exact_mut(state)) {
            let (z, n) = gates[..2 * size].split_at_mut(size);
            let units = z.chunks_mut(BACKWARD_CHUNK).zip(n.chunks_mut(BACKWARD_CHUNK));
            let states = before.chunks(BACKWARD_CHUNK).zip(dh.chunks_mut(BACKWARD_CHUNK));
            for ((z, n), (before, dh)) in units.zip(states) {
                let old = &mut copy[..z.len()];
                old.copy_from_slice(z);
                for ((z, dh), (n, before)) in z.iter_mut().zip(&*dh).zip(n.iter().zip(before)) {
                    *z = dh * (n - before) * (*z * (1.0 - *z));
                }
                n.iter_mut().zip(&*dh).zip(&*old).for_each(|((n, dh), z)| *n = dh * z);
                dh.iter_mut().zip(&*n).for_each(|(dh, dn)| *dh -= dn);
            }
        }
    }
}
