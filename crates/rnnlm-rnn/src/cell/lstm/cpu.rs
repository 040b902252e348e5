//! The LSTM's fused step on the CPU. Rows of gates are `[i f g o]`.
//!
//! Each equation is a loop that writes one slice. The compiler vectorises such a loop; for one that writes five slices it
//! would have to prove that none overlaps another. A row stays in the first-level cache meanwhile.

use rnnlm_tensor::cpu::{Kernel, Lanes, math};

use crate::recurrence::cpu::{BACKWARD_CHUNK, BackwardStep, ForwardStep, FusedCell, Strides};

/// The fused LSTM cell.
#[derive(Debug)]
pub(crate) struct Lstm;

impl FusedCell for Lstm {
    fn forward(&self, step: ForwardStep<'_>) {
        let ForwardStep { context, gates, hidden_before, hidden, cell_before, cell, .. } = step;
        let strides = context.strides;
        context.pre_activations(0, hidden_before, gates, strides.gates);
        context.isa.run(Forward { gates, c_before: cell_before, c: cell, h: hidden, strides });
    }

    fn backward(&self, step: BackwardStep<'_>) {
        let BackwardStep { context, gates, cell_before, cell, grad_hidden, grad_cell, .. } = step;
        let strides = context.strides;
        let (dh, dc) = (&*grad_hidden, grad_cell);
        context.isa.run(Backward { gates, c_before: cell_before, c: cell, dh, dc, strides });
        context.hidden_gradient(0, gates, strides.gates, grad_hidden, false);
    }
}

/// The gates from their pre-activations, `c = f ∘ c_before + i ∘ g` and `h = o ∘ tanh(c)`.
struct Forward<'a> {
    /// `[m, 4H]`: pre-activations, then activated gates.
    gates: &'a mut [f32],
    /// Cell state before the step, `[m, H]`.
    c_before: &'a [f32],
    /// Cell state after the step, `[m, H]`.
    c: &'a mut [f32],
    /// Hidden state after the step, `[m, H]`.
    h: &'a mut [f32],
    strides: Strides,
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Strides { hidden_size: size, state, gates } = self.strides;
        let rows = self.gates.chunks_exact_mut(gates).zip(self.c_before.chunks_exact(state));
        let states = self.c.chunks_exact_mut(state).zip(self.h.chunks_exact_mut(state));
        for ((gates, c_before), (c, h)) in rows.zip(states) {
            math::sigmoid_each::<L>(&mut gates[..2 * size]);
            math::tanh_each::<L>(&mut gates[2 * size..3 * size]);
            math::sigmoid_each::<L>(&mut gates[3 * size..4 * size]);
            let [i, f, g, o] = quarters(gates, size);
            let inputs = f.iter().zip(c_before).zip(i.iter().zip(g));
            c.iter_mut().zip(inputs).for_each(|(c, ((f, c_before), (i, g)))| *c = f * c_before + i * g);
            let h = &mut h[..size];
            h.copy_from_slice(&c[..size]);
            math::tanh_each::<L>(h);
            h.iter_mut().zip(o).for_each(|(h, o)| *h *= o);
        }
    }
}

/// The reverse of [`Forward`]: the gradients of the pre-activations overwrite the gates, and `∂c_{t−1}` overwrites `∂c_t`.
struct Backward<'a> {
    /// Activated gates, then gradients, `[m, 4H]`.
    gates: &'a mut [f32],
    /// Cell state before the step, `[m, H]`.
    c_before: &'a [f32],
    /// Cell state after the step, `[m, H]`.
    c: &'a [f32],
    /// `∂h`, `[m, H]`.
    dh: &'a [f32],
    /// `∂c`, `[m, H]`.
    dc: &'a mut [f32],
    strides: Strides,
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Strides { hidden_size: size, state, gates } = self.strides;
        let states = self.c_before.chunks_exact(state).zip(self.c.chunks_exact(state)).zip(self.dh.chunks_exact(state));
        let written = self.gates.chunks_exact_mut(gates).zip(self.dc.chunks_exact_mut(state));
        // a copy of some gates: the compiler knows that no other slice overlaps it
        let mut copies = [[0.0; BACKWARD_CHUNK]; 4];
        let mut tanh_c = [0.0; BACKWARD_CHUNK];
        for (((c_before, c), dh), (gates, dc)) in states.zip(written) {
            for first in (0..size).step_by(BACKWARD_CHUNK) {
                let (start, end) = (first, size.min(first + BACKWARD_CHUNK));
                let len = end - start;
                for (copy, gate) in copies.iter_mut().zip(quarters(gates, size)) {
                    copy[..len].copy_from_slice(&gate[start..end]);
                }
                let [i, f, g, o] = copies.each_ref().map(|copy| &copy[..len]);
                let [di, df, dg, do_] = quarters_mut(gates, size).map(|gate| &mut gate[start..end]);
                let (c_before, c, dh, dc) =
                    (&c_before[start..end], &c[start..end], &dh[start..end], &mut dc[start..end]);
                let tanh_c = &mut tanh_c[..len];
                tanh_c.copy_from_slice(c);
                math::tanh_each::<L>(tanh_c);
                let through_h = dh.iter().zip(o).zip(&*tanh_c);
                for (dc, ((dh, o), tanh_c)) in dc.iter_mut().zip(through_h.clone()) {
                    *dc += dh * o * (1.0 - tanh_c * tanh_c);
                }
                for (do_, ((dh, o), tanh_c)) in do_.iter_mut().zip(through_h) {
                    *do_ = dh * tanh_c * (o * (1.0 - o));
                }
                let through_c = |factor, gate| dc.iter().zip::<&[f32]>(factor).zip::<&[f32]>(gate);
                for (di, ((dc, g), i)) in di.iter_mut().zip(through_c(g, i)) {
                    *di = dc * g * (i * (1.0 - i));
                }
                for (df, ((dc, c_before), f)) in df.iter_mut().zip(through_c(c_before, f)) {
                    *df = dc * c_before * (f * (1.0 - f));
                }
                for (dg, ((dc, i), g)) in dg.iter_mut().zip(through_c(i, g)) {
                    *dg = dc * i * (1.0 - g * g);
                }
                dc.iter_mut().zip(f).for_each(|(dc, f)| *dc *= f);
            }
        }
    }
}

/// The four gates of one row, each `H` long.
#[inline(always)]
fn quarters(row: &[f32], size: usize) -> [&[f32]; 4] {
    let ((i, f), (g, o)) = (row[..2 * size].split_at(size), row[2 * size..4 * size].split_at(size));
    [i, f, g, o]
}

/// [`quarters`], to write.
#[inline(always)]
fn quarters_mut(row: &mut [f32], size: usize) -> [&mut [f32]; 4] {
    let (i_f, g_o) = row.split_at_mut(2 * size);
    let ((i, f), (g, o)) = (i_f.split_at_mut(size), g_o.split_at_mut(size));
    [i, f, g, o]
}
