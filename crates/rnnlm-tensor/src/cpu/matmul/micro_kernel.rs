//! The micro-kernel: a tile of sums over a block of a panel, kept in registers.

use std::hint::black_box;

use super::blocking::MAX_NR;
use super::operand::{Epilogue, MatRef, Store};
use super::panels::Panel;
use crate::cpu::buffer::PREFETCH_ROWS;
use crate::cpu::isa::{Kernel, Lanes, prefetch_from};

/// A loop over tiles, compiled for the tile of each instruction set.
pub(super) trait TileLoop {
    /// Runs it with tiles of `MR` rows of `NV` vectors.
    fn run<L: Lanes, const MR: usize, const NV: usize>(self);
}

/// Runs a loop with the tile that fills the registers of an instruction set.
#[inline(always)]
pub(super) fn with_tile<L: Lanes>(work: impl TileLoop) {
    // the tile is a constant of `L`: one arm remains
    match L::TILE {
        [8, 3] => work.run::<L, 8, 3>(),
        [4, 3] => work.run::<L, 4, 3>(),
        [4, 1] => work.run::<L, 4, 1>(),
        [rows, vectors] => unreachable!("no tile of {rows} rows of {vectors} vectors"),
    }
}

/// `C[i][j] = Σ_p A[i][p] · panel[p][j]` for a tile of `rows ≤ MR` rows and `cols ≤ NV·LANES` columns.
pub(super) struct TileProduct<'a> {
    pub(super) a: MatRef<'a>,
    pub(super) panel: Panel<'a>,
    pub(super) c: &'a mut [f32],
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) to: Store<'a>,
}

impl TileProduct<'_> {
    /// Computes it. Tiles at the edges have fewer rows and vectors than `MR` and `NV`.
    #[inline(always)]
    pub(super) fn run<L: Lanes, const MR: usize, const NV: usize>(self) {
        match self.cols.div_ceil(L::LANES) {
            1 => self.run_with_vectors::<L, MR, 1>(),
            2 if NV > 2 => self.run_with_vectors::<L, MR, 2>(),
            _ => self.run_with_vectors::<L, MR, NV>(),
        }
    }

    #[inline(always)]
    fn run_with_vectors<L: Lanes, const MR: usize, const NV: usize>(self) {
        // heights that an instruction set never has are not compiled for it
        match self.rows {
            1 => L::call(FixedTile::<1, NV>(self)),
            2 => L::call(FixedTile::<2, NV>(self)),
            3 => L::call(FixedTile::<3, NV>(self)),
            4 if MR > 4 => L::call(FixedTile::<4, NV>(self)),
            5 if MR > 4 => L::call(FixedTile::<5, NV>(self)),
            6 if MR > 4 => L::call(FixedTile::<6, NV>(self)),
            7 if MR > 4 => L::call(FixedTile::<7, NV>(self)),
            _ => L::call(FixedTile::<MR, NV>(self)),
        }
    }
}

/// A tile whose size is known at compile time.
struct FixedTile<'a, const MR: usize, const NV: usize>(TileProduct<'a>);

impl<const MR: usize, const NV: usize> Kernel for FixedTile<'_, MR, NV> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let TileProduct { a, panel, c, cols, to, .. } = self.0;
        for i in 0..MR {
            prefetch_from(c.as_ptr().wrapping_add(i * to.stride), NV * L::LANES);
        }
        let sums = tile_sums::<L, MR, NV>(a, panel);
        store::<L, MR, NV>(&sums, c, cols, to);
    }
}

/// `Σ_p a[i][p] · panel[p][j]`, in registers.
#[inline(always)]
fn tile_sums<L: Lanes, const MR: usize, const NV: usize>(a: MatRef<'_>, panel: Panel<'_>) -> [[L::Vector; NV]; MR] {
    let MatRef { values, row_stride, col_stride } = a;
    assert!(
        panel.depth == 0 || (MR - 1) * row_stride + (panel.depth - 1) * col_stride < values.len(),
        "A ends before the panel"
    );
    assert!(
        panel.depth == 0 || (panel.depth - 1) * panel.stride + NV * L::LANES <= panel.values.len(),
        "the panel ends before its last row"
    );
    let mut sums = [[L::splat(0.0); NV]; MR];
    // `black_box` keeps one pointer a row: the optimiser would otherwise derive each row from the previous one in every step
    let rows: [*const f32; MR] = std::array::from_fn(|i| black_box(values.as_ptr().wrapping_add(i * row_stride)));
    for p in 0..panel.depth {
        // SAFETY: p < depth, and the panel's last row is within its values, as asserted above
        let b = unsafe { panel.values.get_unchecked(p * panel.stride..p * panel.stride + NV * L::LANES) };
        prefetch_from(b.as_ptr().wrapping_add(PREFETCH_ROWS * panel.stride), NV * L::LANES);
        let b: [L::Vector; NV] = std::array::from_fn(|v| L::load(&b[v * L::LANES..]));
        for (sums, row) in sums.iter_mut().zip(&rows) {
            // SAFETY: p < depth, and the last element of the last row is within `a`, as asserted above
            let a = L::splat(unsafe { *row.add(p * col_stride) });
            for (sum, &b) in sums.iter_mut().zip(&b) {
                *sum = L::mul_add_vector(a, b, *sum);
            }
        }
    }
    sums
}

/// Stores the first `cols` columns of a tile's sums in `c`.
#[inline(always)]
pub(super) fn store<L: Lanes, const MR: usize, const NV: usize>(
    sums: &[[L::Vector; NV]; MR],
    c: &mut [f32],
    cols: usize,
    to: Store<'_>,
) {
    let (stride, width) = (to.stride, NV * L::LANES);
    if cols < width {
        for (i, sums) in sums.iter().enumerate() {
            store_partial::<L, NV>(sums, &mut c[i * stride..][..cols], to.at(i, 0));
        }
        return;
    }
    assert!((MR - 1) * stride + width <= c.len(), "C ends before the tile");
    // one short loop a case, which is unrolled, so that the sums stay in registers; a closure for the epilogue would not be
    // compiled for the instruction set
    match (to.accumulate, to.epilogue) {
        (false, Epilogue::None) => {
            for (i, sums) in sums.iter().enumerate() {
                // SAFETY: i < MR, and the last row is within `c`, as asserted above
                store_row::<L, NV>(*sums, unsafe { row_mut(c, i * stride, width) });
            }
        }
        (true, Epilogue::None) => {
            for (i, sums) in sums.iter().enumerate() {
                // SAFETY: i < MR, and the last row is within `c`, as asserted above
                let c = unsafe { row_mut(c, i * stride, width) };
                store_row::<L, NV>(add_row::<L, NV>(c, *sums), c);
            }
        }
        (accumulate, Epilogue::Bias(bias)) => {
            for (i, sums) in sums.iter().enumerate() {
                // SAFETY: i < MR, and the last row is within `c`, as asserted above
                let c = unsafe { row_mut(c, i * stride, width) };
                let sums = if accumulate { add_row::<L, NV>(c, *sums) } else { *sums };
                store_row::<L, NV>(add_row::<L, NV>(bias, sums), c);
            }
        }
        (accumulate, Epilogue::Gather { values, stride: table_stride, ids }) => {
            for (i, sums) in sums.iter().enumerate() {
                // SAFETY: i < MR, and the last row is within `c`, as asserted above
                let c = unsafe { row_mut(c, i * stride, width) };
                let sums = if accumulate { add_row::<L, NV>(c, *sums) } else { *sums };
                let row = &values[ids[i] as usize * table_stride..];
                store_row::<L, NV>(add_row::<L, NV>(row, sums), c);
            }
        }
    }
}

/// `c[start..start + width]`.
///
/// # Safety
/// The range must be within the slice.
#[inline(always)]
unsafe fn row_mut(c: &mut [f32], start: usize, width: usize) -> &mut [f32] {
    // SAFETY: the caller guarantees it
    unsafe { c.get_unchecked_mut(start..start + width) }
}

/// `values + sums`.
#[inline(always)]
fn add_row<L: Lanes, const NV: usize>(values: &[f32], sums: [L::Vector; NV]) -> [L::Vector; NV] {
    let values = &values[..NV * L::LANES];
    std::array::from_fn(|v| L::add(L::load(&values[v * L::LANES..]), sums[v]))
}

#[inline(always)]
fn store_row<L: Lanes, const NV: usize>(sums: [L::Vector; NV], c: &mut [f32]) {
    let c = &mut c[..NV * L::LANES];
    for (v, sum) in sums.into_iter().enumerate() {
        L::store(sum, &mut c[v * L::LANES..]);
    }
}

/// Stores the first row of a tile at the right edge.
#[inline(always)]
fn store_partial<L: Lanes, const NV: usize>(sums: &[L::Vector; NV], c: &mut [f32], to: Store<'_>) {
    let mut row = [0.0; MAX_NR];
    for (&sum, row) in sums.iter().zip(row.chunks_exact_mut(L::LANES)) {
        L::store(sum, row);
    }
    let row = &mut row[..c.len()];
    if to.accumulate {
        row.iter_mut().zip(&*c).for_each(|(sum, c)| *sum += c);
    }
    match to.epilogue {
        Epilogue::None => {}
        Epilogue::Bias(bias) => row.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias),
        Epilogue::Gather { values, stride, ids } => {
            let table_row = &values[ids[0] as usize * stride..];
            row.iter_mut().zip(table_row).for_each(|(sum, value)| *sum += value);
        }
    }
    c.copy_from_slice(row);
}
