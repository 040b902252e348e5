//! All seven products of a few pairs at once: a row of each quarter of `b` is read, what is made of them is made in registers
//! and used for as many pairs as there are registers for. So `b` is laid out as it is, in quarters, or not at all, and passes
//! once.

use rayon::prelude::*;

use super::super::buffer::LINE;
use super::super::isa::{Kernel, Lanes, prefetch, prefetch_from};
use super::super::pack::PackPanel;
use super::super::product::{Onto, Rows};
use super::super::tile::{Out, ROWS_AHEAD};
use super::{DEPTH, OnLaidOut, blocks, parts_mut, place, subtract};

/// Most rows of a half of a block.
const HALF: usize = DEPTH / 2;
/// Distance between what is multiplied with one and with another: not a multiple of 4 KB for any two of a tile.
const APART: usize = HALF + LINE;
/// Pairs of which registers hold all seven sums, 28 of 32, and what is made of `b`.
const MOST_PAIRS: usize = 4;
/// Pairs of columns of a transposed `a` that are taken side by side: a cache line.
const ABREAST: usize = LINE / 2;

/// How many numbers [`Multiply`] needs beside its operands for each row.
pub(super) const SCRATCH: usize = (7 * APART).div_ceil(2);

/// Lays out `b`, `[k, 2·right]`: block by block, in it vector by vector of the left half, in it row by row `b11 b12 b21 b22`.
pub(super) struct LayOut<'a> {
    pub(super) b: Rows<'a>,
    pub(super) k: usize,
    pub(super) right: usize,
    pub(super) values: &'a mut [f32],
    /// Whether several threads share in it.
    pub(super) shared: bool,
}

impl Kernel for LayOut<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { b, k, right, values, shared } = self;
        let mut behind = values;
        for (start, depth) in blocks(k) {
            let (block, rest) = behind.split_at_mut(4 * depth * right);
            behind = rest;
            let pack = |(index, panel): (usize, &mut [f32])| {
                L::call(PackQuarters { b: b.from([start, index * L::LANES]), right, depth, panel });
            };
            if shared {
                block.par_chunks_mut(4 * depth * L::LANES).enumerate().for_each(pack);
            } else {
                block.chunks_mut(4 * depth * L::LANES).enumerate().for_each(pack);
            }
        }
    }
}

/// One vector of columns of a block.
struct PackQuarters<'a> {
    b: Rows<'a>,
    right: usize,
    depth: usize,
    panel: &'a mut [f32],
}

impl Kernel for PackQuarters<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { b, right, depth, panel } = self;
        let corners = [[0, 0], [0, right], [depth, 0], [depth, right]];
        for (quarter, corner) in corners.into_iter().enumerate() {
            let (b, cols, panel) = (b.from(corner), L::LANES, &mut panel[quarter * L::LANES..]);
            PackPanel { b, cols, width: L::LANES, pitch: 4 * L::LANES, panel }.run::<L>();
        }
    }
}

/// Where the quarters of a block of `b` stand.
#[derive(Clone, Copy)]
pub(super) enum Right<'a> {
    /// As [`LayOut`] leaves them.
    LaidOut(&'a [f32]),
    /// Where they are, in a matrix that is not transposed.
    Standing(Rows<'a>),
}

impl<'a> Right<'a> {
    /// A vector of columns of each half, from column `first` of the left one on.
    #[inline(always)]
    fn quarters<L: Lanes>(self, [depth, right]: [usize; 2], first: usize) -> Quarters<'a> {
        match self {
            Self::LaidOut(block) => Quarters {
                values: &block[4 * depth * first..],
                places: [0, 1, 2, 3].map(|quarter| quarter * L::LANES),
                step: 4 * L::LANES,
            },
            Self::Standing(Rows { values, row_stride, .. }) => {
                let below = depth * row_stride;
                Quarters { values: &values[first..], places: [0, right, below, below + right], step: row_stride }
            }
        }
    }
}

/// A vector of columns of each half of a block of `b`.
#[derive(Clone, Copy)]
struct Quarters<'a> {
    values: &'a [f32],
    /// The first vectors of `b11 b12 b21 b22`.
    places: [usize; 4],
    /// Distance between rows.
    step: usize,
}

/// A product with `b` as [`LayOut`] leaves it.
pub(super) struct Multiply<'a>(pub(super) OnLaidOut<'a>);

impl Kernel for Multiply<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let OnLaidOut { m, k, right, a, b, scratch, c, c_stride, onto } = self.0;
        let mut behind = b;
        for (start, depth) in blocks(k) {
            let (b, rest) = behind.split_at(4 * depth * right);
            behind = rest;
            let onto = if start > 0 { Onto::Output } else { onto };
            let (b, c, out) = (Right::LaidOut(b), &mut *c, Out { stride: c_stride, apart: 2, onto });
            let tiles = Tiles { pairs: m / 2, odd: 1, depth, right, b, c, out, coming: None };
            Block { a: a.from([0, start]), scratch: &mut *scratch, tiles }.run::<L>();
        }
    }
}

/// A product of some pairs of rows with a block of `b`.
pub(super) struct Block<'a> {
    pub(super) a: Rows<'a>,
    pub(super) scratch: &'a mut [f32],
    pub(super) tiles: Tiles<'a>,
}

impl Kernel for Block<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { a, scratch, tiles } = self;
        let Tiles { pairs, odd, depth, out, .. } = tiles;
        if a.col_stride == 1 {
            let left = &mut scratch[..7 * APART * pairs];
            for (pair, left) in left.chunks_exact_mut(7 * APART).enumerate() {
                let even = pair * out.apart;
                add_up(a.from([even, 0]), a.from([even + odd, 0]), depth, left);
            }
            let left: ByPair<'_> = Left(left);
            tiles.run::<L, _, _, _>(&left);
        } else {
            let at_hand = [pairs, odd, out.apart, a.row_stride];
            assert!(at_hand == [ABREAST, ABREAST, 1, 1], "pairs that do not stand side by side: {at_hand:?}");
            let left = &mut scratch[..7 * ABREAST * depth];
            add_up_columns(a, depth, left);
            let left: ByStep<'_> = Left(left);
            tiles.run::<L, _, _, _>(&left);
        }
    }
}

/// What pairs are multiplied with: `s1 s2 s3 a22 a11 a12 s4`, for `t1 t2 t3 t4 b11 b21 b22`. The constants are the distances
/// between pairs, between the seven, and between what is multiplied with one row of `b` and with the next.
struct Left<'a, const PAIR: usize, const PRODUCT: usize, const STEP: usize>(&'a [f32]);

/// All of a pair, one of the seven after the other.
type ByPair<'a> = Left<'a, { 7 * APART }, APART, 1>;
/// All for a row of `b`, the same one of the seven of all pairs side by side.
type ByStep<'a> = Left<'a, 1, ABREAST, { 7 * ABREAST }>;

/// What a pair of rows is multiplied with in a block.
#[inline(always)]
fn add_up(even: Rows<'_>, odd: Rows<'_>, depth: usize, left: &mut [f32]) {
    let (given11, given12) = even.values[..2 * depth].split_at(depth);
    let (a21, given22) = odd.values[..2 * depth].split_at(depth);
    let [s1, s2, s3, a22, a11, a12, s4] = parts_mut(left).map(|left| &mut left[..depth]);
    a11.copy_from_slice(given11);
    a12.copy_from_slice(given12);
    a22.copy_from_slice(given22);
    s1.iter_mut().zip(a21).zip(&*a22).for_each(|((s1, a21), a22)| *s1 = a21 + a22);
    subtract(s1, a11, s2);
    subtract(a11, a21, s3);
    subtract(a12, s2, s4);
}

/// The same of [`ABREAST`] pairs of rows of a transposed matrix, the even ones side by side and then the odd ones.
#[inline(always)]
fn add_up_columns(a: Rows<'_>, depth: usize, left: &mut [f32]) {
    let below = a.from([0, depth]);
    let (left, _) = left.as_chunks_mut::<ABREAST>();
    for (p, left) in left.as_chunks_mut::<7>().0.iter_mut().enumerate() {
        // copies, which nothing that is written overlaps
        let (upper, _) = a.values[p * a.col_stride..].as_chunks::<ABREAST>();
        let (lower, _) = below.values[p * a.col_stride..].as_chunks::<ABREAST>();
        let ([a11, a21], [a12, a22]) = ([upper[0], upper[1]], [lower[0], lower[1]]);
        let mut seven = [[0.0; ABREAST], [0.0; ABREAST], [0.0; ABREAST], a22, a11, a12, [0.0; ABREAST]];
        for pair in 0..ABREAST {
            let s1 = a21[pair] + a22[pair];
            let s2 = s1 - a11[pair];
            seven[0][pair] = s1;
            seven[1][pair] = s2;
            seven[2][pair] = a11[pair] - a21[pair];
            seven[6][pair] = a12[pair] - s2;
        }
        *left = seven;
    }
}

/// All tiles of some pairs.
pub(super) struct Tiles<'a> {
    pub(super) pairs: usize,
    /// How far the odd row of a pair is below the even one; the next pair is [`Out::apart`] below.
    pub(super) odd: usize,
    /// Rows of a half of the block.
    pub(super) depth: usize,
    /// How far the right half is behind the left.
    pub(super) right: usize,
    pub(super) b: Right<'a>,
    pub(super) c: &'a mut [f32],
    pub(super) out: Out<'a>,
    /// The columns that come next of a transposed left operand: each number of them lies in another page, and no CPU asks for
    /// such by itself.
    pub(super) coming: Option<Rows<'a>>,
}

impl Tiles<'_> {
    #[inline(always)]
    fn run<L: Lanes, const PAIR: usize, const PRODUCT: usize, const STEP: usize>(
        self,
        left: &Left<'_, PAIR, PRODUCT, STEP>,
    ) {
        let Self { pairs, odd, depth, right, b, c, out, coming } = self;
        // tiles of one height: five pairs are three and two
        let height = pairs.div_ceil(pairs.div_ceil(MOST_PAIRS).max(1)).max(1);
        let mut coming = coming.iter().flat_map(|a| a.values.chunks(a.col_stride).take(2 * depth));
        let share = (2 * depth).div_ceil(right / L::LANES);
        for col in (0..right).step_by(L::LANES) {
            let b = b.quarters::<L>([depth, right], col);
            coming.by_ref().take(share).for_each(|column| prefetch_from(column.as_ptr(), 2 * ABREAST));
            for pair in (0..pairs).step_by(height) {
                let (even, left) = (pair * out.apart, Left(&left.0[pair * PAIR..]));
                let (rows, cols) = ([even, even + odd], [col, col + right]);
                let tile = Tile { left, b, depth, c: &mut *c, rows, cols, out };
                match height.min(pairs - pair) {
                    1 => L::call(OfPairs::<PAIR, PRODUCT, STEP, 1>(tile)),
                    2 => L::call(OfPairs::<PAIR, PRODUCT, STEP, 2>(tile)),
                    3 => L::call(OfPairs::<PAIR, PRODUCT, STEP, 3>(tile)),
                    4 => L::call(OfPairs::<PAIR, PRODUCT, STEP, 4>(tile)),
                    pairs => unreachable!("no tile of {pairs} pairs"),
                }
            }
        }
    }
}

/// A tile: some pairs, and a vector of columns of each half.
struct Tile<'a, const PAIR: usize, const PRODUCT: usize, const STEP: usize> {
    left: Left<'a, PAIR, PRODUCT, STEP>,
    b: Quarters<'a>,
    depth: usize,
    c: &'a mut [f32],
    /// The first even row and the first odd one.
    rows: [usize; 2],
    /// The first column in the left half, and in the right one.
    cols: [usize; 2],
    out: Out<'a>,
}

/// A tile whose size is known.
struct OfPairs<'a, const PAIR: usize, const PRODUCT: usize, const STEP: usize, const P: usize>(
    Tile<'a, PAIR, PRODUCT, STEP>,
);

impl<const PAIR: usize, const PRODUCT: usize, const STEP: usize, const P: usize> Kernel
    for OfPairs<'_, PAIR, PRODUCT, STEP, P>
{
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Tile { left, b, depth, c, rows: [even, odd], cols: [col, right], out } = self.0;
        for row in [even, odd].into_iter().flat_map(|first| (0..P).map(move |i| first + i * out.apart)) {
            prefetch(&c[row * out.stride + col..][..L::LANES]);
            prefetch(&c[row * out.stride + right..][..L::LANES]);
        }
        let [s1t1, s2t2, s3t3, a22t4, a11b11, a12b21, s4b22] = sums::<L, PAIR, PRODUCT, STEP, P>(&left, b, depth);
        let u = plus::<L, P>(s2t2, a11b11);
        let v = plus::<L, P>(s3t3, u);
        place::<L, P, 1>(&plus::<L, P>(a12b21, a11b11), c, [even, col], out);
        place::<L, P, 1>(&plus::<L, P>(a22t4, v), c, [odd, col], out);
        place::<L, P, 1>(&plus::<L, P>(s1t1, v), c, [odd, right], out);
        place::<L, P, 1>(&plus::<L, P>(s4b22, plus::<L, P>(s1t1, u)), c, [even, right], out);
    }
}

/// The sums of a tile of one of the products.
type Sums<V, const P: usize> = [[V; 1]; P];

#[inline(always)]
fn plus<L: Lanes, const P: usize>(a: Sums<L::Vector, P>, b: Sums<L::Vector, P>) -> Sums<L::Vector, P> {
    std::array::from_fn(|pair| [L::add(a[pair][0], b[pair][0])])
}

/// The seven products.
#[inline(always)]
fn sums<L: Lanes, const PAIR: usize, const PRODUCT: usize, const STEP: usize, const P: usize>(
    Left(left): &Left<'_, PAIR, PRODUCT, STEP>,
    Quarters { values, places, step }: Quarters<'_>,
    depth: usize,
) -> [Sums<L::Vector, P>; 7] {
    let last = depth.saturating_sub(1);
    let (end, most) = ((P - 1) * PAIR + 6 * PRODUCT + last * STEP, places.into_iter().max().unwrap_or(0));
    assert!(end < left.len(), "the left operand ends before the block does");
    assert!(most + last * step + L::LANES <= values.len(), "the right operand ends before the block does");
    let mut sums = [[[L::splat(0.0)]; P]; 7];
    for p in 0..depth {
        let quarter = |place: usize| {
            // SAFETY: p < depth, and the last row of the quarter that is furthest behind lies within the slice, as asserted
            let row = unsafe { values.get_unchecked(place + p * step..place + p * step + L::LANES) };
            prefetch_from(row.as_ptr().wrapping_add(ROWS_AHEAD * step), L::LANES);
            L::load(row)
        };
        let [b11, b12, b21, b22] = places.map(quarter);
        let (t1, t3) = (L::subtract(b12, b11), L::subtract(b22, b12));
        let t2 = L::subtract(b22, t1);
        let right = [t1, t2, t3, L::subtract(b21, t2), b11, b21, b22];
        for (product, sums) in sums.iter_mut().enumerate() {
            for (pair, sum) in sums.iter_mut().enumerate() {
                let place = pair * PAIR + product * PRODUCT + p * STEP;
                // SAFETY: p < depth, pair < P, one of seven: the last of these places lies within the slice, as asserted
                let a = L::splat(unsafe { *left.get_unchecked(place) });
                sum[0] = L::mul_add_vector(a, right[product], sum[0]);
            }
        }
    }
    sums
}
