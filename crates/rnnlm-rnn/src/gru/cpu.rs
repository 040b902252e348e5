//! The GRU's part of the CPU's fused path: what happens to some rows between two products. Rows are `[r z n]`.
//!
//! One loop an equation, each writing one slice, as in the LSTM's part.

use rnnlm_tensor::cpu::{Kernel, Lanes, math};

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
    /// **H**.
    pub(crate) hidden_size: usize,
}

impl Kernel for ResetUpdate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let size = self.hidden_size;
        let rows = self.gates.chunks_exact_mut(3 * size).zip(self.h_before.chunks_exact(size));
        for ((gates, before), m) in rows.zip(self.m.chunks_exact_mut(size)) {
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
    /// **H**.
    pub(crate) hidden_size: usize,
}

impl Kernel for Finish<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let size = self.hidden_size;
        let rows = self.gates.chunks_exact_mut(3 * size).zip(self.h_before.chunks_exact(size));
        let states = self.m.chunks_exact(size).zip(self.h.chunks_exact_mut(size));
        for ((gates, before), (m, h)) in rows.zip(states) {
            let (r_z, n) = gates.split_at_mut(2 * size);
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
    /// Activated gates, `[m, 3H]`.
    pub(crate) gates: &'a [f32],
    /// Hidden state before the step, `[m, H]`.
    pub(crate) h_before: &'a [f32],
    /// `W_hn h + b_hn`, `[m, H]`; read only where the reset comes after.
    pub(crate) m: &'a [f32],
    /// `[m, H]`.
    pub(crate) dh: &'a mut [f32],
    /// `[m, 3H]`.
    pub(crate) dgates: &'a mut [f32],
    /// `[m, H]`; written only where the reset comes after.
    pub(crate) dm: &'a mut [f32],
    /// Whether the reset comes after the product.
    pub(crate) reset_after: bool,
    /// **H**.
    pub(crate) hidden_size: usize,
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let size = self.hidden_size;
        let read = self.gates.chunks_exact(3 * size).zip(self.h_before.chunks_exact(size));
        let written = self.dgates.chunks_exact_mut(3 * size).zip(self.dh.chunks_exact_mut(size));
        let mut candidates = self.m.chunks_exact(size).zip(self.dm.chunks_exact_mut(size));
        for ((gates, before), (dgates, dh)) in read.zip(written) {
            let (r, (z, n)) = (&gates[..size], gates[size..].split_at(size));
            let (dr, dz_dn) = dgates.split_at_mut(size);
            let (dz, dn) = dz_dn.split_at_mut(size);
            for ((dz, dh), ((before, n), z)) in dz.iter_mut().zip(&*dh).zip(before.iter().zip(n).zip(z)) {
                *dz = dh * (before - n) * (z * (1.0 - z));
            }
            for ((dn, dh), (z, n)) in dn.iter_mut().zip(&*dh).zip(z.iter().zip(n)) {
                *dn = (dh - dh * z) * (1.0 - n * n);
            }
            dh.iter_mut().zip(z).for_each(|(dh, z)| *dh *= z);
            if self.reset_after
                && let Some((m, dm)) = candidates.next()
            {
                dm.iter_mut().zip(&*dn).zip(r).for_each(|((dm, dn), r)| *dm = dn * r);
                let through_m = dn.iter().zip(m).zip(r);
                dr.iter_mut().zip(through_m).for_each(|(dr, ((dn, m), r))| *dr = dn * m * (r * (1.0 - r)));
            }
        }
    }
}

/// Reset before, given `∂m = ∂n · W_hn`: `∂r = ∂m ∘ h_before ∘ r(1 − r)`, and `dh` receives `∂m ∘ r`.
pub(crate) struct BackwardResetBefore<'a> {
    /// Activated gates, `[m, 3H]`.
    pub(crate) gates: &'a [f32],
    /// Hidden state before the step, `[m, H]`.
    pub(crate) h_before: &'a [f32],
    /// `[m, H]`.
    pub(crate) dm: &'a [f32],
    /// `[m, 3H]`.
    pub(crate) dgates: &'a mut [f32],
    /// `[m, H]`.
    pub(crate) dh: &'a mut [f32],
    /// **H**.
    pub(crate) hidden_size: usize,
}

impl Kernel for BackwardResetBefore<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let size = self.hidden_size;
        let read = self.gates.chunks_exact(3 * size).zip(self.h_before.chunks_exact(size));
        let written = self.dgates.chunks_exact_mut(3 * size).zip(self.dh.chunks_exact_mut(size));
        for (((gates, before), dm), (dgates, dh)) in read.zip(self.dm.chunks_exact(size)).zip(written) {
            let (r, dr) = (&gates[..size], &mut dgates[..size]);
            dh.iter_mut().zip(dm).zip(r).for_each(|((dh, dm), r)| *dh += dm * r);
            for (dr, ((dm, before), r)) in dr.iter_mut().zip(dm.iter().zip(before).zip(r)) {
                *dr = dm * before * (r * (1.0 - r));
            }
        }
    }
}
