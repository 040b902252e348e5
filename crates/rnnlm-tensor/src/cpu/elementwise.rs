//! Elementwise operations, written on `ndarray` views. Each element depends only on its own inputs, so neither the number of
//! threads nor the split into tasks affects a result.

use ndarray::parallel::prelude::*;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, azip};

use super::device::Cpu;
use crate::{Activation, View, ViewMut};

/// Rows per task of [`activate`].
const ROWS_PER_TASK: usize = 8;
/// Columns per task where one row contains all parameters.
const COLS_PER_TASK: usize = 1 << 14;

/// Blocks of columns, one per task.
pub(super) fn column_blocks<'a>(
    array: &'a ArrayView2<'_, f32>,
) -> impl IndexedParallelIterator<Item = ArrayView2<'a, f32>> {
    array.axis_chunks_iter(Axis(1), COLS_PER_TASK).into_par_iter()
}

/// Mutable blocks of columns, one per task.
pub(super) fn column_blocks_mut<'a>(
    array: &'a mut ArrayViewMut2<'_, f32>,
) -> impl IndexedParallelIterator<Item = ArrayViewMut2<'a, f32>> {
    array.axis_chunks_iter_mut(Axis(1), COLS_PER_TASK).into_par_iter()
}

pub(super) fn fill(value: f32, out: ViewMut<'_, Cpu>) {
    column_blocks_mut(&mut out.into()).for_each(|mut block| block.fill(value));
}

pub(super) fn copy(a: View<'_, Cpu>, out: ViewMut<'_, Cpu>) {
    let (from, mut to) = (ArrayView2::from(a), ArrayViewMut2::from(out));
    match (from.as_slice(), to.as_slice_mut()) {
        // `assign` copies element by element; the state of a single sequence is a third faster as one block
        (Some(from), Some(to)) => to.copy_from_slice(from),
        _ => to.assign(&from),
    }
}

pub(super) fn axpy(alpha: f32, a: View<'_, Cpu>, out: ViewMut<'_, Cpu>) {
    ArrayViewMut2::from(out).scaled_add(alpha, &ArrayView2::from(a));
}

pub(super) fn multiply(a: View<'_, Cpu>, b: View<'_, Cpu>, accumulate: bool, out: ViewMut<'_, Cpu>) {
    let (a, b) = (ArrayView2::from(a), ArrayView2::from(b));
    let out = ArrayViewMut2::from(out);
    if accumulate {
        azip!((out in out, &a in a, &b in b) *out += a * b);
    } else {
        azip!((out in out, &a in a, &b in b) *out = a * b);
    }
}

pub(super) fn normalize(a: View<'_, Cpu>, b: View<'_, Cpu>, out: ViewMut<'_, Cpu>) {
    let (a, b) = (ArrayView2::from(a), ArrayView2::from(b));
    azip!((out in ArrayViewMut2::from(out), &a in a, &b in b) *out = if a + b == 0.0 { 0.5 } else { a / (a + b) });
}

pub(super) fn add_row(row: View<'_, Cpu>, out: ViewMut<'_, Cpu>) {
    let mut out = ArrayViewMut2::from(out);
    out += &ArrayView2::from(row);
}

pub(super) fn zero_rows(mask: &[u32], out: ViewMut<'_, Cpu>) {
    let mut out = ArrayViewMut2::from(out);
    let rows = out.rows_mut().into_iter().zip(mask);
    rows.filter(|&(_, &flag)| flag != 0).for_each(|(mut row, _)| row.fill(0.0));
}

/// NaN stays NaN, as `f32::clamp` guarantees.
pub(super) fn clamp(bound: f32, out: ViewMut<'_, Cpu>) {
    ArrayViewMut2::from(out).mapv_inplace(|value| value.clamp(-bound, bound));
}

/// The reference for the vectorised functions of [`math`](super::math), with scalar functions that are independent of them.
pub(super) fn activate(activation: Activation, out: ViewMut<'_, Cpu>) {
    match activation {
        Activation::Tanh => map(out, libm::tanhf),
        // `f32::max` would turn NaN into 0 and hide a divergence
        Activation::Relu => map(out, |x| if x <= 0.0 { 0.0 } else { x }),
        Activation::Sigmoid => map(out, |x| 1.0 / (1.0 + libm::expf(-x))),
    }
}

fn map(out: ViewMut<'_, Cpu>, f: impl Fn(f32) -> f32 + Sync) {
    let mut out = ArrayViewMut2::from(out);
    let blocks = out.axis_chunks_iter_mut(Axis(0), ROWS_PER_TASK).into_par_iter();
    blocks.for_each(|mut rows| rows.mapv_inplace(&f));
}

pub(super) fn activate_backward(activation: Activation, y: View<'_, Cpu>, out: ViewMut<'_, Cpu>) {
    let y = ArrayView2::from(y);
    let out = ArrayViewMut2::from(out);
    match activation {
        Activation::Tanh => azip!((out in out, &y in y) *out *= 1.0 - y * y),
        Activation::Sigmoid => azip!((out in out, &y in y) *out *= y * (1.0 - y)),
        Activation::Relu => azip!((out in out, &y in y) if y <= 0.0 { *out = 0.0 }),
    }
}
