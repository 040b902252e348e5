//! Products of rows in pairs: seven products of half the size instead of eight. Strassen's algorithm (Numerische Mathematik
//! 13, 1969) in Winograd's form, which adds least, taken once, inside a tile.
//!
//! All three matrices are cut in half: the rows of `a` and `c` into even and odd ones, the columns of `b` and `c` into left
//! and right ones, and what is summed over into a first and a second half, in blocks of 512.
//!
//! ```text
//!   c11 c12     a11 a12     b11 b12        s1 = a21 + a22     t1 = b12 − b11
//!            =           ·                 s2 = s1 − a11      t2 = b22 − t1
//!   c21 c22     a21 a22     b21 b22        s3 = a11 − a21     t3 = b22 − b12
//!                                          s4 = a12 − s2      t4 = b21 − t2
//! ```
//!
//! What is made of `b` is laid out with it; what is made of `a`, before the panels of a block pass. A tile takes its seven
//! products in an order in which most are added to the sums that are in the registers already, so that no intermediate
//! matrix is ever written:
//!
//! | product | added to | the sum is |
//! |---|---|---|
//! | `a11·b11` | nothing | parked as `p` |
//! | `a12·b21` | it | **c11** |
//! | `s2·t2` | `p` | parked as `u` |
//! | `s3·t3` | it | parked as `v` |
//! | `a22·t4` | it | **c21** |
//! | `s1·t1` | nothing | with `v`, **c22** |
//! | `s4·b22` | it and `u` | **c12** |
//!
//! What it costs: an element is rounded at the size of its whole pair, two to four times as coarsely as a sum of its own
//! products; a NaN in one row is one in its neighbour; and tiles need twice as many rows to keep all sums at work.
//!
//! **Invariant:** an element's bits depend on its pair of rows and on `b`, whatever `m`, the tile that it falls into, and
//! the way in which pairs are shared out to threads.

use rayon::prelude::*;

use super::Buffer;
use super::buffer::LINE;
use super::isa::{Isa, Kernel, Lanes, prefetch};
use super::pack::PackPanel;
use super::panels::{Cut, Panel};
use super::product::{MOST_COLS, MOST_ROWS, Onto, Rows};
use super::tile::{self, Out, Tile, any_tile};

/// Rows of `b` that are worked through at a time, in two halves. More would be rounded more coarsely.
const DEPTH: usize = 512;
/// Batches from which on it is worth it: eight threads have groups of four pairs each then, 1.1 times as fast as single rows;
/// groups of two pairs are slower, 0.85 times.
const LEAST_ROWS: usize = 64;
/// Columns come in two halves of whole vectors, whatever the instruction set.
const COLS: usize = 64;
/// With fewer rows of `b`, sums are parked and added more often than multiplied.
const LEAST_INNER: usize = 64;

/// The right operand `[k, n]` of products with pairs of rows, laid out for one instruction set.
#[derive(Debug)]
pub struct Paired {
    isa: Isa,
    k: usize,
    n: usize,
    /// Block by block of [`DEPTH`] rows, in it panel by panel of the left half, in it `b11 b21 t2 t3 t4 t1 b22`, in the order
    /// in which they are used.
    values: Buffer,
}

impl Paired {
    /// Whether a right operand `[k, n]` that rows out of `m` are multiplied with gains by taking them in pairs.
    pub fn suits([m, k, n]: [usize; 3]) -> bool {
        let in_halves = m.is_multiple_of(2) && k.is_multiple_of(2) && n.is_multiple_of(COLS);
        in_halves && m >= LEAST_ROWS && k >= LEAST_INNER
    }

    /// Room for `[k, n]`, all zero.
    ///
    /// # Panics
    /// If `k` is odd, or `n` is no multiple of 64.
    pub fn new(isa: Isa, k: usize, n: usize) -> Self {
        assert!(k.is_multiple_of(2) && n.is_multiple_of(COLS), "{k} rows and {n} columns have no halves");
        Self { isa, k, n, values: Buffer::small(7 * (k / 2) * (n / 2)) }
    }

    /// How many numbers [`Paired::multiply`] needs beside its operands for each row.
    pub fn scratch_cols(&self) -> usize {
        self.k.min(DEPTH)
    }

    /// Lays out `source[p·stride + j]`, a matrix `[k, n]` row by row.
    pub fn pack(&mut self, source: &[f32], stride: usize) {
        self.lay_out(Rows { values: source, row_stride: stride, col_stride: 1 });
    }

    /// Lays out the transpose of `source[j·stride + p]`, a matrix `[n, k]` row by row: PyTorch's layout of a weight.
    pub fn pack_transposed(&mut self, source: &[f32], stride: usize) {
        self.lay_out(Rows { values: source, row_stride: 1, col_stride: stride });
    }

    fn lay_out(&mut self, b: Rows<'_>) {
        let (isa, right, cut) = (self.isa, self.n / 2, Cut::new(self.isa, self.n / 2));
        let mut behind = &mut *self.values;
        for (start, depth) in blocks(self.k) {
            let (block, rest) = behind.split_at_mut(7 * depth * right);
            behind = rest;
            cut.parts_mut(block, 7 * depth).into_par_iter().for_each(|(first, width, part)| {
                part.par_chunks_mut(7 * depth * width).enumerate().for_each(|(index, seven)| {
                    isa.run(PackSeven { b: b.from([start, first + index * width]), right, depth, seven });
                });
            });
        }
    }

    /// `c[m, n] = a[m, k] · self`, added to what `onto` says; what `scratch` holds is overwritten.
    ///
    /// # Panics
    /// If the number of rows is odd, or a slice is too short for its rows.
    pub fn multiply(&self, m: usize, a: Rows<'_>, scratch: &mut [f32], c: &mut [f32], c_stride: usize, onto: Onto<'_>) {
        assert!(m.is_multiple_of(2) && a.col_stride == 1, "{m} rows, {} apart, are no pairs of rows", a.col_stride);
        self.isa.run(Multiply { b: self, m, a, scratch, c, c_stride, onto });
    }
}

/// Where each block of rows begins, and how many each of its halves has.
fn blocks(k: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..k).step_by(DEPTH).map(move |start| (start, DEPTH.min(k - start) / 2))
}

/// A slice in parts of one size.
#[inline(always)]
fn parts_mut<const N: usize>(values: &mut [f32]) -> [&mut [f32]; N] {
    let mut parts = values.chunks_exact_mut(values.len() / N);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// `out = a − b`.
#[inline(always)]
fn subtract(a: &[f32], b: &[f32], out: &mut [f32]) {
    out.iter_mut().zip(a).zip(b).for_each(|((out, a), b)| *out = a - b);
}

/// A panel's part of a block.
struct PackSeven<'a> {
    /// From the panel's first column on.
    b: Rows<'a>,
    /// How far the right half is behind the left.
    right: usize,
    /// Rows of a half.
    depth: usize,
    /// `b11 b21 t2 t3 t4 t1 b22`.
    seven: &'a mut [f32],
}

impl Kernel for PackSeven<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { b, right, depth, seven } = self;
        let cols = seven.len() / (7 * depth);
        let mut quarters = [[0.0; LINE * MOST_COLS]; 4];
        let [b11, b21, t2, t3, t4, t1, b22] = parts_mut(seven);
        for first in (0..depth).step_by(LINE) {
            let place = first * cols..depth.min(first + LINE) * cols;
            let corners = [[first, 0], [first, right], [depth + first, 0], [depth + first, right]];
            for (quarter, corner) in quarters.iter_mut().zip(corners) {
                PackPanel { b: b.from(corner), cols, width: cols, panel: &mut quarter[..place.len()] }.run::<L>();
            }
            let [q11, q12, q21, q22] = quarters.each_ref().map(|quarter| &quarter[..place.len()]);
            b11[place.clone()].copy_from_slice(q11);
            b21[place.clone()].copy_from_slice(q21);
            b22[place.clone()].copy_from_slice(q22);
            subtract(q12, q11, &mut t1[place.clone()]);
            subtract(q22, &t1[place.clone()], &mut t2[place.clone()]);
            subtract(q22, q12, &mut t3[place.clone()]);
            subtract(q21, &t2[place.clone()], &mut t4[place]);
        }
    }
}

/// A product, `c[m, n] = a[m, k] · b`.
struct Multiply<'a> {
    b: &'a Paired,
    m: usize,
    a: Rows<'a>,
    scratch: &'a mut [f32],
    c: &'a mut [f32],
    c_stride: usize,
    onto: Onto<'a>,
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
        let Self { b, m, a, scratch, c, c_stride, onto } = self;
        let (pairs, right, cut) = (m / 2, b.n / 2, Cut::of::<L>(b.n / 2));
        // tiles of one height: ten pairs are five and five
        let height = pairs.div_ceil(pairs.div_ceil(MR).max(1));
        let mut parked = [const { Parked([0.0; MOST_ROWS * MOST_COLS]) }; 2];
        let mut behind = &*b.values;
        for (start, depth) in blocks(b.k) {
            let (block, rest) = behind.split_at(7 * depth * right);
            behind = rest;
            let a = a.from([0, start]);
            let sums = &mut scratch[..4 * pairs * depth];
            add_up(a, depth, sums);
            let out = Out { stride: c_stride, apart: 2, onto: if start > 0 { Onto::Output } else { onto } };
            for first in cut.firsts() {
                let cols = cut.cols(first);
                let seven = &block[7 * depth * first..][..7 * depth * cols];
                for pair in (0..pairs).step_by(height) {
                    let (left, at, parked) = (left(a, sums, pair, depth), [2 * pair, first], &mut parked);
                    let tile = Seven { left, seven, parked, c, at, right, out };
                    any_tile::<L, MR, NV>([height.min(pairs - pair), cols], tile);
                }
            }
        }
    }
}

/// `s1 s2 s3 s4`, each `[pairs, depth]`, of rows `a`.
#[inline(always)]
fn add_up(a: Rows<'_>, depth: usize, sums: &mut [f32]) {
    let [s1, s2, s3, s4] = parts_mut(sums).map(|s| s.chunks_exact_mut(depth));
    for (pair, ((s1, s2), (s3, s4))) in s1.zip(s2).zip(s3.zip(s4)).enumerate() {
        let (even, odd) = (a.from([2 * pair, 0]), a.from([2 * pair + 1, 0]));
        let (a11, a12) = even.values[..2 * depth].split_at(depth);
        let (a21, a22) = odd.values[..2 * depth].split_at(depth);
        s1.iter_mut().zip(a21).zip(a22).for_each(|((s1, a21), a22)| *s1 = a21 + a22);
        subtract(s1, a11, s2);
        subtract(a11, a21, s3);
        subtract(a12, s2, s4);
    }
}

/// The left operands from a pair of rows on: `a11 a12 s2 s3 a22 s1 s4`.
#[inline(always)]
fn left<'a>(a: Rows<'a>, sums: &'a [f32], pair: usize, depth: usize) -> [Rows<'a>; 7] {
    let of_a = |[row, col]: [usize; 2]| Rows { row_stride: 2 * a.row_stride, ..a.from([2 * pair + row, col]) };
    let mut parts = sums.chunks_exact(sums.len() / 4);
    let [s1, s2, s3, s4] = std::array::from_fn(|_| {
        let values = &parts.next().unwrap_or_default()[pair * depth..];
        Rows { values, row_stride: depth, col_stride: 1 }
    });
    [of_a([0, 0]), of_a([0, depth]), s2, s3, of_a([1, depth]), s1, s4]
}

/// A tile's sums, out of the registers for a while.
#[repr(align(64))]
struct Parked([f32; MOST_ROWS * MOST_COLS]);

/// The seven products of a tile of pairs.
struct Seven<'a> {
    left: [Rows<'a>; 7],
    /// The right operands, one behind the other.
    seven: &'a [f32],
    parked: &'a mut [Parked; 2],
    c: &'a mut [f32],
    /// The first even row, and the first column of the left half.
    at: [usize; 2],
    /// How far the right half is behind the left.
    right: usize,
    out: Out<'a>,
}

impl Tile for Seven<'_> {
    #[inline(always)]
    fn run<L: Lanes, const MR: usize, const NV: usize>(self) {
        let Self { left, seven, parked: [u, v], c, at: [row, col], right, out } = self;
        let (width, nothing) = (NV * L::LANES, [[L::splat(0.0); NV]; MR]);
        for row in c[row * out.stride..].chunks(out.stride).take(2 * MR) {
            prefetch(&row[col..][..width]);
            prefetch(&row[col + right..][..width]);
        }
        let mut sums = nothing;
        // one loop over the table above, not seven: the sums' own loop is compiled once
        for (product, (a, b)) in left.into_iter().zip(seven.chunks_exact(seven.len() / 7)).enumerate() {
            let panel = Panel { values: b, stride: width, depth: b.len() / width };
            sums = tile::add_products::<L, MR, NV>(sums, a, panel);
            match product {
                0 => park::<L, MR, NV>(&sums, u),
                1 => {
                    place::<L, MR, NV>(&sums, c, [row, col], out);
                    sums = plus_parked::<L, MR, NV>(nothing, u);
                }
                2 => park::<L, MR, NV>(&sums, u),
                3 => park::<L, MR, NV>(&sums, v),
                4 => {
                    place::<L, MR, NV>(&sums, c, [row + 1, col], out);
                    sums = nothing;
                }
                5 => {
                    place::<L, MR, NV>(&plus_parked::<L, MR, NV>(sums, v), c, [row + 1, col + right], out);
                    sums = plus_parked::<L, MR, NV>(sums, u);
                }
                _ => place::<L, MR, NV>(&sums, c, [row, col + right], out),
            }
        }
    }
}

/// Stores sums as they are.
#[inline(always)]
fn park<L: Lanes, const MR: usize, const NV: usize>(sums: &[[L::Vector; NV]; MR], Parked(room): &mut Parked) {
    for (i, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            L::store(*sum, &mut room[(i * NV + v) * L::LANES..]);
        }
    }
}

/// Sums, and others that were parked.
#[inline(always)]
fn plus_parked<L: Lanes, const MR: usize, const NV: usize>(
    mut sums: [[L::Vector; NV]; MR],
    Parked(parked): &Parked,
) -> [[L::Vector; NV]; MR] {
    for (i, sums) in sums.iter_mut().enumerate() {
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = L::add(*sum, L::load(&parked[(i * NV + v) * L::LANES..]));
        }
    }
    sums
}

/// Stores a quarter of a tile of the product, every other row from `row` on.
#[inline(always)]
fn place<L: Lanes, const MR: usize, const NV: usize>(
    sums: &[[L::Vector; NV]; MR],
    c: &mut [f32],
    [row, col]: [usize; 2],
    out: Out<'_>,
) {
    tile::store::<L, MR, NV>(sums, &mut c[row * out.stride + col..], NV * L::LANES, out.at(row, col));
}

#[cfg(test)]
mod tests {
    use super::super::product::tests::{bits, values};
    use super::*;

    fn multiply(b: &Paired, m: usize, a: &[f32], a_stride: usize, c: &mut [f32], c_stride: usize, onto: Onto<'_>) {
        let mut scratch = vec![f32::NAN; m * b.scratch_cols()];
        b.multiply(m, Rows { values: a, row_stride: a_stride, col_stride: 1 }, &mut scratch, c, c_stride, onto);
    }

    #[test]
    fn products_agree_with_three_loops_in_double_precision() {
        for isa in Isa::available() {
            for m in [2, 4, 10, 16, 18, 32] {
                for n in [64, 128, 192] {
                    for k in [2, 64, 66, 512, 514, 1100] {
                        check(isa, [m, n, k]);
                    }
                }
            }
        }
    }

    fn check(isa: Isa, [m, n, k]: [usize; 3]) {
        let (a_stride, b_stride, c_stride) = (k + 3, n + 2, n + 1);
        let (a, b, before) = (values(m * a_stride), values(k * b_stride), values(m * c_stride));
        let (table, ids) = (values(5 * (n + 4)), (0..m as u32).map(|i| i * 7 % 5).collect::<Vec<_>>());
        let mut paired = Paired::new(isa, k, n);
        paired.pack(&b, b_stride);
        let onto_table = Onto::Table { values: &table, stride: n + 4, ids: &ids };
        for onto in [Onto::Nothing, Onto::Output, Onto::Row(&table), onto_table] {
            let mut c = before.clone();
            multiply(&paired, m, &a, a_stride, &mut c, c_stride, onto);
            for i in 0..m {
                for j in 0..n {
                    let added_to = match onto {
                        Onto::Nothing => 0.0,
                        Onto::Output => before[i * c_stride + j],
                        Onto::Row(values) => values[j],
                        Onto::Table { values, stride, ids } => values[ids[i] as usize * stride + j],
                    };
                    let products = (0..k).map(|p| f64::from(a[i * a_stride + p]) * f64::from(b[p * b_stride + j]));
                    let (expected, found) = (f64::from(added_to) + products.sum::<f64>(), c[i * c_stride + j]);
                    // four times what sums of k products below 1 are allowed in `product.rs`
                    assert!(
                        (f64::from(found) - expected).abs() <= 8e-6 * (k as f64).sqrt(),
                        "{} {m}×{n}×{k} ({i}, {j}): {found} {expected}",
                        isa.name()
                    );
                }
                assert_eq!(c[i * c_stride + n], before[i * c_stride + n], "the gap between rows stays as it was");
            }
        }
    }

    #[test]
    fn a_transposed_operand_gives_the_same_bits_as_one_that_was_transposed_before() {
        for isa in Isa::available() {
            let (m, n, k) = (6, 128, 524);
            let (a, b) = (values(m * k), values(k * n));
            let transposed: Vec<f32> = (0..n * k).map(|i| b[i % k * n + i / k]).collect();
            let (mut plain, mut other) = (Paired::new(isa, k, n), Paired::new(isa, k, n));
            plain.pack(&b, n);
            other.pack_transposed(&transposed, k);
            let (mut c, mut d) = (vec![0.0; m * n], vec![0.0; m * n]);
            multiply(&plain, m, &a, k, &mut c, n, Onto::Nothing);
            multiply(&other, m, &a, k, &mut d, n, Onto::Nothing);
            assert_eq!(c, d);
        }
    }

    #[test]
    fn the_way_pairs_are_shared_out_changes_no_bit_and_nan_stays_in_its_pair() {
        for isa in Isa::available() {
            let (m, n, k) = (34, 64, 600);
            let (mut a, b) = (values(m * k), values(k * n));
            a[5 * k + 7] = f32::NAN;
            let mut paired = Paired::new(isa, k, n);
            paired.pack(&b, n);
            let mut whole = vec![0.0; m * n];
            multiply(&paired, m, &a, k, &mut whole, n, Onto::Nothing);
            assert!(whole[5 * n..6 * n].iter().all(|c| c.is_nan()));
            assert!(whole[..4 * n].iter().chain(&whole[6 * n..]).all(|c| c.is_finite()));
            for rows in [2, 4, 6, 16] {
                let mut parts = vec![0.0; m * n];
                for first in (0..m).step_by(rows) {
                    let c = &mut parts[first * n..];
                    multiply(&paired, rows.min(m - first), &a[first * k..], k, c, n, Onto::Nothing);
                }
                assert_eq!(bits(&parts), bits(&whole), "{} in blocks of {rows}", isa.name());
            }
        }
    }
}
