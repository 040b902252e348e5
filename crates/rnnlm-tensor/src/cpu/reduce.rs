//! Sums, in one order whatever the number of threads.

use rayon::prelude::*;

use super::elementwise::PART;
use super::{Cpu, Isa, Kernel, Lanes, row, row_mut};
use crate::{View, ViewMut};

/// Partial sums, so that additions do not wait for each other; fixed, so that the order is.
const SUMS: usize = 16;

/// Columns that a task of [`sum_rows`] adds up, down all rows: half a kilobyte of each row in one go, since every row may
/// lie in another page. No bit depends on it.
const COLUMNS: usize = 128;
/// Below so many values starting a task costs more than it saves.
const SMALL: usize = 1 << 16;

pub(super) fn sum_rows(isa: Isa, a: View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) {
    let (values, stride) = (&a.buffer[a.layout.span()], a.layout.stride);
    let add = |(task, sums): (usize, &mut [f32])| {
        isa.run(SumRows { values: values.get(task * COLUMNS..).unwrap_or_default(), stride, sums });
    };
    let out = row_mut(&mut out, 0);
    if a.layout.rows * a.layout.cols < SMALL {
        out.chunks_mut(COLUMNS).enumerate().for_each(add);
    } else {
        out.par_chunks_mut(COLUMNS).enumerate().for_each(add);
    }
}

/// Adds rows that lie `stride` apart to `sums`, one after the other.
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
        if let Ok(sums) = <&mut [f32; COLUMNS]>::try_from(&mut *sums) {
            // a copy whose size is known stays in registers
            let mut local = *sums;
            for row in rows {
                local.iter_mut().zip(&row[..COLUMNS]).for_each(|(sum, value)| *sum += value);
            }
            *sums = local;
        } else if let Some(last) = sums.len().checked_sub(L::LANES) {
            // so do two vectors; the last ones may overlap those before, and what is added up twice comes out the same
            let mut all = [0.0; COLUMNS];
            all[..sums.len()].copy_from_slice(sums);
            for first in (0..sums.len()).step_by(2 * L::LANES) {
                let places = [first.min(last), (first + L::LANES).min(last)];
                let mut local = places.map(|place| L::load(&all[place..]));
                for row in rows.clone() {
                    local = [0, 1].map(|v| L::add(local[v], L::load(&row[places[v]..])));
                }
                places.iter().zip(local).for_each(|(&place, sum)| L::store(sum, &mut sums[place..]));
            }
        } else {
            for row in rows {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
        }
    }
}

/// `Σ f(a)` in double precision.
pub(super) fn sum_of(a: View<'_, Cpu>, f: impl Fn(f32) -> f64 + Sync) -> f64 {
    if a.layout.is_dense() {
        return sum_of_values(&a.buffer[a.layout.span()], &f);
    }
    (0..a.layout.rows).map(|r| sum_of_values(row(&a, r), &f)).sum()
}

/// Halves are summed side by side and then added: which values end up together follows from their number alone.
fn sum_of_values(values: &[f32], f: &(impl Fn(f32) -> f64 + Sync)) -> f64 {
    if values.len() > PART {
        let (left, right) = values.split_at((values.len() / 2).next_multiple_of(PART));
        let (left, right) = rayon::join(|| sum_of_values(left, f), || sum_of_values(right, f));
        return left + right;
    }
    let mut sums = [0.0; SUMS];
    let (blocks, rest) = values.as_chunks::<SUMS>();
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, &a)| *sum += f(a));
    }
    sums.iter_mut().zip(rest).for_each(|(sum, &a)| *sum += f(a));
    sums.iter().sum()
}
