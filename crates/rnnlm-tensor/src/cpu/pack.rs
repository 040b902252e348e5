//! Laying out the right operand of a product, panel by panel; what a panel is, `product.rs` shows.

use super::isa::{Kernel, Lanes};
use super::product::Rows;

/// One panel: `cols` columns of `b`, and zeros behind the last.
pub(super) struct PackPanel<'a> {
    pub(super) b: Rows<'a>,
    pub(super) cols: usize,
    pub(super) panel: &'a mut [f32],
}

impl Kernel for PackPanel<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        match L::TILE[1] * L::LANES {
            32 => self.rows::<32>(),
            16 => self.rows::<16>(),
            8 => self.rows::<8>(),
            cols => unreachable!("no tile of {cols} columns"),
        }
    }
}

impl PackPanel<'_> {
    #[inline(always)]
    fn rows<const NR: usize>(self) {
        let Self { b: Rows { values, row_stride, col_stride }, cols, panel } = self;
        for (p, row) in panel.as_chunks_mut::<NR>().0.iter_mut().enumerate() {
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
