//! Splitting the output of a multiplication among threads, by rows or by columns. Results do not depend on it.

use std::cell::{Cell, RefCell};

use rayon::prelude::*;

use super::blocking::{COLUMN_SPLIT_MAX_ROWS, KC, MAX_NR, MC, PARALLEL_MIN_FLOPS};
use super::operand::{MatRef, Store};
use super::packed::{PackedMatrix, multiply_in_place, reads_in_place};
use crate::cpu::buffer::LINE;
use crate::cpu::isa::Isa;
use crate::cpu::work_splitting::{self, Chunk};

thread_local! {
    /// This thread's packed block of `B`; grows to the largest and is kept.
    static PACKED: RefCell<Option<PackedMatrix>> = const { RefCell::new(None) };
    /// Contiguous copies of the column blocks of an output with few rows; kept likewise.
    static COLUMN_BLOCKS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// The bytes of packed blocks of `B` that all threads keep for `C[m, n] = A[m, k] · B[k, n]`. Less is used if `B` is read in
/// place.
pub(super) fn scratch_bytes(isa: Isa, threads: usize, [m, k]: [u128; 2], n: usize) -> u128 {
    let is_split = threads > 1 && 2 * m * k * n as u128 >= PARALLEL_MIN_FLOPS as u128;
    let parts = if is_split { m.min(threads as u128) } else { 1 };
    parts * PackedMatrix::num_bytes(isa, k.min(KC as u128), n)
}

/// `C[rows, cols] = A[rows, k] · B[k, cols]`, to be split among threads.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) isa: Isa,
    pub(super) threads: usize,
    pub(super) k: usize,
    pub(super) a: MatRef<'a>,
    pub(super) b: MatRef<'a>,
    pub(super) to: Store<'a>,
    /// Spare elements of each row of the output, and of its bias: [`crate::Layout::padding`].
    pub(super) padding: usize,
}

impl Problem<'_> {
    /// Computes it; `out` starts at the first element of `C` and ends with the padding of its last row.
    pub(super) fn run(&self, [rows, cols]: [usize; 2], out: &mut [f32]) {
        let (stride, padding) = (self.to.stride, self.padding);
        if rows == 0 || cols == 0 {
            return;
        }
        if self.threads == 1 || 2 * rows * cols * self.k < PARALLEL_MIN_FLOPS {
            let mut whole = Part { first: [0, 0], cols, out, stride, padding };
            (0..self.num_blocks()).for_each(|block| self.multiply_block(block, &mut whole));
        } else if rows <= COLUMN_SPLIT_MAX_ROWS && cols / self.threads >= 2 * MAX_NR {
            self.split_columns(cols.div_ceil(self.threads).next_multiple_of(LINE), [rows, cols], out);
        } else {
            let rows_per_part = rows.div_ceil(self.threads);
            let parts = out.par_chunks_mut(rows_per_part * stride).enumerate();
            let parts =
                parts.map(|(index, out)| Part { first: [index * rows_per_part, 0], cols, out, stride, padding });
            self.run_parts([rows_per_part, cols], parts);
        }
    }

    /// Blocks of `KC` rows of `B`; one empty block if there are none, which writes zeros.
    fn num_blocks(&self) -> usize {
        self.k.div_ceil(KC).max(1)
    }

    /// All blocks of parts of at most `[rows, cols]`.
    fn run_parts<'p>(&self, [rows, cols]: [usize; 2], parts: impl IndexedParallelIterator<Item = Part<'p>>) {
        let flops_per_row = 2 * KC.min(self.k) * cols;
        work_splitting::run_steps(parts, rows, self.num_blocks(), flops_per_row, |block, part| {
            self.multiply_block(block, part);
        });
    }

    /// Splits the output into blocks of `width` columns. Each block is computed in contiguous memory, because threads can
    /// only be given disjoint slices.
    fn split_columns(&self, width: usize, [rows, cols]: [usize; 2], out: &mut [f32]) {
        let stride = self.to.stride;
        let mut blocks = COLUMN_BLOCKS.take();
        blocks.resize(blocks.len().max(rows * cols), 0.0);
        let old = &*out;
        let parts = blocks[..rows * cols].par_chunks_mut(rows * width).enumerate().map(|(index, block)| {
            let (first, cols) = (index * width, block.len() / rows);
            if self.to.accumulate {
                for (block, row) in block.chunks_exact_mut(cols).zip(old.chunks(stride)) {
                    block.copy_from_slice(&row[first..first + cols]);
                }
            }
            Part { first: [0, first], cols, out: block, stride: cols, padding: 0 }
        });
        self.run_parts([rows, width], parts);
        for (index, block) in blocks[..rows * cols].chunks(rows * width).enumerate() {
            let (first, cols) = (index * width, block.len() / rows);
            for (block, row) in block.chunks_exact(cols).zip(out.chunks_mut(stride)) {
                row[first..first + cols].copy_from_slice(block);
            }
        }
        COLUMN_BLOCKS.set(blocks);
    }

    /// Adds block `block` of `k` to a part. `B` is packed by the thread that uses it: a block packed by another core would
    /// have to come from that core's cache.
    fn multiply_block(&self, block: usize, part: &mut Part<'_>) {
        let Self { isa, k, a, b, to, .. } = *self;
        let rows = part.len();
        let Part { first: [row, col], cols, ref mut out, stride, padding } = *part;
        let start = block * KC;
        let depth = KC.min(k - start);
        let a = a.submatrix([row, start]);
        let b = b.submatrix([start, col]);
        let to = Store { stride, ..to.at(row, col).of_block(start == 0, start + depth == k) };
        let mut packed = take_packed(isa).with_padding(padding);
        if a.col_stride != 1 && reads_in_place(b, rows) {
            multiply_in_place([rows, depth, cols], [a, b], &mut packed, out, to);
        } else {
            packed.resize(depth, cols);
            packed.pack_from(b, false);
            for (index, out) in out.chunks_mut(MC * stride).enumerate() {
                let first = index * MC;
                packed.multiply_block(out.len().div_ceil(stride), a.submatrix([first, 0]), out, to.at(first, 0));
            }
        }
        PACKED.set(Some(packed));
    }
}

/// A part of the output: its first row and column, its number of columns, and its memory.
struct Part<'a> {
    first: [usize; 2],
    cols: usize,
    out: &'a mut [f32],
    stride: usize,
    padding: usize,
}

impl Chunk for Part<'_> {
    fn len(&self) -> usize {
        self.out.len().div_ceil(self.stride)
    }

    fn split(self, middle: usize) -> [Self; 2] {
        let (upper, lower) = self.out.split_at_mut(middle * self.stride);
        let [row, col] = self.first;
        [Self { out: upper, ..self }, Self { first: [row + middle, col], out: lower, ..self }]
    }
}

/// This thread's packed block, or a new one if it is in use: a task that waits may run another task on the same thread.
fn take_packed(isa: Isa) -> PackedMatrix {
    PACKED.take().filter(|packed| packed.isa() == isa).unwrap_or_else(|| PackedMatrix::new(isa, 0, 0))
}
