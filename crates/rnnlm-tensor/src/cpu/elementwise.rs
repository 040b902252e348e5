//! Loops over the elements of one, two or three matrices.

use rayon::prelude::*;

use super::{Cpu, row, row_mut};
use crate::{Activation, View, ViewMut};

/// Rows that one task activates; fixed, so that the split does not follow the number of threads.
const ROWS_PER_TASK: usize = 8;
/// Elements of a row that a task takes, where a row is as long as all parameters together; fixed, for the same reason.
pub(super) const PART: usize = 1 << 14;

/// Elements of short rows without gaps that [`add_row`] works on in one go.
const TOGETHER: usize = 512;

pub(super) fn fill(value: f32, mut out: ViewMut<'_, Cpu>) {
    for r in 0..out.layout.rows {
        row_mut(&mut out, r).par_chunks_mut(PART).for_each(|part| part.fill(value));
    }
}

/// `f32::clamp` lets a NaN through.
pub(super) fn clamp(bound: f32, mut out: ViewMut<'_, Cpu>) {
    for r in 0..out.layout.rows {
        row_mut(&mut out, r).iter_mut().for_each(|value| *value = value.clamp(-bound, bound));
    }
}

/// `f(a, &mut out)` for every pair of elements.
pub(super) fn zip(a: View<'_, Cpu>, mut out: ViewMut<'_, Cpu>, f: impl Fn(f32, &mut f32)) {
    for r in 0..a.layout.rows {
        for (out, &a) in row_mut(&mut out, r).iter_mut().zip(row(&a, r)) {
            f(a, out);
        }
    }
}

pub(super) fn multiply(a: View<'_, Cpu>, b: View<'_, Cpu>, accumulate: bool, mut out: ViewMut<'_, Cpu>) {
    for r in 0..a.layout.rows {
        let pairs = row(&a, r).iter().zip(row(&b, r));
        for (out, (a, b)) in row_mut(&mut out, r).iter_mut().zip(pairs) {
            *out = if accumulate { *out + a * b } else { a * b };
        }
    }
}

pub(super) fn add_row(addend: View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) {
    let addend = row(&addend, 0);
    if out.layout.is_dense() && (1..=TOGETHER / 2).contains(&addend.len()) {
        let mut repeated = [0.0; TOGETHER];
        let len = TOGETHER / addend.len() * addend.len();
        repeated[..len].chunks_exact_mut(addend.len()).for_each(|row| row.copy_from_slice(addend));
        let span = out.layout.span();
        out.buffer[span].chunks_mut(len).for_each(|rows| add(rows, &repeated));
        return;
    }
    for r in 0..out.layout.rows {
        add(row_mut(&mut out, r), addend);
    }
}

fn add(out: &mut [f32], addend: &[f32]) {
    out.iter_mut().zip(addend).for_each(|(out, a)| *out += a);
}

/// The scalar functions of the standard library: this is the path that others are measured against.
pub(super) fn activate(activation: Activation, out: ViewMut<'_, Cpu>) {
    let f = match activation {
        Activation::Tanh => f32::tanh,
        // `f32::max` would turn NaN into 0 and hide a divergence
        Activation::Relu => |x: f32| if x <= 0.0 { 0.0 } else { x },
        Activation::Sigmoid => |x: f32| 1.0 / (1.0 + (-x).exp()),
    };
    let (span, stride, cols) = (out.layout.span(), out.layout.stride.max(1), out.layout.cols);
    out.buffer[span].par_chunks_mut(ROWS_PER_TASK * stride).for_each(|rows| {
        for row in rows.chunks_mut(stride) {
            for value in row.iter_mut().take(cols) {
                *value = f(*value);
            }
        }
    });
}
