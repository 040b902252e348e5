//! Sums. Each has one order of additions, which depends on the layout only.

use std::ops::Range;

use rayon::prelude::*;

use super::device::Cpu;
use super::isa::{Isa, Kernel, Lanes};
use super::rows::{row, row_mut};
use crate::{View, ViewMut};

/// Partial sums of [`sum_of_values`], which hide the latency of additions. Results depend on it.
const PARTIAL_SUMS: usize = 16;
/// Values that [`sum_of_values`] sums without splitting. Results depend on it.
const VALUES_PER_BLOCK: usize = 1 << 14;

/// Columns per task of [`sum_rows`]: 512 contiguous bytes of each row. No result depends on it.
const COLS_PER_TASK: usize = 128;
/// Elements below which [`sum_rows`] is sequential, because starting a task costs more.
const PARALLEL_MIN_LEN: usize = 1 << 16;

/// `out += Σ_r a[r, :]`, in the order of the rows. A kernel, because `+=` of array rows takes about twice as long.
pub(super) fn sum_rows(isa: Isa, a: View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) {
    let values = &a.buffer[a.layout.span()];
    let stride = a.layout.stride;
    let sum_block = |(block, sums): (usize, &mut [f32])| {
        let values = values.get(block * COLS_PER_TASK..).unwrap_or_default();
        isa.run(SumRows { values, stride, sums });
    };
    let out = row_mut(&mut out, 0);
    if a.layout.len() < PARALLEL_MIN_LEN {
        out.chunks_mut(COLS_PER_TASK).enumerate().for_each(sum_block);
    } else {
        out.par_chunks_mut(COLS_PER_TASK).enumerate().for_each(sum_block);
    }
}

/// Adds rows with distance `stride` to `sums`, in order.
struct SumRows<'a> {
    values: &'a [f32],
    stride: usize,
    sums: &'a mut [f32],
}

impl Kernel for SumRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { values, stride, sums } = self;
        let rows = values.chunks(stride.max(1));
        if let Ok(sums) = <&mut [f32; COLS_PER_TASK]>::try_from(&mut *sums) {
            // a local array of constant length stays in registers
            let mut local = *sums;
            for row in rows {
                local.iter_mut().zip(&row[..COLS_PER_TASK]).for_each(|(sum, value)| *sum += value);
            }
            *sums = local;
        } else if let Some(last) = sums.len().checked_sub(L::LANES) {
            // two vectors at a time; the last ones may overlap earlier ones, whose columns are then computed again from `all`
            let mut all = [0.0; COLS_PER_TASK];
            all[..sums.len()].copy_from_slice(sums);
            for first in (0..sums.len()).step_by(2 * L::LANES) {
                let offsets = [first.min(last), (first + L::LANES).min(last)];
                let mut local = offsets.map(|offset| L::load(&all[offset..]));
                for row in rows.clone() {
                    local = [0, 1].map(|v| L::add(local[v], L::load(&row[offsets[v]..])));
                }
                offsets.iter().zip(local).for_each(|(&offset, sum)| L::store(sum, &mut sums[offset..]));
            }
        } else {
            for row in rows {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
        }
    }
}

/// `Σ f(a)` in double precision. The sums of `ndarray` are in single precision and in an order that it does not document.
pub(super) fn sum_of(a: View<'_, Cpu>, f: impl Fn(f32) -> f64 + Sync) -> f64 {
    if a.layout.is_dense() {
        return sum_of_values(&a.buffer[a.layout.span()], &f);
    }
    (0..a.layout.rows).map(|r| sum_of_values(row(&a, r), &f)).sum()
}

/// A term of a sum of squares.
pub(super) fn square(a: f32) -> f64 {
    f64::from(a) * f64::from(a)
}

/// Pairwise summation of blocks: the number of values alone determines which are added first.
fn sum_of_values(values: &[f32], f: &(impl Fn(f32) -> f64 + Sync)) -> f64 {
    if values.len() > VALUES_PER_BLOCK {
        let (left, right) = values.split_at(left_half(values.len()));
        let (left, right) = rayon::join(|| sum_of_values(left, f), || sum_of_values(right, f));
        return left + right;
    }
    let mut sums = [0.0; PARTIAL_SUMS];
    let (blocks, rest) = values.as_chunks::<PARTIAL_SUMS>();
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, &a)| *sum += f(a));
    }
    sums.iter_mut().zip(rest).for_each(|(sum, &a)| *sum += f(a));
    sums.iter().sum()
}

/// The number of values in the left half of a sum over more than a block.
fn left_half(len: usize) -> usize {
    (len / 2).next_multiple_of(VALUES_PER_BLOCK)
}

/// `Σ a²` over a row that is zero outside of `ranges`: the sum of [`sum_of`] without its zeros, which change no bit.
pub(super) fn sum_squares_in(a: View<'_, Cpu>, ranges: &[Range<usize>]) -> f64 {
    sum_of_part(row(&a, 0), 0, ranges)
}

/// The part of [`sum_squares_in`] over `values`, which start at `offset` of the row. `ranges` are those that may overlap it.
fn sum_of_part(values: &[f32], offset: usize, ranges: &[Range<usize>]) -> f64 {
    let end = offset + values.len();
    let ranges = &ranges[ranges.partition_point(|range| range.end <= offset)..];
    let ranges = &ranges[..ranges.partition_point(|range| range.start < end)];
    match ranges {
        [] => return 0.0,
        // one range has all values
        [range] if range.start <= offset && end <= range.end => return sum_of_values(values, &square),
        _ => {}
    }
    if values.len() > VALUES_PER_BLOCK {
        let half = left_half(values.len());
        let (left, right) = values.split_at(half);
        let (left, right) =
            rayon::join(|| sum_of_part(left, offset, ranges), || sum_of_part(right, offset + half, ranges));
        return left + right;
    }
    let mut sums = [0.0; PARTIAL_SUMS];
    for range in ranges {
        let (first, last) = (range.start.max(offset) - offset, range.end.min(end) - offset);
        // from the first to the last partial sum, as often as the range has whole groups of values
        let aligned = last.min(first.next_multiple_of(PARTIAL_SUMS));
        let add = |sum: &mut f64, &a: &f32| *sum += square(a);
        sums[first % PARTIAL_SUMS..].iter_mut().zip(&values[first..aligned]).for_each(|(sum, a)| add(sum, a));
        for group in values[aligned..last].chunks(PARTIAL_SUMS) {
            sums.iter_mut().zip(group).for_each(|(sum, a)| add(sum, a));
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges")]
mod tests {
    use super::*;
    use crate::Layout;

    #[test]
    fn a_sum_in_ranges_has_the_bits_of_the_sum_with_zeros() {
        for len in [1, 15, 16_384, 16_385, 100_000, 300_007] {
            for ranges in [
                vec![],
                vec![0..len],
                vec![0..len / 3, len / 2..len],
                (0..len / 700).map(|row| row * 700 + row % 23..row * 700 + row % 23 + row % 91).collect(),
                vec![len - 1..len],
            ] {
                let mut values = vec![0.0; len];
                for index in ranges.iter().flat_map(Clone::clone) {
                    values[index] = ((index * 7919) % 1013) as f32 / 1013.0 - 0.4;
                }
                let view = || View::new(&*values, Layout::dense(0, 1, len));
                let [found, expected] = [sum_squares_in(view(), &ranges), sum_of(view(), square)];
                assert_eq!(found.to_bits(), expected.to_bits(), "{len}, {} ranges", ranges.len());
            }
        }
    }
}
