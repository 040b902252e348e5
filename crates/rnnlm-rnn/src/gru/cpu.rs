//! The GRU's part of the CPU's fused path: what happens to some rows between two products. Rows are `[r z n]`.

use rnnlm_tensor::cpu::{Isa, math};

/// `r` and `z` of every row become activated.
pub(crate) fn activate_reset_update(isa: Isa, gates: &mut [f32], hidden_size: usize) {
    gates.chunks_exact_mut(3 * hidden_size).for_each(|row| math::sigmoid(isa, &mut row[..2 * hidden_size]));
}

/// Reset after: `n` receives `r ∘ m` before its activation.
pub(crate) fn add_reset_candidate(gates: &mut [f32], m: &[f32], hidden_size: usize) {
    for (row, m) in gates.chunks_exact_mut(3 * hidden_size).zip(m.chunks_exact(hidden_size)) {
        let (rz, n) = row.split_at_mut(2 * hidden_size);
        n.iter_mut().zip(&rz[..hidden_size]).zip(m).for_each(|((n, r), m)| *n += r * m);
    }
}

/// Reset before: `m = r ∘ h_before`.
pub(crate) fn reset_hidden(gates: &[f32], h_before: &[f32], m: &mut [f32], hidden_size: usize) {
    let rows = gates.chunks_exact(3 * hidden_size).zip(h_before.chunks_exact(hidden_size));
    for ((row, before), m) in rows.zip(m.chunks_exact_mut(hidden_size)) {
        m.iter_mut().zip(row).zip(before).for_each(|((m, r), h)| *m = r * h);
    }
}

/// `n` becomes activated; `h = n + z ∘ (h_before − n)`.
pub(crate) fn finish(isa: Isa, gates: &mut [f32], h_before: &[f32], h: &mut [f32], hidden_size: usize) {
    let rows = gates.chunks_exact_mut(3 * hidden_size).zip(h_before.chunks_exact(hidden_size));
    for ((row, before), h) in rows.zip(h.chunks_exact_mut(hidden_size)) {
        let (rz, n) = row.split_at_mut(2 * hidden_size);
        math::tanh(isa, n);
        let z = &rz[hidden_size..];
        h.iter_mut().zip(z).zip(n.iter().zip(before)).for_each(|((h, z), (n, before))| *h = n + z * (before - n));
    }
}

/// What the backward pass of some rows reads.
pub(crate) struct Rows<'a> {
    /// Activated gates, `[m, 3H]`.
    pub(crate) gates: &'a [f32],
    /// Hidden state before the step, `[m, H]`.
    pub(crate) h_before: &'a [f32],
    /// `W_hn h + b_hn`, `[m, H]`; read only by the form with reset after.
    pub(crate) candidate: &'a [f32],
}

/// `∂z` and `∂n`, both before the product; `dh` keeps the share that went through `z`.
pub(crate) fn backward_update_new(rows: &Rows<'_>, dh: &mut [f32], dgates: &mut [f32], hidden_size: usize) {
    let blocks = rows.gates.chunks_exact(3 * hidden_size).zip(rows.h_before.chunks_exact(hidden_size));
    let outs = dgates.chunks_exact_mut(3 * hidden_size).zip(dh.chunks_exact_mut(hidden_size));
    for ((gates, before), (dgates, dh)) in blocks.zip(outs) {
        let (z, n) = (&gates[hidden_size..2 * hidden_size], &gates[2 * hidden_size..]);
        let (dz, dn) = dgates[hidden_size..].split_at_mut(hidden_size);
        for (unit, dh) in dh.iter_mut().enumerate() {
            let kept = *dh * z[unit];
            dz[unit] = *dh * (before[unit] - n[unit]) * (z[unit] * (1.0 - z[unit]));
            dn[unit] = (*dh - kept) * (1.0 - n[unit] * n[unit]);
            *dh = kept;
        }
    }
}

/// Reset after: `∂m = ∂n ∘ r`, `∂r = ∂n ∘ m ∘ r(1 − r)`.
pub(crate) fn backward_reset_after(rows: &Rows<'_>, dgates: &mut [f32], dm: &mut [f32], hidden_size: usize) {
    let blocks = rows.gates.chunks_exact(3 * hidden_size).zip(rows.candidate.chunks_exact(hidden_size));
    let outs = dgates.chunks_exact_mut(3 * hidden_size).zip(dm.chunks_exact_mut(hidden_size));
    for ((r, m), (dgates, dm)) in blocks.zip(outs) {
        let (dr_dz, dn) = dgates.split_at_mut(2 * hidden_size);
        for (unit, dm) in dm.iter_mut().enumerate() {
            *dm = dn[unit] * r[unit];
            dr_dz[unit] = dn[unit] * m[unit] * (r[unit] * (1.0 - r[unit]));
        }
    }
}

/// Reset before, given `∂m = ∂n · W_hn`: `∂r = ∂m ∘ h_before ∘ r(1 − r)`, and `dh` receives `∂m ∘ r`.
pub(crate) fn backward_reset_before(
    rows: &Rows<'_>,
    dm: &[f32],
    dgates: &mut [f32],
    dh: &mut [f32],
    hidden_size: usize,
) {
    let blocks = rows.gates.chunks_exact(3 * hidden_size).zip(rows.h_before.chunks_exact(hidden_size));
    let outs = dgates.chunks_exact_mut(3 * hidden_size).zip(dh.chunks_exact_mut(hidden_size));
    for (((r, before), dm), (dgates, dh)) in blocks.zip(dm.chunks_exact(hidden_size)).zip(outs) {
        for (unit, dh) in dh.iter_mut().enumerate() {
            *dh += dm[unit] * r[unit];
            dgates[unit] = dm[unit] * before[unit] * (r[unit] * (1.0 - r[unit]));
        }
    }
}
