//! Masks of dropout: bits by place, many counters side by side.

use rayon::prelude::*;

use super::{Cpu, Isa, Kernel, Lanes};
use crate::ViewMut;
use crate::philox::{Mask, philox};

/// Counters that are computed side by side; each has four elements.
const COUNTERS: usize = 16;
/// Rows that one task takes; no bit depends on it.
const ROWS_PER_TASK: usize = 32;

/// `out = out ∘ mask`.
pub(super) fn dropout(isa: Isa, mask: Mask, out: ViewMut<'_, Cpu>) {
    let (cols, stride, span) = (out.layout.cols, out.layout.stride.max(1), out.layout.span());
    out.buffer[span].par_chunks_mut(ROWS_PER_TASK * stride).enumerate().for_each(|(task, rows)| {
        for (index, row) in rows.chunks_mut(stride).enumerate() {
            isa.run(DropRow { mask, row: task * ROWS_PER_TASK + index, values: &mut row[..cols] });
        }
    });
}

struct DropRow<'a> {
    mask: Mask,
    row: usize,
    values: &'a mut [f32],
}

impl Kernel for DropRow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (scale, threshold, [layer, low, high]) = (self.mask.scale(), self.mask.threshold(), self.mask.stream());
        let first = self.row * self.values.len().div_ceil(4);
        for (index, values) in self.values.chunks_mut(4 * COUNTERS).enumerate() {
            let start = (first + index * COUNTERS) as u32;
            let mut counters = [[0; COUNTERS], [layer; COUNTERS], [low; COUNTERS], [high; COUNTERS]];
            for (offset, counter) in counters[0].iter_mut().enumerate() {
                *counter = start.wrapping_add(offset as u32);
            }
            let words = philox(self.mask.key(), counters);
            for (place, value) in values.iter_mut().enumerate() {
                // a NaN that is dropped stays one, as in PyTorch: it is multiplied by 0
                *value *= if words[place % 4][place / 4] < threshold { 0.0 } else { scale };
            }
        }
    }
}
