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
//!
//!   u = a11·b11 + s2·t2     c11 = a11·b11 + a12·b21      c12 = u + s1·t1 + s4·b22
//!   v = u + s3·t3           c21 = v + a22·t4             c22 = v + s1·t1
//! ```
//!
//! What is made of `a` is made before the columns of a block pass. What is made of `b` is made when it is laid out
//! (`in_turn.rs`), or, on a CPU that adds while it multiplies, whenever it is used (`at_once.rs`), which saves most of the
//! memory's time.
//!
//! What it costs: an element is rounded at the size of its whole pair, two to four times as coarsely as a sum of its own
//! products; a NaN in one row is one in its neighbour.
//!
//! **Invariant:** an element's bits depend on its pair of rows, on `b` and the CPU, whatever `m`, the tile that it falls
//! into, and the way in which pairs are shared out to threads.

mod at_once;
mod in_turn;

use std::cell::Cell;

use super::Buffer;
use super::isa::{Isa, Lanes};
use super::product::{NEAR, Onto, Rows};
use super::tile::{self, Out};

/// Rows of `b` that are worked through at a time, in two halves. More would be rounded more coarsely.
pub(super) const DEPTH: usize = 512;
/// Rows of a batch, and rows of `b`, from which on it is worth it to take the seven products in turn: eight threads have groups
/// of four pairs each then, 1.1 times as fast as single rows; groups of two pairs are slower, 0.85 times. With fewer rows of
/// `b`, sums are added more often than multiplied.
const LEAST_IN_TURN: [usize; 2] = [64, 64];
/// The same at once: eight threads have groups of two pairs each then, 1.1 times as fast as single rows, sixteen have one, 0.95
/// times.
const LEAST_AT_ONCE: [usize; 2] = [32, 128];
/// Columns come in two halves of whole vectors, whatever the instruction set.
const COLS: usize = 64;
/// Rows of a product whose operands are used once that are multiplied together.
pub(super) const TOGETHER: usize = 16;
/// Rows and columns of such a product from which on it is worth what is made of its left operand.
const LEAST_ONCE: [usize; 2] = [64, 256];

/// Rows that pass all columns together: what is made of them stays in the second-level cache.
const ROWS: usize = 32;

thread_local! {
    /// What is made of a left operand; it grows to the largest one and stays.
    static LEFT: Cell<Option<Buffer>> = const { Cell::new(None) };
    /// Where a right operand is laid out that is used once; it grows likewise.
    static RIGHT: Cell<Option<Buffer>> = const { Cell::new(None) };
}

/// Work with room for so many numbers, which a thread keeps.
fn with_room<R>(
    room: &'static std::thread::LocalKey<Cell<Option<Buffer>>>,
    len: usize,
    work: impl FnOnce(&mut [f32]) -> R,
) -> R {
    let mut buffer = room.take().filter(|buffer| buffer.len() >= len).unwrap_or_else(|| Buffer::small(len));
    let result = work(&mut buffer[..len]);
    room.set(Some(buffer));
    result
}

/// The right operand `[k, n]` of products with pairs of rows, laid out for one instruction set.
#[derive(Debug)]
pub struct Paired {
    isa: Isa,
    k: usize,
    n: usize,
    at_once: bool,
    values: Buffer,
}

impl Paired {
    /// Whether a right operand `[k, n]` that rows out of `m` are multiplied with gains by taking them in pairs.
    pub fn suits(isa: Isa, [m, k, n]: [usize; 3]) -> bool {
        let [rows, inner] = if isa.adds_beside() { LEAST_AT_ONCE } else { LEAST_IN_TURN };
        let in_halves = m.is_multiple_of(2) && k.is_multiple_of(2) && n.is_multiple_of(COLS);
        in_halves && m >= rows && k >= inner
    }

    /// The same of a single product with all `m` rows: in turn, laying out what is made of the operand takes what is gained.
    pub fn suits_single(isa: Isa, sizes: [usize; 3]) -> bool {
        isa.adds_beside() && Self::suits(isa, sizes)
    }

    /// Room for `[k, n]`, all zero.
    ///
    /// # Panics
    /// If `k` is odd, or `n` is no multiple of 64.
    pub fn new(isa: Isa, k: usize, n: usize) -> Self {
        Self::for_products(isa, k, n, isa.adds_beside())
    }

    fn for_products(isa: Isa, k: usize, n: usize, at_once: bool) -> Self {
        assert!(k.is_multiple_of(2) && n.is_multiple_of(COLS), "{k} rows and {n} columns have no halves");
        let matrices = if at_once { 4 } else { 7 };
        Self { isa, k, n, at_once, values: Buffer::small(matrices * (k / 2) * (n / 2)) }
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
        let Self { isa, k, n, at_once, ref mut values } = *self;
        if at_once {
            isa.run(at_once::LayOut { b, k, right: n / 2, values, shared: true });
        } else {
            isa.run(in_turn::LayOut { b, k, right: n / 2, values });
        }
    }

    /// `c[m, n] = a[m, k] · self`, added to what `onto` says.
    ///
    /// # Panics
    /// If the number of rows is odd, or a slice is too short for its rows.
    pub fn multiply(&self, m: usize, a: Rows<'_>, c: &mut [f32], c_stride: usize, onto: Onto<'_>) {
        assert!(m.is_multiple_of(2) && a.col_stride == 1, "{m} rows, {} apart, are no pairs of rows", a.col_stride);
        let (isa, k, right, b) = (self.isa, self.k, self.n / 2, &*self.values);
        for first in (0..m).step_by(ROWS) {
            let (m, a, c, onto) =
                (ROWS.min(m - first), a.from([first, 0]), &mut c[first * c_stride..], onto.at(first, 0));
            let scratch_cols = if self.at_once { at_once::SCRATCH } else { k.min(DEPTH) };
            with_room(&LEFT, scratch_cols * m, |scratch| {
                let product = OnLaidOut { m, k, right, a, b, scratch, c, c_stride, onto };
                if self.at_once {
                    isa.run(at_once::Multiply(product));
                } else {
                    isa.run(in_turn::Multiply(product));
                }
            });
        }
    }
}

/// A product, `c[m, 2·right] = a[m, k] · b`, with `b` laid out in one way or the other.
struct OnLaidOut<'a> {
    m: usize,
    k: usize,
    right: usize,
    a: Rows<'a>,
    b: &'a [f32],
    scratch: &'a mut [f32],
    c: &'a mut [f32],
    c_stride: usize,
    onto: Onto<'a>,
}

/// Whether a product `[m, k] · [k, n]` whose operands are used once gains by taking its rows in pairs, and this CPU does so
/// ([`multiply_once`]). Where rows are left over, the right operand serves them as well only if the left one is transposed.
pub(super) fn suits_once(isa: Isa, [m, k, n]: [usize; 3], a: Rows<'_>) -> bool {
    let whole = m / TOGETHER * TOGETHER;
    let is_large = m >= LEAST_ONCE[0] && n >= LEAST_ONCE[1] && (whole == m || a.col_stride != 1);
    is_large && Paired::suits_single(isa, [whole, k, n])
}

/// `c[m, n] = a[m, k] · b[k, n]`, added to what `onto` says, where m is a multiple of [`TOGETHER`], and k even and at the most
/// [`DEPTH`]. A pair is a row and the eighth one after it here, so that neighbours in a transposed left operand stay neighbours.
pub(super) fn multiply_once(
    isa: Isa,
    [m, k, n]: [usize; 3],
    [a, b]: [Rows<'_>; 2],
    c: &mut [f32],
    c_stride: usize,
    onto: Onto<'_>,
) {
    let (depth, right, pairs) = (k / 2, n / 2, TOGETHER / 2);
    let mut multiply = |b: at_once::Right<'_>| {
        with_room(&LEFT, at_once::SCRATCH * TOGETHER, |scratch| {
            for first in (0..m).step_by(TOGETHER) {
                let coming = (a.col_stride != 1 && first + TOGETHER < m).then(|| a.from([first + TOGETHER, 0]));
                let (c, onto) = (&mut c[first * c_stride..], onto.at(first, 0));
                let out = Out { stride: c_stride, apart: 1, onto };
                let tiles = at_once::Tiles { pairs, odd: pairs, depth, right, b, c, out, coming };
                isa.run(at_once::Block { a: a.from([first, 0]), scratch: &mut *scratch, tiles });
            }
        });
    };
    if b.col_stride == 1 && b.row_stride <= NEAR {
        return multiply(at_once::Right::Standing(b));
    }
    with_room(&RIGHT, k * n, |values| {
        isa.run(at_once::LayOut { b, k, right, values: &mut *values, shared: false });
        multiply(at_once::Right::LaidOut(values));
    });
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

/// Stores a quarter of a tile of the product, from this row and column on.
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

    /// For each instruction set that there is, products in turn and at once, whichever it would have.
    fn all(k: usize, n: usize) -> impl Iterator<Item = Paired> {
        Isa::available().flat_map(move |isa| [false, true].map(|at_once| Paired::for_products(isa, k, n, at_once)))
    }

    fn multiply(b: &Paired, m: usize, a: &[f32], a_stride: usize, c: &mut [f32], c_stride: usize, onto: Onto<'_>) {
        b.multiply(m, standing(a, a_stride), c, c_stride, onto);
    }

    #[test]
    fn products_agree_with_three_loops_in_double_precision() {
        for n in [64, 128, 192] {
            for k in [2, 64, 66, 512, 514, 1100] {
                let b_stride = n + 2;
                let b = values(k * b_stride);
                for mut paired in all(k, n) {
                    paired.pack(&b, b_stride);
                    for m in [2, 4, 6, 10, 16, 18, 34] {
                        check(&paired, m, &b, b_stride);
                    }
                }
            }
        }
    }

    fn check(paired: &Paired, m: usize, b: &[f32], b_stride: usize) {
        let Paired { isa, k, n, at_once, .. } = *paired;
        let (a_stride, c_stride) = (k + 3, n + 1);
        let (a, before) = (values(m * a_stride), values(m * c_stride));
        let (table, ids) = (values(5 * (n + 4)), (0..m as u32).map(|i| i * 7 % 5).collect::<Vec<_>>());
        let onto_table = Onto::Table { values: &table, stride: n + 4, ids: &ids };
        for onto in [Onto::Nothing, Onto::Output, Onto::Row(&table), onto_table] {
            let mut c = before.clone();
            multiply(paired, m, &a, a_stride, &mut c, c_stride, onto);
            let rows = [Rows { values: &a, row_stride: a_stride, col_stride: 1 }, standing(b, b_stride)];
            let name = format!("{} {m}×{n}×{k} {}", isa.name(), if at_once { "at once" } else { "in turn" });
            assert_product(&name, [m, k, n], rows, [&before, &c], c_stride, onto);
        }
    }

    fn standing(values: &[f32], row_stride: usize) -> Rows<'_> {
        Rows { values, row_stride, col_stride: 1 }
    }

    /// `c` is what `before` has become, and nothing between its rows has changed.
    fn assert_product(
        name: &str,
        [m, k, n]: [usize; 3],
        [a, b]: [Rows<'_>; 2],
        [before, c]: [&[f32]; 2],
        c_stride: usize,
        onto: Onto<'_>,
    ) {
        let at = |of: Rows<'_>, i: usize, j: usize| f64::from(of.values[i * of.row_stride + j * of.col_stride]);
        for i in 0..m {
            for j in 0..n {
                let added_to = match onto {
                    Onto::Nothing => 0.0,
                    Onto::Output => before[i * c_stride + j],
                    Onto::Row(values) => values[j],
                    Onto::Table { values, stride, ids } => values[ids[i] as usize * stride + j],
                };
                let products = (0..k).map(|p| at(a, i, p) * at(b, p, j));
                let (expected, found) = (f64::from(added_to) + products.sum::<f64>(), c[i * c_stride + j]);
                // four times what sums of k products below 1 are allowed in `product.rs`
                assert!(
                    (f64::from(found) - expected).abs() <= 8e-6 * (k as f64).sqrt(),
                    "{name} ({i}, {j}): {found} {expected}"
                );
            }
            let gap = i * c_stride + n..(i + 1) * c_stride;
            assert_eq!(c[gap.clone()], before[gap], "{name}: the gap between rows stays as it was");
        }
    }

    #[test]
    fn operands_that_are_used_once_agree_with_three_loops_however_they_lie() {
        let (m, n) = (3 * TOGETHER, 128);
        for isa in Isa::available() {
            for k in [64, 98, DEPTH] {
                // rows that are near each other stand, others and columns are laid out
                for (apart, across) in [(n + 16, false), (NEAR + 16, false), (k + 5, true)] {
                    for transposed in [false, true] {
                        let of_a = values(m.max(k) * (m.max(k) + 7));
                        // in another order, for the same would make long sums of squares
                        let of_b: Vec<f32> = (0..n.max(k) * (apart + 1)).map(|i| of_a[i * i % of_a.len()]).collect();
                        let a = if transposed {
                            Rows { values: &of_a, row_stride: 1, col_stride: m + 7 }
                        } else {
                            standing(&of_a, k + 7)
                        };
                        let b = if across {
                            Rows { values: &of_b, row_stride: 1, col_stride: apart }
                        } else {
                            standing(&of_b, apart)
                        };
                        let before = values(m * (n + 3));
                        for onto in [Onto::Nothing, Onto::Output, Onto::Row(&of_a)] {
                            let mut c = before.clone();
                            multiply_once(isa, [m, k, n], [a, b], &mut c, n + 3, onto);
                            let name = format!("{} {k} {apart} {across} {transposed}", isa.name());
                            assert_product(&name, [m, k, n], [a, b], [&before, &c], n + 3, onto);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_transposed_operand_gives_the_same_bits_as_one_that_was_transposed_before() {
        let (m, n, k) = (6, 128, 524);
        let (a, b) = (values(m * k), values(k * n));
        let transposed: Vec<f32> = (0..n * k).map(|i| b[i % k * n + i / k]).collect();
        for (mut plain, mut other) in all(k, n).zip(all(k, n)) {
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
        let (m, n, k) = (34, 64, 600);
        let (mut a, b) = (values(m * k), values(k * n));
        a[5 * k + 7] = f32::NAN;
        for mut paired in all(k, n) {
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
                assert_eq!(bits(&parts), bits(&whole), "{} in blocks of {rows}", paired.isa.name());
            }
        }
    }
}
