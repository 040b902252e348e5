//! minLSTM's fused step on the CPU. Rows of gates are `[f i n]`.
//!
//! There is no matrix multiplication in a step, so it is a pass over memory; each equation is a loop that writes one slice, as
//! in the LSTM's step. [`math::sigmoid_each`] is never 0, so `f + i` is not 0 either.

use rnnlm_tensor::cpu::{Kernel, Lanes, math};

use crate::recurrence::cpu::{BACKWARD_CHUNK, BackwardStep, ForwardStep, FusedCell, Strides};

/// The fused minLSTM cell.
#[derive(Debug)]
pub(crate) struct MinLstm;

impl FusedCell for MinLstm {
    fn forward(&self, step: ForwardStep<'_>) {
        let ForwardStep { context, gates, hidden_before, hidden, .. } = step;
        let strides = context.strides;
        context.input_term(0..3 * strides.hidden_size, gates);
        context.isa.run(Forward { gates, h_before: hidden_before, h: hidden, strides });
    }

    fn backward(&self, step: BackwardStep<'_>) {
        let BackwardStep { context, gates, hidden_before, grad_hidden, .. } = step;
        context.isa.run(Backward { gates, h_before: hidden_before, dh: grad_hidden, strides: context.strides });
    }
}

/// Activates `f` and `i`; `h = n + f′ ∘ (h_before − n)` with `f′ = f / (f + i)`.
struct Forward<'a> {
    /// `[m, 3H]`: pre-activations, then activated gates.
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
            let (f_i, n) = gates[..3 * size].split_at_mut(2 * size);
            math::sigmoid_each::<L>(f_i);
            let (f, i) = f_i.split_at(size);
            let units = f.iter().zip(i).zip(before.iter().zip(&*n));
            h.iter_mut().zip(units).for_each(|(h, ((f, i), (before, n)))| *h = n + f / (f + i) * (before - n));
        }
    }
}

/// The gradients of the pre-activations, and `∂h ∘ f′` in `dh`.
struct Backward<'a> {
    /// `[m, 3H]`: activated gates, which their gradients overwrite.
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
        // f′ and q of some units: the compiler knows that no other slice overlaps them
        let (mut normalized, mut q) = ([0.0; BACKWARD_CHUNK], [0.0; BACKWARD_CHUNK]);
        for ((gates, before), dh) in rows.zip(self.dh.chunks_exact_mut(state)) {
            let (f, i_n) = gates[..3 * size].split_at_mut(size);
            let (i, n) = i_n.split_at_mut(size);
            let units =
                f.chunks_mut(BACKWARD_CHUNK).zip(i.chunks_mut(BACKWARD_CHUNK)).zip(n.chunks_mut(BACKWARD_CHUNK));
            let states = before.chunks(BACKWARD_CHUNK).zip(dh.chunks_mut(BACKWARD_CHUNK));
            for (((f, i), n), (before, dh)) in units.zip(states) {
                let (normalized, q) = (&mut normalized[..f.len()], &mut q[..f.len()]);
                normalized.iter_mut().zip(f.iter().zip(&*i)).for_each(|(normalized, (f, i))| *normalized = f / (f + i));
                for ((q, normalized), (dh, (before, n))) in
                    q.iter_mut().zip(&*normalized).zip(dh.iter().zip(before.iter().zip(&*n)))
                {
                    *q = dh * (before - n) * (normalized * (1.0 - normalized));
                }
                f.iter_mut().zip(&*q).for_each(|(f, q)| *f = q * (1.0 - *f));
                i.iter_mut().zip(&*q).for_each(|(i, q)| *i = q * (*i - 1.0));
                for ((n, dh), normalized) in n.iter_mut().zip(&*dh).zip(&*normalized) {
                    *n = dh * (1.0 - normalized);
                }
                dh.iter_mut().zip(&*n).for_each(|(dh, dn)| *dh -= dn);
            }
        }
    }
}
