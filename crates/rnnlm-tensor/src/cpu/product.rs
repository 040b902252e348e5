//! Matrix products over weights that are laid out once and used many times; `strassen.rs` has those with rows in pairs.
//!
//! The right operand is cut into panels of as many columns as a tile has (`panels.rs`), each stored row by row without gaps;
//! a tile of sums stays in registers while it walks down a panel:
//!
//! ```text
//!                  panel 0   panel 1            8 × 48 sums (AVX-512), 4 × 24 (AVX2), 4 × 8 (portable)
//!                 ┌────────┬────────┐
//!               k │ n n n n│ n n n n│           sum[i][j] += a[i][p] · panel[p][j]
//!      k          └────────┴────────┘           for p = 0 … k − 1
//!   ┌─────┐ tile  ┌────────┬────────┐
//! m │ a a │   ×   │        │        │
//!   └─────┘       └────────┴────────┘
//! ```
//!
//! **Invariant:** an element is summed over `p` in order, in blocks of `DEPTH`, whatever `m`, the tile it falls into, and
//! the way in which rows and columns are shared out to threads. So is every bit of it.

use rayon::prelude::*;

use super::Buffer;
use super::buffer::LINE;
use super::isa::{Isa, Kernel, Lanes, prefetch};
use super::pack::PackPanel;
use super::panels::{Cut, Panels};
pub use super::tile::Onto;
use super::tile::{self, Out, Tile, any_tile, one_row};

/// Rows of a panel that are worked through at a time: few enough for a panel to stay near, and so many that sums are seldom
/// stored in between. Half or twice as many are as fast on an Intel CPU; bits depend on it.
pub(super) const DEPTH: usize = 256;
/// From so many values on, panels are laid out by several threads.
const LARGE: usize = 1 << 15;
/// From so many values on, several threads share in the product of a single row: half a megabyte.
const LARGE_ROW: usize = 1 << 17;
/// Rows of a right operand that stands as it is are at the most so far apart: two to a page of memory.
pub(super) const NEAR: usize = 512;
/// So few rows are not worth laying a right operand out for.
const FEW: usize = 32;
/// Columns of a transposed left operand that is used as it stands are at the most so far apart: a block of it stays near.
const CLOSE: usize = 64;
/// The most rows and columns that a tile has.
pub(super) const MOST_ROWS: usize = 8;
pub(super) const MOST_COLS: usize = 48;

/// The right operand `[k, n]` of products, laid out for one instruction set.
#[derive(Debug)]
pub struct Packed {
    isa: Isa,
    k: usize,
    n: usize,
    padding: usize,
    values: Buffer,
}

impl Packed {
    /// Room for `[k, n]`, all zero.
    pub fn new(isa: Isa, k: usize, n: usize) -> Self {
        Self { isa, k, n, padding: 0, values: Buffer::small(Cut::new(isa, n).stored() * k) }
    }

    /// The same for products that have so much [`padding`](crate::Layout::padding) behind each row, and so does what they are added
    /// to: a row that ends with a whole vector is stored faster.
    #[must_use]
    pub fn with_padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// Takes other sizes; what it holds is undefined until it is packed. Allocates only if more padding is needed than ever
    /// before, and never gives any back: growing again would fill it with zeros.
    pub fn resize(&mut self, k: usize, n: usize) {
        (self.k, self.n) = (k, n);
        let len = Cut::new(self.isa, n).stored() * k;
        if len > self.values.len() {
            self.values = Buffer::small(len);
        }
    }

    /// The instruction set that it is laid out for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// `[k, n]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.k, self.n]
    }

    /// Lays out `source[p·stride + j]`, a matrix `[k, n]` row by row.
    pub fn pack(&mut self, source: &[f32], stride: usize) {
        self.lay_out(Rows { values: source, row_stride: stride, col_stride: 1 }, true);
    }

    /// Lays out the transpose of `source[j·stride + p]`, a matrix `[n, k]` row by row: PyTorch's layout of a weight.
    pub fn pack_transposed(&mut self, source: &[f32], stride: usize) {
        self.lay_out(Rows { values: source, row_stride: 1, col_stride: stride }, true);
    }

    /// Lays out `b`, `[k, n]`; several threads share in it if `shared` and if there is enough of it.
    pub(super) fn lay_out(&mut self, b: Rows<'_>, shared: bool) {
        let (isa, k, cut) = (self.isa, self.k, Cut::new(self.isa, self.n));
        let parts = cut.parts_mut(&mut self.values, k);
        let pack = |first: usize, panel: &mut [f32]| {
            let width = cut.width(first);
            isa.run(PackPanel { b: b.from([0, first]), cols: cut.cols(first), width, pitch: width, panel });
        };
        if shared && k * cut.stored() >= LARGE {
            parts.into_par_iter().for_each(|(start, width, part)| {
                let panels = part.par_chunks_mut(k * width).enumerate();
                panels.for_each(|(index, panel)| pack(start + index * width, panel));
            });
        } else {
            for (start, width, part) in parts {
                let panels = part.chunks_mut((k * width).max(1)).enumerate();
                panels.for_each(|(index, panel)| pack(start + index * width, panel));
            }
        }
    }

    /// `c[m, n] = a[m, k] · self`, added to what `onto` says.
    ///
    /// # Panics
    /// If a slice is too short for its rows.
    pub fn multiply(&self, m: usize, a: Rows<'_>, c: &mut [f32], c_stride: usize, onto: Onto<'_>) {
        let cut = Cut::new(self.isa, self.n);
        let cut = if cut.stored() <= self.n + self.padding { Cut::new(self.isa, cut.stored()) } else { cut };
        let right =
            Panels { values: &self.values, cut, column: self.k, row: None, rest: None, start: 0, depth: self.k };
        let whole = Multiply { right, m, a, c, c_stride, onto };
        let threads = rayon::current_num_threads();
        if m != 1 || self.k * self.n < LARGE_ROW || threads == 1 {
            return whole.run_on(self.isa);
        }
        // one row reads the whole weight for little arithmetic: two cores have twice the cache and its bandwidth
        let part = cut.part(threads);
        whole.c[..cut.n()].par_chunks_mut(part).enumerate().for_each(|(index, c)| {
            let (first, cut) = (index * part, Cut::new(self.isa, c.len()));
            let right = Panels { values: &self.values[first * self.k..], cut, ..right };
            Multiply { right, m, a, c, c_stride, onto: onto.at(0, first) }.run_on(self.isa);
        });
    }
}

/// An operand: element `(i, p)` is `values[i·row_stride + p·col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The memory.
    pub values: &'a [f32],
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns: 1 as it stands, more for a transposed matrix.
    pub col_stride: usize,
}

impl Rows<'_> {
    /// The same rows and columns from this element on; nothing where there is none, as in an empty sum.
    #[inline(always)]
    pub(super) fn from(self, [row, col]: [usize; 2]) -> Self {
        let start = row * self.row_stride + col * self.col_stride;
        Self { values: self.values.get(start..).unwrap_or_default(), ..self }
    }
}

/// A product, `c[m, n] = a[m, k] · right`.
pub(super) struct Multiply<'a> {
    right: Panels<'a>,
    m: usize,
    a: Rows<'a>,
    c: &'a mut [f32],
    c_stride: usize,
    onto: Onto<'a>,
}

impl<'a> Multiply<'a> {
    /// Whether a right operand need not be laid out for `m` rows: it is not transposed, and its rows are near enough to each
    /// other for a panel of it to stay in the second-level cache. More than a few rows are better off with one that is laid
    /// out all the same, unless its own begin at cache lines and are nearer still. No bit depends on it.
    pub(super) fn can_stand(b: Rows<'_>, m: usize) -> bool {
        let in_lines = b.row_stride.is_multiple_of(LINE) && b.row_stride <= NEAR / 2;
        b.col_stride == 1 && b.row_stride <= NEAR && (in_lines || m <= FEW)
    }

    /// A product with such a right operand. Where its last row ends before the vectors of the last panel do, that panel is laid
    /// out, in `rest`.
    pub(super) fn with_right_as_it_stands(
        [m, k, n]: [usize; 3],
        [a, b]: [Rows<'a>; 2],
        rest: &'a mut Packed,
        c: &'a mut [f32],
        c_stride: usize,
        onto: Onto<'a>,
    ) -> Self {
        let cut = Cut::new(rest.isa, n);
        let partial = cut.partial().filter(|_| k.saturating_sub(1) * b.row_stride + cut.stored() > b.values.len());
        let rest = partial.map(|first| {
            rest.resize(k, n - first);
            rest.lay_out(b.from([0, first]), false);
            &*rest.values
        });
        let row = Some(b.row_stride);
        let right = Panels { values: b.values, cut, column: 1, row, rest, start: 0, depth: k };
        Self { right, m, a, c, c_stride, onto }
    }

    /// Runs it, once it is clear that all slices are long enough.
    pub(super) fn run_on(self, isa: Isa) {
        let Self { right, m, a, ref c, c_stride, .. } = self;
        let (k, n) = (right.depth, right.cut.n());
        if m == 0 || n == 0 {
            return;
        }
        let last = (m - 1) * a.row_stride + k.saturating_sub(1) * a.col_stride;
        assert!(k == 0 || last < a.values.len(), "a has {} values, its last is {last}", a.values.len());
        let end = (m - 1) * c_stride + n;
        assert!(end <= c.len() && (m == 1 || c_stride >= n), "c has {} values, {end} are needed", c.len());
        isa.run(self);
    }
}

impl Kernel for Multiply<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        tile::largest::<L>(self);
    }
}

impl Tile for Multiply<'_> {
    #[inline(always)]
    fn run<L: Lanes, const MR: usize, const NV: usize>(self) {
        let Self { right, m, a, c, c_stride, onto } = self;
        let k = right.depth;
        for start in (0..k.max(1)).step_by(DEPTH) {
            let panels = Panels { start, depth: DEPTH.min(k - start), ..right };
            let out = Out { stride: c_stride, apart: 1, onto: if start > 0 { Onto::Output } else { onto } };
            let a = a.from([0, start]);
            if a.col_stride > CLOSE {
                gathered::<L, MR, NV>(m, a, &panels, c, out);
            } else if m == 1 && a.col_stride == 1 {
                one_row::<L, NV>(a.values, &panels, c, out);
            } else {
                as_they_stand::<L, MR, NV>(m, a, &panels, c, out);
            }
        }
    }
}

/// The left operand as it stands: all of its rows pass a panel before the next.
#[inline(always)]
fn as_they_stand<L: Lanes, const MR: usize, const NV: usize>(
    m: usize,
    a: Rows<'_>,
    panels: &Panels<'_>,
    c: &mut [f32],
    out: Out<'_>,
) {
    // tiles of one height: ten rows are five and five
    let height = m.div_ceil(m.div_ceil(MR));
    for first in panels.cut.firsts() {
        for row in (0..m).step_by(height) {
            let (rows, cols) = (height.min(m - row), panels.cut.cols(first));
            let (a, c) = (a.from([row, 0]), &mut c[row * out.stride + first..]);
            let (panel, out) = (panels.get(first), out.at(row, first));
            any_tile::<L, MR, NV>([rows, cols], tile::Product { a, panel, c, cols, out });
        }
    }
}

/// A left operand that is transposed: two strips as high as a tile are copied, column behind column, and stay in the
/// first-level cache while all panels pass. Two, because so many numbers of a row share a cache line.
#[inline(always)]
fn gathered<L: Lanes, const MR: usize, const NV: usize>(
    m: usize,
    a: Rows<'_>,
    panels: &Panels<'_>,
    c: &mut [f32],
    out: Out<'_>,
) {
    let mut strips = [const { Strip([0.0; DEPTH * MOST_ROWS]) }; 2];
    for row in (0..m).step_by(2 * MR) {
        gather_strips::<MR>(a.from([row, 0]), m - row, panels.depth, &mut strips);
        let coming = if a.row_stride == 1 && row + 2 * MR < m { a.from([row + 2 * MR, 0]).values } else { &[] };
        let mut coming = coming.chunks(a.col_stride);
        let share = panels.depth.div_ceil(panels.cut.firsts().count());
        for first in panels.cut.firsts() {
            for column in coming.by_ref().take(share) {
                prefetch(&column[..column.len().min(2 * MR)]);
            }
            for (row, Strip(strip)) in (row..m).step_by(MR).zip(&strips) {
                let (rows, cols) = (MR.min(m - row), panels.cut.cols(first));
                let (a, c) =
                    (Rows { values: strip, row_stride: 1, col_stride: MR }, &mut c[row * out.stride + first..]);
                let (panel, out) = (panels.get(first), out.at(row, first));
                any_tile::<L, MR, NV>([rows, cols], tile::Product { a, panel, c, cols, out });
            }
        }
    }
}

/// Columns of a tile's rows, from a cache line on.
#[repr(align(64))]
struct Strip([f32; DEPTH * MOST_ROWS]);

/// Copies two strips of up to `MR` rows, `depth` columns. A function of its own, which needs no vectors and has all
/// registers.
#[inline(never)]
fn gather_strips<const MR: usize>(
    a: Rows<'_>,
    rows: usize,
    depth: usize,
    [Strip(upper), Strip(lower)]: &mut [Strip; 2],
) {
    let strips = upper.as_chunks_mut::<MR>().0.iter_mut().zip(lower.as_chunks_mut::<MR>().0);
    for (p, (upper, lower)) in strips.take(depth).enumerate() {
        let column = &a.values[p * a.col_stride..];
        // a length that is known is a few moves, another one a call
        if a.row_stride == 1 && rows >= 2 * MR {
            upper.copy_from_slice(&column[..MR]);
            lower.copy_from_slice(&column[MR..2 * MR]);
        } else {
            let both = upper.iter_mut().chain(lower);
            both.take(rows).enumerate().for_each(|(i, value)| *value = column[i * a.row_stride]);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Numbers of about unit size without a pattern that a wrong index would survive.
    pub(in crate::cpu) fn values(len: usize) -> Vec<f32> {
        (0..len as u64).map(|i| ((i * 2_654_435_761 + 12_345) % 10_007) as f32 / 5_003.5 - 1.0).collect()
    }

    #[test]
    fn products_agree_with_three_loops_in_double_precision_at_every_awkward_size() {
        for isa in Isa::available() {
            for m in [1, 2, 3, 7, 8, 9, 16, 17] {
                for n in [1, 7, 8, 9, 28, 31, 32, 33, 100] {
                    for k in [1, 2, 8, 33, 255, 256, 257, 600] {
                        check(isa, [m, n, k]);
                    }
                }
            }
        }
    }

    fn check(isa: Isa, [m, n, k]: [usize; 3]) {
        let (a_stride, b_stride, c_stride) = (k + 3, n + 2, n + 1);
        let (a, b) = (values(m * a_stride), values(k * b_stride));
        let mut packed = Packed::new(isa, k, n);
        packed.pack(&b, b_stride);
        let before = values(m * c_stride);
        for accumulate in [false, true] {
            let mut c = before.clone();
            let onto = if accumulate { Onto::Output } else { Onto::Nothing };
            packed.multiply(m, Rows { values: &a, row_stride: a_stride, col_stride: 1 }, &mut c, c_stride, onto);
            for i in 0..m {
                for j in 0..c_stride {
                    let old = f64::from(before[i * c_stride + j]);
                    let sum: f64 = (0..k)
                        .map(|p| f64::from(a[i * a_stride + p]) * f64::from(*b.get(p * b_stride + j).unwrap_or(&0.0)))
                        .sum();
                    let expected = if j == n {
                        old
                    } else if accumulate {
                        old + sum
                    } else {
                        sum
                    };
                    let found = f64::from(c[i * c_stride + j]);
                    // a sum of k products below 1 in f32: k · 2^−24 at the most, its root on average
                    assert!(
                        (found - expected).abs() <= 2e-6 * (k as f64).sqrt().max(1.0),
                        "{} {m}×{n}×{k} ({i}, {j}): {found} {expected}",
                        isa.name()
                    );
                }
            }
        }
    }

    #[test]
    fn a_transposed_operand_gives_the_same_bits_as_one_that_was_transposed_before() {
        for isa in Isa::available() {
            // a left operand with few rows is used as it stands, one with many in copied strips
            for m in [9, CLOSE, CLOSE + 11] {
                let (n, k) = (33, 300);
                let (a, b) = (values(m * k), values(k * n));
                let transposed: Vec<f32> = (0..n * k).map(|i| b[i % k * n + i / k]).collect();
                let a_transposed: Vec<f32> = (0..k * m).map(|i| a[i % m * k + i / m]).collect();
                let (mut plain, mut other) = (Packed::new(isa, k, n), Packed::new(isa, k, n));
                plain.pack(&b, n);
                other.pack_transposed(&transposed, k);
                let (mut c, mut d) = (vec![0.0; m * n], vec![0.0; m * n]);
                plain.multiply(m, Rows { values: &a, row_stride: k, col_stride: 1 }, &mut c, n, Onto::Nothing);
                let columns = Rows { values: &a_transposed, row_stride: 1, col_stride: m };
                other.multiply(m, columns, &mut d, n, Onto::Nothing);
                assert_eq!(c, d);
            }
        }
    }

    #[test]
    fn a_right_operand_that_stands_gives_the_same_bits_as_one_that_is_laid_out() {
        for isa in Isa::available() {
            // panels that are whole, narrow, and not filled
            for n in [28, 32, 48, 64, 100, 112, 256] {
                let (m, k) = (FEW, 300);
                let (a, b, mut rest) = (values(m * k), values(k * n), Packed::new(isa, 0, 0));
                let columns = Rows { values: &a, row_stride: 1, col_stride: m };
                let as_it_is = Rows { values: &b, row_stride: n, col_stride: 1 };
                assert!(Multiply::can_stand(as_it_is, m));
                let (mut c, mut d) = (vec![0.0; m * n], vec![0.0; m * n]);
                let mut packed = Packed::new(isa, k, n);
                packed.pack(&b, n);
                packed.multiply(m, columns, &mut c, n, Onto::Nothing);
                let operands = [columns, as_it_is];
                Multiply::with_right_as_it_stands([m, k, n], operands, &mut rest, &mut d, n, Onto::Nothing).run_on(isa);
                assert_eq!(bits(&c), bits(&d), "{} {n}", isa.name());
            }
        }
    }

    pub(in crate::cpu) fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn the_way_rows_are_shared_out_changes_no_bit_and_nan_stays() {
        for isa in Isa::available() {
            let (m, n, k) = (23, 40, 300);
            let (mut a, b) = (values(m * k), values(k * n));
            a[5 * k + 7] = f32::NAN;
            let mut packed = Packed::new(isa, k, n);
            packed.pack(&b, n);
            let mut whole = vec![0.0; m * n];
            packed.multiply(m, Rows { values: &a, row_stride: k, col_stride: 1 }, &mut whole, n, Onto::Nothing);
            assert!(whole[5 * n..6 * n].iter().all(|c| c.is_nan()) && whole[6 * n..].iter().all(|c| c.is_finite()));
            for rows in [1, 3, 8, 16] {
                let mut parts = vec![0.0; m * n];
                for first in (0..m).step_by(rows) {
                    let a = Rows { values: &a[first * k..], row_stride: k, col_stride: 1 };
                    packed.multiply(rows.min(m - first), a, &mut parts[first * n..], n, Onto::Nothing);
                }
                assert_eq!(bits(&parts), bits(&whole), "{} in blocks of {rows}", isa.name());
            }
        }
    }

    #[test]
    fn a_single_row_over_a_large_weight_has_the_bits_of_a_row_among_others() {
        // more values than `LARGE_ROW`, and a last panel that is not whole
        let (k, n, ids) = (515, 301, [1, 0]);
        let (a, b, table) = (values(2 * k), values(k * n), values(2 * n));
        for isa in Isa::available() {
            let mut packed = Packed::new(isa, k, n);
            packed.pack(&b, n);
            for onto in
                [Onto::Nothing, Onto::Output, Onto::Row(&b), Onto::Table { values: &table, stride: n, ids: &ids }]
            {
                let run = |threads: usize, m: usize| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut c = values(m * n);
                    let a = Rows { values: &a, row_stride: k, col_stride: 1 };
                    pool.install(|| packed.multiply(m, a, &mut c, n, onto));
                    c
                };
                let expected = bits(&run(1, 2)[..n]);
                for threads in [1, 2, 3, 16] {
                    assert_eq!(bits(&run(threads, 1)), expected, "{} {onto:?} on {threads} threads", isa.name());
                }
            }
        }
    }
}
