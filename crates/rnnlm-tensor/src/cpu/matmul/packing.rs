//! Packing: `B` is copied panel by panel, each panel row by row without gaps.

use super::operand::MatRef;
use crate::cpu::buffer::LINE;
use crate::cpu::isa::{Kernel, Lanes, SQUARE};

/// Packs one panel: `cols` columns of `b`, then zeros up to `width`.
pub(super) struct PackPanel<'a> {
    pub(super) b: MatRef<'a>,
    pub(super) cols: usize,
    /// Columns of the panel with padding.
    pub(super) width: usize,
    pub(super) panel: &'a mut [f32],
}

impl Kernel for PackPanel<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.width {
            48 => self.pack::<L, 48>(),
            32 => self.pack::<L, 32>(),
            24 => self.pack::<L, 24>(),
            16 => self.pack::<L, 16>(),
            8 => self.pack::<L, 8>(),
            width => unreachable!("no tile has {width} columns"),
        }
    }
}

impl PackPanel<'_> {
    #[inline(always)]
    fn pack<L: Lanes, const NR: usize>(self) {
        let Self { b: MatRef { values, row_stride, col_stride }, cols, panel, .. } = self;
        if row_stride == 1 && col_stride != 1 {
            for (block, panel) in panel.chunks_mut(LINE * NR).enumerate() {
                transpose_block::<L, NR>(&values[block * LINE..], col_stride, cols, panel);
            }
            return;
        }
        for (p, row) in panel.chunks_exact_mut(NR).enumerate() {
            let source = &values[p * row_stride..];
            // a copy of constant length compiles to a few moves
            if col_stride == 1 && cols == NR {
                row.copy_from_slice(&source[..NR]);
            } else {
                row[..cols].iter_mut().enumerate().for_each(|(j, value)| *value = source[j * col_stride]);
                row[cols..].fill(0.0);
            }
        }
    }
}

/// Transposes one cache line of each column into as many rows of a panel. Columns whose stride is a power of two map to few
/// sets of the cache, so reading them row by row would evict each line before its next element is read.
#[inline(always)]
fn transpose_block<L: Lanes, const NR: usize>(values: &[f32], col_stride: usize, cols: usize, panel: &mut [f32]) {
    let depth = panel.len() / NR;
    // whole squares need a whole line of every column
    let has_whole_lines = depth == LINE && values.len() >= (cols - 1) * col_stride + LINE;
    let cols_in_squares = if has_whole_lines { cols / SQUARE * SQUARE } else { 0 };
    for first in (0..cols_in_squares).step_by(SQUARE) {
        for start in (0..LINE).step_by(SQUARE) {
            let columns = &values[first * col_stride + start..];
            let rows = &mut panel[start * NR + first..];
            L::transpose(columns, col_stride, rows, NR);
        }
    }
    for row in panel.chunks_exact_mut(NR) {
        row[cols..].fill(0.0);
    }
    for (j, column) in values.chunks(col_stride).enumerate().take(cols).skip(cols_in_squares) {
        panel.chunks_exact_mut(NR).zip(column).for_each(|(row, value)| row[j] = *value);
    }
}
