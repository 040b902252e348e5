//! Tiles of a product: the sums of some rows over a block of a panel, which stay in registers; `product.rs` shows where they
//! lie.

use super::isa::{Lanes, prefetch};
use super::product::{MOST_COLS, MOST_ROWS, Rows};

/// A single row, as when one token follows the other: several panels at a time, since the sums of one would wait for each
/// other. The order of each sum is a tile's.
#[inline(always)]
pub(super) fn one_row<L: Lanes, const NV: usize>(a: &[f32], panels: &Panels<'_>, c: &mut [f32], out: Out) {
    const ABREAST: usize = 4;
    let whole = panels.n / panels.width / ABREAST * ABREAST;
    for index in (0..whole).step_by(ABREAST) {
        let firsts: [usize; ABREAST] = std::array::from_fn(|q| (index + q) * panels.width);
        let sums = row_sums::<L, NV, ABREAST>(a, firsts.map(|first| panels.get(first)));
        for (sums, first) in sums.iter().zip(firsts) {
            store_row::<L, NV>(sums, &mut c[first..][..panels.width], out.accumulate);
        }
    }
    for first in (whole * panels.width..panels.n).step_by(panels.width) {
        let [sums] = row_sums::<L, NV, 1>(a, [panels.get(first)]);
        store_row::<L, NV>(&sums, &mut c[first..][..panels.cols(first)], out.accumulate);
    }
}

/// The sums of one row over some panels.
#[inline(always)]
fn row_sums<L: Lanes, const NV: usize, const P: usize>(a: &[f32], panels: [&[f32]; P]) -> [[L::Vector; NV]; P] {
    let mut sums = [[L::splat(0.0); NV]; P];
    let width = NV * L::LANES;
    let depth = panels.iter().fold(a.len(), |depth, panel| depth.min(panel.len() / width));
    for (p, &a) in a[..depth].iter().enumerate() {
        let a = L::splat(a);
        for (sums, panel) in sums.iter_mut().zip(&panels) {
            let b = &panel[p * width..][..width];
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = L::mul_add_vector(a, L::load(&b[v * L::LANES..]), *sum);
            }
        }
    }
    sums
}

/// Stores what of a row of sums has a place in `c`.
#[inline(always)]
fn store_row<L: Lanes, const NV: usize>(sums: &[L::Vector; NV], c: &mut [f32], accumulate: bool) {
    if c.len() == NV * L::LANES {
        for (&sum, c) in sums.iter().zip(c.chunks_exact_mut(L::LANES)) {
            L::store(if accumulate { L::add(L::load(c), sum) } else { sum }, c);
        }
        return;
    }
    let mut all = [0.0; MOST_COLS];
    sums.iter().zip(all.chunks_exact_mut(L::LANES)).for_each(|(&sum, all)| L::store(sum, all));
    if accumulate {
        c.iter_mut().zip(&all).for_each(|(c, sum)| *c += sum);
    } else {
        c.copy_from_slice(&all[..c.len()]);
    }
}

/// The block of all panels that is being worked through.
pub(super) struct Panels<'a> {
    pub(super) values: &'a [f32],
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) start: usize,
    pub(super) depth: usize,
    pub(super) width: usize,
}

impl<'a> Panels<'a> {
    /// The first column of each panel.
    #[inline(always)]
    pub(super) fn firsts(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.n).step_by(self.width)
    }

    /// The columns of the panel that begins with column `first`.
    #[inline(always)]
    pub(super) fn cols(&self, first: usize) -> usize {
        self.width.min(self.n - first)
    }

    /// The block of that panel.
    #[inline(always)]
    pub(super) fn get(&self, first: usize) -> &'a [f32] {
        &self.values[first * self.k + self.start * self.width..][..self.depth * self.width]
    }
}

/// How a tile is stored.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub(super) stride: usize,
    pub(super) accumulate: bool,
}

/// A tile of `MR` rows of `NV` vectors, or of less at the edges.
#[inline(always)]
pub(super) fn any_tile<L: Lanes, const MR: usize, const NV: usize>(
    [rows, cols]: [usize; 2],
    a: Rows<'_>,
    panel: &[f32],
    c: &mut [f32],
    out: Out,
) {
    let panel = Panel { values: panel, width: NV * L::LANES };
    if cols <= L::LANES {
        any_height::<L, MR, 1>(rows, a, panel, c, cols, out);
    } else {
        any_height::<L, MR, NV>(rows, a, panel, c, cols, out);
    }
}

/// A block of a panel, and the distance between its rows: a tile at the right edge may need but the first vector of each.
#[derive(Clone, Copy)]
struct Panel<'a> {
    values: &'a [f32],
    width: usize,
}

/// The same sums, one instantiation a height.
#[inline(always)]
fn any_height<L: Lanes, const MR: usize, const NV: usize>(
    rows: usize,
    a: Rows<'_>,
    panel: Panel<'_>,
    c: &mut [f32],
    cols: usize,
    out: Out,
) {
    match rows {
        _ if rows == MR => tile::<L, MR, NV>(a, panel, c, cols, out),
        1 => tile::<L, 1, NV>(a, panel, c, cols, out),
        2 => tile::<L, 2, NV>(a, panel, c, cols, out),
        3 => tile::<L, 3, NV>(a, panel, c, cols, out),
        4 => tile::<L, 4, NV>(a, panel, c, cols, out),
        5 => tile::<L, 5, NV>(a, panel, c, cols, out),
        6 => tile::<L, 6, NV>(a, panel, c, cols, out),
        _ => tile::<L, { MOST_ROWS - 1 }, NV>(a, panel, c, cols, out),
    }
}

/// `c[i][j] = Σ_p a[i][p] · panel[p][j]` for a tile of `MR` rows and `cols ≤ NV·LANES` columns.
#[inline(always)]
fn tile<L: Lanes, const MR: usize, const NV: usize>(
    a: Rows<'_>,
    panel: Panel<'_>,
    c: &mut [f32],
    cols: usize,
    Out { stride, accumulate }: Out,
) {
    for i in 0..MR {
        prefetch(&c[i * stride..][..cols]);
    }
    let sums = sums::<L, MR, NV>(a, panel);
    for (i, sums) in sums.iter().enumerate() {
        store_row::<L, NV>(sums, &mut c[i * stride..][..cols], accumulate);
    }
}

/// The sums of a tile, in registers.
#[inline(always)]
fn sums<L: Lanes, const MR: usize, const NV: usize>(a: Rows<'_>, panel: Panel<'_>) -> [[L::Vector; NV]; MR] {
    let mut sums = [[L::splat(0.0); NV]; MR];
    let Rows { values, row_stride, col_stride } = a;
    let steps = panel.values.chunks_exact(panel.width);
    debug_assert!(
        steps.len() == 0 || (MR - 1) * row_stride + (steps.len() - 1) * col_stride < values.len(),
        "the left operand ends before the panel does"
    );
    for (p, b) in steps.enumerate() {
        let b: [L::Vector; NV] = std::array::from_fn(|v| L::load(&b[v * L::LANES..]));
        for (i, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `Packed::multiply` has checked that the last row's last element lies within the slice, and the
            // tile's rows and this block's columns do not go past them; a gathered strip has room for the largest tile
            let a = L::splat(unsafe { *values.get_unchecked(i * row_stride + p * col_stride) });
            for (sum, &b) in sums.iter_mut().zip(&b) {
                *sum = L::mul_add_vector(a, b, *sum);
            }
        }
    }
    sums
}
