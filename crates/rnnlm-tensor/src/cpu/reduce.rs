//! Sums. Each has one order of additions, which depends on the layout only.

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

/// Pairwise summation of blocks: the number of values alone determines which are added first.
fn sum_of_values(values: &[f32], f: &(impl Fn(f32) -> f64 + Sync)) -> f64 {
    if values.len() > VALUES_PER_BLOCK {
        let (left, right) = values.split_at((values.len() / 2).next_multiple_of(VALUES_PER_BLOCK));
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
