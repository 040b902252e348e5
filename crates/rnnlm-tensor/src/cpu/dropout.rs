//! Dropout: the mask's random bits are computed for many counters at a time.

use rayon::prelude::*;

use super::device::Cpu;
use super::isa::{Isa, Kernel, Lanes};
use crate::ViewMut;
use crate::philox::{Mask, philox};

/// Philox counters per iteration; each supplies the bits of four elements.
const COUNTERS: usize = 16;
/// Rows per task. No result depends on it.
const ROWS_PER_TASK: usize = 32;

/// `out = out ∘ mask`, on slices because the kernel needs contiguous elements.
pub(super) fn dropout(isa: Isa, mask: Mask, out: ViewMut<'_, Cpu>) {
    let cols = out.layout.cols;
    let stride = out.layout.stride.max(1);
    let span = out.layout.span();
    out.buffer[span].par_chunks_mut(ROWS_PER_TASK * stride).enumerate().for_each(|(task, rows)| {
        for (index, row) in rows.chunks_mut(stride).enumerate() {
            isa.run(DropoutRow { mask, row: task * ROWS_PER_TASK + index, values: &mut row[..cols] });
        }
    });
}

struct DropoutRow<'a> {
    mask: Mask,
    row: usize,
    values: &'a mut [f32],
}

impl Kernel for DropoutRow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let scale = self.mask.scale();
        let threshold = self.mask.threshold();
        let [layer, step_low, step_high] = self.mask.stream();
        let first_counter = self.row * self.values.len().div_ceil(4);
        for (block, values) in self.values.chunks_mut(4 * COUNTERS).enumerate() {
            let start = (first_counter + block * COUNTERS) as u32;
            let mut counters = [[0; COUNTERS], [layer; COUNTERS], [step_low; COUNTERS], [step_high; COUNTERS]];
            for (offset, counter) in counters[0].iter_mut().enumerate() {
                *counter = start.wrapping_add(offset as u32);
            }
            let words = philox(self.mask.key(), counters);
            for (index, value) in values.iter_mut().enumerate() {
                // a multiplication, so that NaN stays NaN where it is dropped, as in PyTorch
                *value *= if words[index % 4][index / 4] < threshold { 0.0 } else { scale };
            }
        }
    }
}
