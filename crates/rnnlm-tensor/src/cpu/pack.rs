//! Laying out the right operand of a product, panel by panel; what a panel is, `product.rs` shows.

use super::buffer::LINE;
use super::isa::{Kernel, Lanes};
use super::product::Rows;

/// One panel: `cols` columns of `b`, and zeros behind the last.
pub(super) struct PackPanel<'a> {
    pub(super) b: Rows<'a>,
    pub(super) cols: usize,
    /// Columns of the panel, those with zeros included.
    pub(super) width: usize,
    pub(super) panel: &'a mut [f32],
}

impl Kernel for PackPanel<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.width {
            48 => self.rows::<48>(),
            32 => self.rows::<32>(),
            24 => self.rows::<24>(),
            16 => self.rows::<16>(),
            8 => self.rows::<8>(),
            width => unreachable!("no tile of {width} columns"),
        }
    }
}

impl PackPanel<'_> {
    #[inline(always)]
    fn rows<const NR: usize>(self) {
        let Self { b: Rows { values, row_stride, col_stride }, cols, panel, .. } = self;
        let (panel, _) = panel.as_chunks_mut::<NR>();
        if row_stride == 1 && col_stride != 1 {
            for (block, panel) in panel.chunks_mut(LINE).enumerate() {
                transpose_block(&values[block * LINE..], col_stride, cols, panel);
            }
            return;
        }
        for (p, row) in panel.iter_mut().enumerate() {
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
fn transpose_block<const NR: usize>(values: &[f32], col_stride: usize, cols: usize, panel: &mut [[f32; NR]]) {
    for row in panel.iter_mut() {
        row[cols..].fill(0.0);
    }
    for (j, column) in values.chunks(col_stride).take(cols).enumerate() {
        match (<&mut [[f32; NR]; LINE]>::try_from(&mut *panel), column.first_chunk::<LINE>()) {
            // sizes that are known are moves without a check
            (Ok(panel), Some(column)) => panel.iter_mut().zip(column).for_each(|(row, value)| row[j] = *value),
            _ => panel.iter_mut().zip(column).for_each(|(row, value)| row[j] = *value),
        }
    }
}
