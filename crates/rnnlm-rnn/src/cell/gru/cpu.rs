//! The GRU's fused step on the CPU. Rows of gates are `[r z n]`.
//!
//! Each equation is a loop that writes one slice, as in the LSTM's step.

use rnnlm_tensor::cpu::{Kernel, Lanes, math};

use crate::recurrence::cpu::{BACKWARD_CHUNK, BackwardStep, ForwardStep, FusedCell, Strides};

/// The blocks of `W_hh`: the gates r and z, and n.
const RESET_UPDATE: usize = 0;
const NEW: usize = 1;

/// The fused GRU cell.
#[derive(Debug)]
pub(crate) struct Gru {
    pub(crate) reset_after: bool,
}

impl FusedCell for Gru {
    fn forward(&self, step: ForwardStep<'_>) {
        let ForwardStep { context, gates, hidden_before: h_before, hidden: h, candidate: m, .. } = step;
        let (isa, strides, reset_after) = (context.isa, context.strides, self.reset_after);
        let size = strides.hidden_size;
        context.pre_activations(RESET_UPDATE, h_before, gates, strides.gates);
        isa.run(ResetUpdate { gates, h_before, m, reset_after, strides });
        if reset_after {
            context.input_term(2 * size..3 * size, gates);
            context.candidate(NEW, h_before, m);
        } else {
            context.pre_activations(NEW, m, &mut gates[2 * size..], strides.gates);
        }
        isa.run(Finish { gates, h_before, m, h, reset_after, strides });
    }

    fn backward(&self, step: BackwardStep<'_>) {
        let BackwardStep { context, gates, hidden_before: h_before, candidate: m, scratch, .. } = step;
        let (dh, dm) = (step.grad_hidden, step.grad_candidate);
        let (isa, strides, reset_after) = (context.isa, context.strides, self.reset_after);
        isa.run(Backward { gates, h_before, m, dh, dm, reset_after, strides });
        if reset_after {
            context.hidden_gradient(NEW, dm, strides.state, dh, true);
        } else {
            context.operand_gradient(NEW, &gates[2 * strides.hidden_size..], strides.gates, scratch, false);
            isa.run(BackwardResetBefore { gates, h_before, dm: scratch, dh, strides });
        }
        context.hidden_gradient(RESET_UPDATE, gates, strides.gates, dh, true);
    }
}

/// Activates `r` and `z`; with reset before, also `m = r ∘ h_before`.
struct ResetUpdate<'a> {
    /// `[m, 3H]`.
    gates: &'a mut [f32],
    /// Hidden state before the step, `[m, H]`.
    h_before: &'a [f32],
    /// `[m, H]`.
    m: &'a mut [f32],
    /// Whether the reset gate is applied after the multiplication.
    reset_after: bool,
    strides: Strides,
}

impl Kernel for ResetUpdate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Strides { hidden_size: size, state, gates } = self.strides;
        let rows = self.gates.chunks_exact_mut(gates).zip(self.h_before.chunks_exact(state));
        for ((gates, before), m) in rows.zip(self.m.chunks_exact_mut(state)) {
            math::sigmoid_each::<L>(&mut gates[..2 * size]);
            if !self.reset_after {
                m.iter_mut().zip(&gates[..size]).zip(before).for_each(|((m, r), h)| *m = r * h);
            }
        }
    }
}

/// Activates `n`, with reset after on the sum with `r ∘ m`; `h = n + z ∘ (h_before − n)`.
struct Finish<'a> {
    /// `[m, 3H]`.
    gates: &'a mut [f32],
    /// Hidden state before the step, `[m, H]`.
    h_before: &'a [f32],
    /// `W_hn h + b_hn`, `[m, H]`; read only with reset after.
    m: &'a [f32],
    /// Hidden state after the step, `[m, H]`.
    h: &'a mut [f32],
    /// Whether the reset gate is applied after the multiplication.
    reset_after: bool,
    strides: Strides,
}

impl Kernel for Finish<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Strides { hidden_size: size, state, gates } = self.strides;
        let rows = self.gates.chunks_exact_mut(gates).zip(self.h_before.chunks_exact(state));
        let states = self.m.chunks_exact(state).zip(self.h.chunks_exact_mut(state));
        for ((gates, before), (m, h)) in rows.zip(states) {
            let (r_z, n) = gates[..3 * size].split_at_mut(2 * size);
            let (r, z) = r_z.split_at(size);
            if self.reset_after {
                n.iter_mut().zip(r).zip(m).for_each(|((n, r), m)| *n += r * m);
            }
            math::tanh_each::<L>(n);
            h.iter_mut().zip(z).zip(n.iter().zip(before)).for_each(|((h, z), (n, before))| *h = n + z * (before - n));
        }
    }
}

/// `∂z` and `∂n` of the pre-activations, and `∂h ∘ z` in `dh`. With reset after, also `∂m = ∂n ∘ r` and
/// `∂r = ∂n ∘ m ∘ r(1 − r)`.
struct Backward<'a> {
    /// Activated gates, `[m, 3H]`; gradients overwrite `z` and `n`, and with reset after `r`.
    gates: &'a mut [f32],
    /// Hidden state before the step, `[m, H]`.
    h_before: &'a [f32],
    /// `W_hn h + b_hn`, `[m, H]`; read only with reset after.
    m: &'a [f32],
    /// `[m, H]`.
    dh: &'a mut [f32],
    /// `[m, H]`; written only with reset after.
    dm: &'a mut [f32],
    /// Whether the reset gate is applied after the multiplication.
    reset_after: bool,
    strides: Strides,
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Strides { hidden_size: size, state, gates } = self.strides;
        let written = self.gates.chunks_exact_mut(gates).zip(self.dh.chunks_exact_mut(state));
        let mut candidates = self.m.chunks_exact(state).zip(self.dm.chunks_exact_mut(state));
        // a copy of some gates: the compiler knows that no other slice overlaps it
        let mut copies = [[0.0; BACKWARD_CHUNK]; 3];
        for (before, (gates, dh)) in self.h_before.chunks_exact(state).zip(written) {
            let mut candidates = if self.reset_after { candidates.next() } else { None };
            for first in (0..size).step_by(BACKWARD_CHUNK) {
                let (start, end) = (first, size.min(first + BACKWARD_CHUNK));
                let len = end - start;
                for (copy, gate) in copies.iter_mut().zip(gates.chunks_exact(size)) {
                    copy[..len].copy_from_slice(&gate[start..end]);
                }
                let [r, z, n] = copies.each_ref().map(|copy| &copy[..len]);
                let (before, dh) = (&before[start..end], &mut dh[start..end]);
                let (dr, dz_dn) = gates.split_at_mut(size);
                let (dz, dn) = dz_dn.split_at_mut(size);
                let (dr, dz, dn) = (&mut dr[start..end], &mut dz[start..end], &mut dn[start..end]);
                for ((dz, dh), ((before, n), z)) in dz.iter_mut().zip(&*dh).zip(before.iter().zip(n).zip(z)) {
                    *dz = dh * (before - n) * (z * (1.0 - z));
                }
                for ((dn, dh), (z, n)) in dn.iter_mut().zip(&*dh).zip(z.iter().zip(n)) {
                    *dn = (dh - dh * z) * (1.0 - n * n);
                }
                dh.iter_mut().zip(z).for_each(|(dh, z)| *dh *= z);
                if let Some((m, dm)) = &mut candidates {
                    let (m, dm) = (&m[start..end], &mut dm[start..end]);
                    dm.iter_mut().zip(&*dn).zip(r).for_each(|((dm, dn), r)| *dm = dn * r);
                    let through_m = dn.iter().zip(m).zip(r);
                    dr.iter_mut().zip(through_m).for_each(|(dr, ((dn, m), r))| *dr = dn * m * (r * (1.0 - r)));
                }
            }
        }
    }
}

/// With reset before, given `∂m = ∂n · W_hn`: `∂r = ∂m ∘ h_before ∘ r(1 − r)`, and `∂m ∘ r` is added to `dh`.
struct BackwardResetBefore<'a> {
    /// The gates after [`Backward`], `[m, 3H]`; the gradient overwrites `r`.
    gates: &'a mut [f32],
    /// Hidden state before the step, `[m, H]`.
    h_before: &'a [f32],
    /// `[m, H]`.
    dm: &'a [f32],
    /// `[m, H]`.
    dh: &'a mut [f32],
    strides: Strides,
}

impl Kernel for BackwardResetBefore<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Strides { hidden_size: size, state, gates } = self.strides;
        let read = self.h_before.chunks_exact(state).zip(self.dm.chunks_exact(state));
        let written = self.gates.chunks_exact_mut(gates).zip(self.dh.chunks_exact_mut(state));
        for ((before, dm), (gates, dh)) in read.zip(written) {
            let r = &mut gates[..size];
            dh.iter_mut().zip(dm).zip(&*r).for_each(|((dh, dm), r)| *dh += dm * r);
            for (r, (dm, before)) in r.iter_mut().zip(dm.iter().zip(before)) {
                *r = dm * before * (*r * (1.0 - *r));
            }
        }
    }
}
