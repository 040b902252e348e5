//! The seven products of a tile one after the other, each with what was made of `b` when it was laid out: for CPUs whose
//! units for multiplications are the ones that add.
//!
//! A tile takes its products in an order in which most are added to the sums that are in the registers already, so that no
//! intermediate matrix is ever written:
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

use rayon::prelude::*;

use super::super::buffer::LINE;
use super::super::isa::{Kernel, Lanes, prefetch};
use super::super::pack::PackPanel;
use super::super::panels::{Cut, Panel};
use super::super::product::{MOST_COLS, MOST_ROWS, Onto, Rows};
use super::super::tile::{self, Out, Tile, any_tile};
use super::{OnLaidOut, blocks, parts_mut, place, subtract};

/// Lays out `b`, `[k, 2·right]`: block by block, in it panel by panel of the left half, in it `b11 b21 t2 t3 t4 t1 b22`, in the
/// order in which they are used.
pub(super) struct LayOut<'a> {
    pub(super) b: Rows<'a>,
    pub(super) k: usize,
    pub(super) right: usize,
    pub(super) values: &'a mut [f32],
}

impl Kernel for LayOut<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { b, k, right, values } = self;
        let (cut, mut behind) = (Cut::of::<L>(right), values);
        for (start, depth) in blocks(k) {
            let (block, rest) = behind.split_at_mut(7 * depth * right);
            behind = rest;
            cut.parts_mut(block, 7 * depth).into_par_iter().for_each(|(first, width, part)| {
                part.par_chunks_mut(7 * depth * width).enumerate().for_each(|(index, seven)| {
                    L::call(PackSeven { b: b.from([start, first + index * width]), right, depth, seven });
                });
            });
        }
    }
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
                PackPanel { b: b.from(corner), cols, width: cols, pitch: cols, panel: &mut quarter[..place.len()] }
                    .run::<L>();
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

/// A product with `b` as [`LayOut`] leaves it.
pub(super) struct Multiply<'a>(pub(super) OnLaidOut<'a>);

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
        let OnLaidOut { m, k, right, a, b, scratch, c, c_stride, onto } = self.0;
        let (pairs, cut) = (m / 2, Cut::of::<L>(right));
        // tiles of one height: ten pairs are five and five
        let height = pairs.div_ceil(pairs.div_ceil(MR).max(1));
        let mut parked = [const { Parked([0.0; MOST_ROWS * MOST_COLS]) }; 2];
        let mut behind = b;
        for (start, depth) in blocks(k) {
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
