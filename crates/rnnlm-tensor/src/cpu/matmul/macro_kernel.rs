//! The loops over blocks of `k`, panels and tiles.

use super::blocking::{KC, MAX_MR, UNPACKED_MAX_LDA};
use super::micro_kernel::{TileLoop, TileProduct, with_tile};
use super::operand::{MatRef, Store};
use super::panels::Panels;
use super::single_row::single_row;
use crate::cpu::isa::{Isa, Kernel, Lanes, prefetch};

/// `C[m, n] = A[m, k] · B` on one thread.
pub(super) struct Matmul<'a> {
    pub(super) m: usize,
    pub(super) a: MatRef<'a>,
    pub(super) panels: Panels<'a>,
    pub(super) c: &'a mut [f32],
    pub(super) to: Store<'a>,
}

impl Matmul<'_> {
    /// Computes it.
    ///
    /// # Panics
    /// If a slice is too short for its rows.
    pub(super) fn run_on(self, isa: Isa) {
        let Self { m, a, panels, ref c, to } = self;
        let (k, n) = (panels.depth, panels.layout.n());
        if m == 0 || n == 0 {
            return;
        }
        let last = (m - 1) * a.row_stride + k.saturating_sub(1) * a.col_stride;
        assert!(k == 0 || last < a.values.len(), "A has {} elements, its last has index {last}", a.values.len());
        let end = (m - 1) * to.stride + n;
        assert!(end <= c.len() && (m == 1 || to.stride >= n), "C has {} elements, {end} are needed", c.len());
        isa.run(self);
    }
}

impl Kernel for Matmul<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        with_tile::<L>(self);
    }
}

impl TileLoop for Matmul<'_> {
    #[inline(always)]
    fn run<L: Lanes, const MR: usize, const NV: usize>(self) {
        let Self { m, a, panels, c, to } = self;
        let k = panels.depth;
        for start in (0..k.max(1)).step_by(KC) {
            let depth = KC.min(k - start);
            let block = Panels { first_row: panels.first_row + start, depth, ..panels };
            let to = to.of_block(start == 0, start + depth == k);
            let a = a.submatrix([0, start]);
            if a.col_stride > UNPACKED_MAX_LDA {
                with_packed_a::<L, MR, NV>(m, a, &block, c, to);
            } else if m == 1 && a.col_stride == 1 {
                single_row::<L, NV>(a.values, &block, c, to);
            } else {
                with_a_in_place::<L, MR, NV>(m, a, &block, c, to);
            }
        }
    }
}

/// `A` is read in place: all of its rows are multiplied by a panel before the next panel.
#[inline(always)]
fn with_a_in_place<L: Lanes, const MR: usize, const NV: usize>(
    m: usize,
    a: MatRef<'_>,
    panels: &Panels<'_>,
    c: &mut [f32],
    to: Store<'_>,
) {
    // tiles of equal height: ten rows are five and five
    let height = m.div_ceil(m.div_ceil(MR));
    for start in panels.layout.starts() {
        for row in (0..m).step_by(height) {
            let tile = TileProduct {
                a: a.submatrix([row, 0]),
                panel: panels.get(start),
                c: &mut c[row * to.stride + start..],
                rows: height.min(m - row),
                cols: panels.layout.cols(start),
                to: to.at(row, start),
            };
            tile.run::<L, MR, NV>();
        }
    }
}

/// A transposed `A`: strips of `MR` rows are packed column by column and stay in the first-level cache while all panels
/// pass. Two strips at a time, because a cache line of a column holds the elements of two.
#[inline(always)]
fn with_packed_a<L: Lanes, const MR: usize, const NV: usize>(
    m: usize,
    a: MatRef<'_>,
    panels: &Panels<'_>,
    c: &mut [f32],
    to: Store<'_>,
) {
    let mut strips = [const { Strip([0.0; KC * MAX_MR]) }; 2];
    for first_row in (0..m).step_by(2 * MR) {
        pack_strips::<MR>(a.submatrix([first_row, 0]), m - first_row, panels.depth, &mut strips);
        let has_next = a.row_stride == 1 && first_row + 2 * MR < m;
        let next = if has_next { a.submatrix([first_row + 2 * MR, 0]).values } else { &[] };
        let mut next_columns = next.chunks(a.col_stride);
        let columns_per_panel = panels.depth.div_ceil(panels.layout.starts().count());
        for start in panels.layout.starts() {
            for column in next_columns.by_ref().take(columns_per_panel) {
                prefetch(&column[..column.len().min(2 * MR)]);
            }
            for (row, Strip(strip)) in (first_row..m).step_by(MR).zip(&strips) {
                let tile = TileProduct {
                    a: MatRef { values: strip, row_stride: 1, col_stride: MR },
                    panel: panels.get(start),
                    c: &mut c[row * to.stride + start..],
                    rows: MR.min(m - row),
                    cols: panels.layout.cols(start),
                    to: to.at(row, start),
                };
                tile.run::<L, MR, NV>();
            }
        }
    }
}

/// `MR` rows of `A`, column by column, aligned to a cache line.
#[repr(align(64))]
struct Strip([f32; KC * MAX_MR]);

/// Packs two strips of up to `MR` rows and `depth` columns. Not inlined: it needs no vectors of the kernel around it, and
/// has all general registers to itself.
#[inline(never)]
fn pack_strips<const MR: usize>(
    a: MatRef<'_>,
    rows: usize,
    depth: usize,
    [Strip(upper), Strip(lower)]: &mut [Strip; 2],
) {
    let upper = upper.as_chunks_mut::<MR>().0;
    let lower = lower.as_chunks_mut::<MR>().0;
    for (p, (upper, lower)) in upper.iter_mut().zip(lower).take(depth).enumerate() {
        let column = &a.values[p * a.col_stride..];
        // a copy of constant length compiles to a few moves
        if a.row_stride == 1 && rows >= 2 * MR {
            upper.copy_from_slice(&column[..MR]);
            lower.copy_from_slice(&column[MR..2 * MR]);
        } else {
            let both = upper.iter_mut().chain(lower);
            both.take(rows).enumerate().for_each(|(i, value)| *value = column[i * a.row_stride]);
        }
    }
}
