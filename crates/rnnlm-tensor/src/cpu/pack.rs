//! Laying out the right operand of a product, panel by panel; what a panel is, `product.rs` shows.

use super::buffer::LINE;
use super::isa::{Kernel, Lanes, SQUARE};
use super::product::Rows;

/// One panel: `cols` columns of `b`, and zeros behind the last.
pub(super) struct PackPanel<'a> {
    pub(super) b: Rows<'a>,
    pub(super) cols: usize,
    /// Columns of the panel, those with zeros included.
    pub(super) width: usize,
    /// Distance between its rows: as wide as it is, or four times where those of four panels take turns.
    pub(super) pitch: usize,
    pub(super) panel: &'a mut [f32],
}

impl Kernel for PackPanel<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        match [self.width, self.pitch] {
            [48, 48] => self.rows::<L, 48, 48>(),
            [32, 32] => self.rows::<L, 32, 32>(),
            [24, 24] => self.rows::<L, 24, 24>(),
            [16, 64] => self.rows::<L, 16, 64>(),
            [16, 16] => self.rows::<L, 16, 16>(),
            [8, 32] => self.rows::<L, 8, 32>(),
            [8, 8] => self.rows::<L, 8, 8>(),
            [width, pitch] => unreachable!("no tile of {width} columns, {pitch} apart"),
        }
    }
}

impl PackPanel<'_> {
    #[inline(always)]
    fn rows<L: Lanes, const NR: usize, const PITCH: usize>(self) {
        let Self { b: Rows { values, row_stride, col_stride }, cols, panel, .. } = self;
        if row_stride == 1 && col_stride != 1 {
            for (block, panel) in panel.chunks_mut(LINE * PITCH).enumerate() {
                transpose_block::<L, NR, PITCH>(&values[block * LINE..], col_stride, cols, panel);
            }
            return;
        }
        for (p, row) in panel.chunks_mut(PITCH).enumerate() {
            let row = &mut row[..NR];
            let source = &values[p * row_stride..];
            // a length that is known is a few moves, another one a call
            if col_stride == 1 && cols == NR {
                row.copy_from_slice(&source[..NR]);
            } else {
                row[..cols].iter_mut().enumerate().for_each(|(j, value)| *value = source[j * col_stride]);
                row[cols..].fill(0.0);
            }
        }
    }
}

/// A cache line of each column becomes as many rows of a panel: the columns of a matrix whose rows are a power of two apart
/// share so few places of the cache that none would still be there for the next row.
#[inline(always)]
fn transpose_block<L: Lanes, const NR: usize, const PITCH: usize>(
    values: &[f32],
    col_stride: usize,
    cols: usize,
    panel: &mut [f32],
) {
    let depth = panel.len().div_ceil(PITCH);
    // whole squares, where there is a whole line of each column
    let whole = depth == LINE && values.len() >= (cols - 1) * col_stride + LINE;
    let in_squares = if whole { cols / SQUARE * SQUARE } else { 0 };
    for first in (0..in_squares).step_by(SQUARE) {
        for start in (0..LINE).step_by(SQUARE) {
            let (columns, rows) = (&values[first * col_stride + start..], &mut panel[start * PITCH + first..]);
            L::transpose(columns, col_stride, rows, PITCH);
        }
    }
    for row in panel.chunks_mut(PITCH) {
        row[cols..NR].fill(0.0);
    }
    for (j, column) in values.chunks(col_stride).enumerate().take(cols).skip(in_squares) {
        panel.chunks_mut(PITCH).zip(column).for_each(|(row, value)| row[j] = *value);
    }
}
