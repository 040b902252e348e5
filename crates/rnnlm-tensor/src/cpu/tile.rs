//! Tiles of a product: the sums of some rows over a block of a panel, which stay in registers; `product.rs` shows where they
//! lie.

use std::hint::black_box;

use super::isa::{Kernel, Lanes, prefetch_from};
use super::panels::{Panel, Panels};
use super::product::{MOST_COLS, Rows};

/// A single row, as when one token follows the other: several panels at a time, since the sums of one would wait for each
/// other. The order of each sum is a tile's.
#[inline(always)]
pub(super) fn one_row<L: Lanes, const NV: usize>(a: &[f32], panels: &Panels<'_>, c: &mut [f32], out: Out<'_>) {
    const ABREAST: usize = 4;
    let (tile, stored) = (NV * L::LANES, panels.cut.stored());
    let whole = panels.cut.firsts().take_while(|first| panels.cut.width(*first) == tile).count();
    for first in (0..whole).step_by(ABREAST) {
        let at = first * tile;
        match whole - first {
            1 => row_over::<L, NV, 1>(a, panels, at, c, out),
            2 => row_over::<L, NV, 2>(a, panels, at, c, out),
            3 => row_over::<L, NV, 3>(a, panels, at, c, out),
            _ => row_over::<L, NV, ABREAST>(a, panels, at, c, out),
        }
    }
    let at = whole * tile;
    match (stored - at) / L::LANES {
        0 => {}
        1 => row_over::<L, 1, 1>(a, panels, at, c, out),
        2 => row_over::<L, 2, 1>(a, panels, at, c, out),
        _ => row_over::<L, 2, 2>(a, panels, at, c, out),
    }
}

/// A single row over `P` panels of `NV` vectors, the first of which begins with column `first`.
#[inline(always)]
fn row_over<L: Lanes, const NV: usize, const P: usize>(
    a: &[f32],
    panels: &Panels<'_>,
    first: usize,
    c: &mut [f32],
    out: Out<'_>,
) {
    let firsts: [usize; P] = std::array::from_fn(|q| first + q * NV * L::LANES);
    let sums = row_sums::<L, NV, P>(a, firsts.map(|first| panels.get(first)));
    for (sums, first) in sums.iter().zip(firsts) {
        store::<L, 1, NV>(&[*sums], &mut c[first..], panels.cut.cols(first), out.at(0, first));
    }
}

/// The sums of one row over some panels.
#[inline(always)]
fn row_sums<L: Lanes, const NV: usize, const P: usize>(a: &[f32], panels: [Panel<'_>; P]) -> [[L::Vector; NV]; P] {
    let mut sums = [[L::splat(0.0); NV]; P];
    for (p, &a) in a[..panels[0].depth].iter().enumerate() {
        let a = L::splat(a);
        for (sums, panel) in sums.iter_mut().zip(&panels) {
            let b = panel.row::<L, NV>(p);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = L::mul_add_vector(a, b, *sum);
            }
        }
    }
    sums
}

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub enum Onto<'a> {
    /// Nothing: `c = a·b`.
    Nothing,
    /// What stands in the output: `c += a·b`.
    Output,
    /// The same row for every one: a bias.
    Row(&'a [f32]),
    /// Rows of a table, picked by id: `c = table[ids] + a·b`, as where one-hot input joins the recurrent product.
    Table {
        /// The table, row by row, from the column on that the first of the product is added to.
        values: &'a [f32],
        /// Distance between its rows.
        stride: usize,
        /// Which row each row of the product is added to.
        ids: &'a [u32],
    },
}

impl Onto<'_> {
    /// What the part of the product is added to that begins with this row and column.
    #[inline(always)]
    pub(super) fn at(self, row: usize, col: usize) -> Self {
        match self {
            Self::Row(values) => Self::Row(&values[col..]),
            Self::Table { values, stride, ids } => Self::Table { values: &values[col..], stride, ids: &ids[row..] },
            Self::Nothing | Self::Output => self,
        }
    }
}

/// Stores what of a tile's sums has a place in `c`, added to `onto`.
#[inline(always)]
pub(super) fn store<L: Lanes, const MR: usize, const NV: usize>(
    sums: &[[L::Vector; NV]; MR],
    c: &mut [f32],
    cols: usize,
    Out { stride, apart, onto }: Out<'_>,
) {
    let (stride, width) = (apart * stride, NV * L::LANES);
    if cols < width {
        for (i, sums) in sums.iter().enumerate() {
            store_part::<L, NV>(sums, &mut c[i * stride..][..cols], onto.at(i * apart, 0));
        }
        return;
    }
    assert!((MR - 1) * stride + width <= c.len(), "the product ends before the tile does");
    // what the sums are added to is asked for once, and each loop is short enough to be unrolled, so that they never leave
    // their registers; one loop would need a closure for the addition, which is not compiled for the instruction set
    match onto {
        Onto::Nothing => {
            for (i, sums) in sums.iter().enumerate() {
                // SAFETY: i < MR, and the last row lies within the slice, as asserted above
                store_row::<L, NV>(*sums, unsafe { row_mut(c, i * stride, width) });
            }
        }
        Onto::Output => {
            for (i, sums) in sums.iter().enumerate() {
                // SAFETY: i < MR, and the last row lies within the slice, as asserted above
                let c = unsafe { row_mut(c, i * stride, width) };
                store_row::<L, NV>(add_row::<L, NV>(c, *sums), c);
            }
        }
        Onto::Row(values) => {
            let values = &values[..width];
            for (i, sums) in sums.iter().enumerate() {
                // SAFETY: i < MR, and the last row lies within the slice, as asserted above
                store_row::<L, NV>(add_row::<L, NV>(values, *sums), unsafe { row_mut(c, i * stride, width) });
            }
        }
        Onto::Table { values, stride: distance, ids } => {
            for (i, sums) in sums.iter().enumerate() {
                let values = &values[ids[i * apart] as usize * distance..];
                // SAFETY: i < MR, and the last row lies within the slice, as asserted above
                store_row::<L, NV>(add_row::<L, NV>(values, *sums), unsafe { row_mut(c, i * stride, width) });
            }
        }
    }
}

/// `c[start..start + width]`.
///
/// # Safety
/// It must lie within the slice.
#[inline(always)]
unsafe fn row_mut(c: &mut [f32], start: usize, width: usize) -> &mut [f32] {
    // SAFETY: promised by the caller
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

/// A row of a tile at the right edge, added to the first row of `onto`.
#[inline(always)]
fn store_part<L: Lanes, const NV: usize>(sums: &[L::Vector; NV], c: &mut [f32], onto: Onto<'_>) {
    let mut all = [0.0; MOST_COLS];
    sums.iter().zip(all.chunks_exact_mut(L::LANES)).for_each(|(&sum, all)| L::store(sum, all));
    let add =
        |c: &mut [f32], other: &[f32]| c.iter_mut().zip(other).zip(&all).for_each(|((c, other), sum)| *c = other + sum);
    match onto {
        Onto::Nothing => c.copy_from_slice(&all[..c.len()]),
        Onto::Output => c.iter_mut().zip(&all).for_each(|(c, sum)| *c += sum),
        Onto::Row(values) => add(c, values),
        Onto::Table { values, stride, ids } => add(c, &values[ids[0] as usize * stride..]),
    }
}

/// How a tile is stored.
#[derive(Clone, Copy)]
pub(super) struct Out<'a> {
    /// Distance between rows of the product.
    pub(super) stride: usize,
    /// How many rows of the product a tile's next row is further down: 1, or 2 where it has every other one.
    pub(super) apart: usize,
    pub(super) onto: Onto<'a>,
}

impl Out<'_> {
    /// How the tile is stored that begins with this row and column.
    #[inline(always)]
    pub(super) fn at(self, row: usize, col: usize) -> Self {
        Self { onto: self.onto.at(row, col), ..self }
    }
}

/// Work on a tile, or on tiles, compiled once for each size that they may have.
pub(super) trait Tile {
    /// The work, for tiles of `MR` rows of `NV` vectors.
    fn run<L: Lanes, const MR: usize, const NV: usize>(self);
}

/// Work for tiles of the size that an instruction set has registers for.
#[inline(always)]
pub(super) fn largest<L: Lanes>(work: impl Tile) {
    // the tile is a constant of `L`: one arm is left
    match L::TILE {
        [8, 3] => work.run::<L, 8, 3>(),
        [4, 3] => work.run::<L, 4, 3>(),
        [4, 1] => work.run::<L, 4, 1>(),
        [rows, vectors] => unreachable!("no tile of {rows} rows of {vectors} vectors"),
    }
}

/// A tile of `MR` rows of `NV` vectors, or of less at the edges.
#[inline(always)]
pub(super) fn any_tile<L: Lanes, const MR: usize, const NV: usize>([rows, cols]: [usize; 2], tile: impl Tile) {
    match cols.div_ceil(L::LANES) {
        1 => any_height::<L, MR, 1>(rows, tile),
        2 if NV > 2 => any_height::<L, MR, 2>(rows, tile),
        _ => any_height::<L, MR, NV>(rows, tile),
    }
}

/// The same tile, a function for each height.
#[inline(always)]
fn any_height<L: Lanes, const MR: usize, const NV: usize>(rows: usize, tile: impl Tile) {
    // heights that an instruction set never has are not compiled for it
    match rows {
        1 => L::call(OfSize::<_, 1, NV>(tile)),
        2 => L::call(OfSize::<_, 2, NV>(tile)),
        3 => L::call(OfSize::<_, 3, NV>(tile)),
        4 if MR > 4 => L::call(OfSize::<_, 4, NV>(tile)),
        5 if MR > 4 => L::call(OfSize::<_, 5, NV>(tile)),
        6 if MR > 4 => L::call(OfSize::<_, 6, NV>(tile)),
        7 if MR > 4 => L::call(OfSize::<_, 7, NV>(tile)),
        _ => L::call(OfSize::<_, MR, NV>(tile)),
    }
}

/// A tile whose size is known.
struct OfSize<T, const MR: usize, const NV: usize>(T);

impl<T: Tile, const MR: usize, const NV: usize> Kernel for OfSize<T, MR, NV> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        self.0.run::<L, MR, NV>();
    }
}

/// `c[i][j] = Σ_p a[i][p] · panel[p][j]` for the rows of a tile and `cols ≤ NV·LANES` columns.
pub(super) struct Product<'a> {
    pub(super) a: Rows<'a>,
    pub(super) panel: Panel<'a>,
    pub(super) c: &'a mut [f32],
    pub(super) cols: usize,
    pub(super) out: Out<'a>,
}

impl Tile for Product<'_> {
    #[inline(always)]
    fn run<L: Lanes, const MR: usize, const NV: usize>(self) {
        let Self { a, panel, c, cols, out } = self;
        for i in 0..MR {
            prefetch_from(c.as_ptr().wrapping_add(i * out.stride), NV * L::LANES);
        }
        let sums = add_products::<L, MR, NV>([[L::splat(0.0); NV]; MR], a, panel);
        store::<L, MR, NV>(&sums, c, cols, out);
    }
}

/// Rows of a panel that are asked for before they are needed: what lies further than the first-level cache has not come in
/// time otherwise on an Intel CPU, whose two multiplications a cycle are through with a row in twelve.
pub(super) const ROWS_AHEAD: usize = 8;

/// `sums[i][j] + Σ_p a[i][p] · panel[p][j]`, in registers.
#[inline(always)]
pub(super) fn add_products<L: Lanes, const MR: usize, const NV: usize>(
    mut sums: [[L::Vector; NV]; MR],
    a: Rows<'_>,
    panel: Panel<'_>,
) -> [[L::Vector; NV]; MR] {
    let Rows { values, row_stride, col_stride } = a;
    assert!(
        panel.depth == 0 || (MR - 1) * row_stride + (panel.depth - 1) * col_stride < values.len(),
        "the left operand ends before the panel does"
    );
    assert!(
        panel.depth == 0 || (panel.depth - 1) * panel.stride + NV * L::LANES <= panel.values.len(),
        "the panel ends before its depth"
    );
    // kept from the optimiser, which would go from each row to the next by an addition of its own in every step of k
    let rows: [*const f32; MR] = std::array::from_fn(|i| black_box(values.as_ptr().wrapping_add(i * row_stride)));
    for p in 0..panel.depth {
        // SAFETY: p < depth, and the last row that is read so lies within the panel, as asserted above
        let row = unsafe { panel.values.get_unchecked(p * panel.stride..p * panel.stride + NV * L::LANES) };
        prefetch_from(row.as_ptr().wrapping_add(ROWS_AHEAD * panel.stride), NV * L::LANES);
        let b: [L::Vector; NV] = std::array::from_fn(|v| L::load(&row[v * L::LANES..]));
        for (sums, row) in sums.iter_mut().zip(&rows) {
            // SAFETY: p < depth, and the last of these places lies within the left operand, as asserted above
            let a = L::splat(unsafe { *row.add(p * col_stride) });
            for (sum, &b) in sums.iter_mut().zip(&b) {
                *sum = L::mul_add_vector(a, b, *sum);
            }
        }
    }
    sums
}
