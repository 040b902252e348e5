//! The GRU's part of the CPU's fused path: what happens to some rows between two products. Rows are `[r z n]`.
//!
//! One loop an equation, each writing one slice, as in the LSTM's part.

use rnnlm_tensor::cpu::{Kernel, Lanes, math};

use crate::recurrence::cpu::{ABREAST, Widths};

/// `r` and `z` become activated, and where the reset comes before the product, `m = r ∘ h_before` for it.
pub(crate) struct ResetUpdate<'a> {
    /// `[m, 3H]`.
    pub(crate) gates: &'a mut [f32],
    /// Hidden state before the step, `[m, H]`.
    pub(crate) h_before: &'a [f32],
    /// `[m, H]`.
    pub(crate) m: &'a mut [f32],
    /// Whether the reset comes after the product.
    pub(crate) reset_after: bool,
    pub(crate) widths: Widths,
}

impl Kernel for ResetUpdate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Widths { hidden_size: size, state, gates } = self.widths;
        let rows = self.gates.chunks_exact_mut(gates).zip(self.h_before.chunks_exact(state));
        for ((gates, before), m) in rows.zip(self.m.chunks_exact_mut(state)) {
            math::sigmoid_each::<L>(&mut gates[..2 * size]);
            if !self.reset_after {
                m.iter_mut().zip(&gates[..size]).zip(before).for_each(|((m, r), h)| *m = r * h);
            }
        }
    }
}

/// `n` becomes activated, where the reset comes after the product with `r ∘ m` added; `h = n + z ∘ (h_before − n)`.
pub(crate) struct Finish<'a> {
    /// `[m, 3H]`.
    pub(crate) gates: &'a mut [f32],
    /// Hidden state before the step, `[m, H]`.
    pub(crate) h_before: &'a [f32],
    /// `W_hn h + b_hn`, `[m, H]`; read only where the reset comes after.
    pub(crate) m: &'a [f32],
    /// Hidden state after the step, `[m, H]`.
    pub(crate) h: &'a mut [f32],
    /// Whether the reset comes after the product.
    pub(crate) reset_after: bool,
    pub(crate) widths: Widths,
}

impl Kernel for Finish<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Widths { hidden_size: size, state, gates } = self.widths;
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

/// `∂z` and `∂n`, both before the product; `dh` keeps the share that went through `z`. Where the reset comes after, also
/// `∂m = ∂n ∘ r` and `∂r = ∂n ∘ m ∘ r(1 − r)`.
pub(crate) struct Backward<'a> {
    /// Activated gates, `[m, 3H]`, of which `z` and `n` become gradients, and where the reset comes after, `r` too.
    pub(crate) gates: &'a mut [f32],
    /// Hidden state before the step, `[m, H]`.
    pub(crate) h_before: &'a [f32],
    /// `W_hn h + b_hn`, `[m, H]`; read only where the reset comes after.
    pub(crate) m: &'a [f32],
    /// `[m, H]`.
    pub(crate) dh: &'a mut [f32],
    /// `[m, H]`; written only where the reset comes after.
    pub(crate) dm: &'a mut [f32],
    /// Whether the reset comes after the product.
    pub(crate) reset_after: bool,
    pub(crate) widths: Widths,
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Widths { hidden_size: size, state, gates } = self.widths;
        let written = self.gates.chunks_exact_mut(gates).zip(self.dh.chunks_exact_mut(state));
        let mut candidates = self.m.chunks_exact(state).zip(self.dm.chunks_exact_mut(state));
        // what the gates were, of some units: as the compiler knows, no other slice overlaps it
        let mut were = [[0.0; ABREAST]; 3];
        for (before, (gates, dh)) in self.h_before.chunks_exact(state).zip(written) {
            let mut candidates = if self.reset_after { candidates.next() } else { None };
            for first in (0..size).step_by(ABREAST) {
                let (start, end) = (first, size.min(first + ABREAST));
                let len = end - start;
                for (were, gate) in were.iter_mut().zip(gates.chunks_exact(size)) {
                    were[..len].copy_from_slice(&gate[start..end]);
                }
                let [r, z, n] = were.each_ref().map(|were| &were[..len]);
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

/// Reset before, given `∂m = ∂n · W_hn`: `∂r = ∂m ∘ h_before ∘ r(1 − r)`, and `dh` receives `∂m ∘ r`.
pub(crate) struct BackwardResetBefore<'a> {
    /// The gates that [`Backward`] has left, `[m, 3H]`, of which `r` becomes a gradient.
    pub(crate) gates: &'a mut [f32],
    /// Hidden state before the step, `[m, H]`.
    pub(crate) h_before: &'a [f32],
    /// `[m, H]`.
    pub(crate) dm: &'a [f32],
    /// `[m, H]`.
    pub(crate) dh: &'a mut [f32],
    pub(crate) widths: Widths,
}

impl Kernel for BackwardResetBefore<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Widths { hidden_size: size, state, gates } = self.widths;
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
