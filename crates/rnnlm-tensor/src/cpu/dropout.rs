//! Dropout: the mask's random bits are computed for many counters at a time.

use rayon::prelude::*;

use super::device::Cpu;
use super::isa::{Isa, Kernel, Lanes};
use crate::ViewMut;
use crate::philox::{Mask, philox};

/// Philox counters per iteration; each supplies the bits of four elements.
const COUNTERS: usize = 16;
/// Rows per task, or periods of a mask that repeats. No result depends on them.
const ROWS_PER_TASK: usize = 32;
const PERIODS_PER_TASK: usize = 8;

/// `out = out ∘ mask`, on slices because the kernel needs contiguous elements.
pub(super) fn dropout(isa: Isa, mask: Mask, out: ViewMut<'_, Cpu>) {
    let cols = out.layout.cols;
    let stride = out.layout.stride.max(1);
    let period = mask.matrix_period();
    let rows_per_task = if period > 0 { PERIODS_PER_TASK * period } else { ROWS_PER_TASK };
    let tasks = out.buffer[out.layout.span()].par_chunks_mut(rows_per_task * stride);
    tasks.enumerate().for_each(|(task, rows)| {
        let first_row = if period > 0 { 0 } else { task * rows_per_task };
        let num_rows = rows.len().div_ceil(stride);
        let num_mask_rows = if period > 0 { period.min(num_rows) } else { num_rows };
        for index in 0..num_mask_rows {
            isa.run(DropoutRow {
                mask,
                row: mask.row(first_row + index),
                values: &mut rows[index * stride..],
                cols,
                distance: num_mask_rows * stride,
            });
        }
    });
}

/// `out[r, :] *= m` with the mask's element `(ids[r], 0)`.
pub(super) fn dropout_rows(mask: Mask, ids: &[u32], out: ViewMut<'_, Cpu>) {
    let cols = out.layout.cols;
    let stride = out.layout.stride.max(1);
    let [layer, step_low, step_high] = mask.stream();
    for (row, &id) in out.buffer[out.layout.span()].chunks_mut(stride).zip(ids) {
        let counter = [mask.row(id as usize) as u32, layer, step_low, step_high];
        let [[word], ..] = philox(mask.key(), counter.map(|word| [word]));
        let factor = if word < mask.threshold() { 0.0 } else { mask.scale() };
        row[..cols].iter_mut().for_each(|value| *value *= factor);
    }
}

/// Multiplies a row of `out`, and the same row of each later period, by a row of the mask.
struct DropoutRow<'a> {
    mask: Mask,
    row: usize,
    /// The first row and all that follows it.
    values: &'a mut [f32],
    cols: usize,
    /// The distance between the starts of two rows.
    distance: usize,
}

impl Kernel for DropoutRow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { mask, row, values, cols, distance } = self;
        let scale = mask.scale();
        let threshold = mask.threshold();
        let [layer, step_low, step_high] = mask.stream();
        let first_counter = row * cols.div_ceil(4);
        for first_col in (0..cols).step_by(4 * COUNTERS) {
            let start = (first_counter + first_col / 4) as u32;
            let mut counters = [[0; COUNTERS], [layer; COUNTERS], [step_low; COUNTERS], [step_high; COUNTERS]];
            for (offset, counter) in counters[0].iter_mut().enumerate() {
                *counter = start.wrapping_add(offset as u32);
            }
            let words = philox(mask.key(), counters);
            let mut factors = [0.0; 4 * COUNTERS];
            for i in 0..COUNTERS {
                for word in 0..4 {
                    factors[4 * i + word] = if words[word][i] < threshold { 0.0 } else { scale };
                }
            }
            let len = factors.len().min(cols - first_col);
            for row in values[first_col..].chunks_mut(distance) {
                // a multiplication, so that NaN stays NaN where it is dropped, as in PyTorch
                row[..len].iter_mut().zip(&factors).for_each(|(value, factor)| *value *= factor);
            }
        }
    }
}
