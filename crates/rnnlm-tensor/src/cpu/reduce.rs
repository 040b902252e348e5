//! Sums, in one order whatever the number of threads.

use rayon::prelude::*;

use super::{Cpu, row, row_mut};
use crate::{View, ViewMut};

/// Partial sums, so that additions do not wait for each other; fixed, so that the order is.
const SUMS: usize = 16;

/// Columns that a task of [`sum_rows`] adds up, down all rows: two cache lines of each, and no bit depends on it.
const COLUMNS: usize = 32;
/// Below so many values starting a task costs more than it saves.
const SMALL: usize = 1 << 16;

pub(super) fn sum_rows(a: View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) {
    let add = |(task, sums): (usize, &mut [f32])| {
        for r in 0..a.layout.rows {
            let part = &row(&a, r)[task * COLUMNS..][..sums.len()];
            sums.iter_mut().zip(part).for_each(|(sum, a)| *sum += a);
        }
    };
    let out = row_mut(&mut out, 0);
    if a.layout.rows * a.layout.cols < SMALL {
        out.chunks_mut(COLUMNS).enumerate().for_each(add);
    } else {
        out.par_chunks_mut(COLUMNS).enumerate().for_each(add);
    }
}

/// `Σ f(a)` in double precision.
pub(super) fn sum_of(a: View<'_, Cpu>, f: impl Fn(f32) -> f64) -> f64 {
    let mut sums = [0.0; SUMS];
    for r in 0..a.layout.rows {
        let (blocks, rest) = row(&a, r).as_chunks::<SUMS>();
        for block in blocks {
            sums.iter_mut().zip(block).for_each(|(sum, &a)| *sum += f(a));
        }
        sums.iter_mut().zip(rest).for_each(|(sum, &a)| *sum += f(a));
    }
    sums.iter().sum()
}
