//! The LSTM's part of the CPU's fused path: what happens to some rows between two products. Rows are `[i f g o]`.

use rnnlm_tensor::cpu::{Isa, math};

/// Pre-activations become gates; `c = f ∘ c_before + i ∘ g`, `h = o ∘ tanh(c)`.
pub(crate) fn forward(isa: Isa, gates: &mut [f32], c_before: &[f32], c: &mut [f32], h: &mut [f32], hidden_size: usize) {
    let rows = gates.chunks_exact_mut(4 * hidden_size).zip(c_before.chunks_exact(hidden_size));
    for ((gates, c_before), (c, h)) in rows.zip(c.chunks_exact_mut(hidden_size).zip(h.chunks_exact_mut(hidden_size))) {
        math::sigmoid(isa, &mut gates[..2 * hidden_size]);
        math::tanh(isa, &mut gates[2 * hidden_size..3 * hidden_size]);
        math::sigmoid(isa, &mut gates[3 * hidden_size..]);
        let [i, f, g, o] = quarters(gates, hidden_size);
        for unit in 0..hidden_size {
            c[unit] = f[unit] * c_before[unit] + i[unit] * g[unit];
        }
        h.copy_from_slice(c);
        math::tanh(isa, h);
        h.iter_mut().zip(o).for_each(|(h, o)| *h *= o);
    }
}

/// What the backward pass of some rows reads.
pub(crate) struct Rows<'a> {
    /// Activated gates, `[m, 4H]`.
    pub(crate) gates: &'a [f32],
    /// Cell state before the step, `[m, H]`.
    pub(crate) c_before: &'a [f32],
    /// Cell state after the step, `[m, H]`.
    pub(crate) c: &'a [f32],
    /// `∂h`, `[m, H]`.
    pub(crate) dh: &'a [f32],
}

/// `dgates` becomes the gradients of the pre-activations, `dc` is turned from `∂c_t` into `∂c_{t−1}`; `scratch` is one row.
pub(crate) fn backward(isa: Isa, rows: &Rows<'_>, dc: &mut [f32], dgates: &mut [f32], scratch: &mut [f32]) {
    let h = scratch.len();
    for (row, (dgates, dc)) in dgates.chunks_exact_mut(4 * h).zip(dc.chunks_exact_mut(h)).enumerate() {
        let (units, block) = (row * h..(row + 1) * h, row * 4 * h..(row + 1) * 4 * h);
        let [i, f, g, o] = quarters(&rows.gates[block], h);
        let (c_before, dh) = (&rows.c_before[units.clone()], &rows.dh[units.clone()]);
        scratch.copy_from_slice(&rows.c[units]);
        math::tanh(isa, scratch);
        let (di_df, dg_do) = dgates.split_at_mut(2 * h);
        let ((di, df), (dg, do_)) = (di_df.split_at_mut(h), dg_do.split_at_mut(h));
        for unit in 0..h {
            let tanh_c = scratch[unit];
            let dc_now = dc[unit] + dh[unit] * o[unit] * (1.0 - tanh_c * tanh_c);
            di[unit] = dc_now * g[unit] * (i[unit] * (1.0 - i[unit]));
            df[unit] = dc_now * c_before[unit] * (f[unit] * (1.0 - f[unit]));
            dg[unit] = dc_now * i[unit] * (1.0 - g[unit] * g[unit]);
            do_[unit] = dh[unit] * tanh_c * (o[unit] * (1.0 - o[unit]));
            dc[unit] = dc_now * f[unit];
        }
    }
}

/// The four gates of one row, each `H` long so that loops over units need no bounds check.
fn quarters(row: &[f32], h: usize) -> [&[f32]; 4] {
    let ((i, f), (g, o)) = (row[..2 * h].split_at(h), row[2 * h..4 * h].split_at(h));
    [i, f, g, o]
}
