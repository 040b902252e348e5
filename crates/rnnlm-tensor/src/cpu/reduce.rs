//! Sums, in one order whatever the number of threads.

use super::{Cpu, row, row_mut};
use crate::{View, ViewMut};

/// Partial sums, so that additions do not wait for each other; fixed, so that the order is.
const SUMS: usize = 16;

pub(super) fn sum_rows(a: View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) {
    for r in 0..a.layout.rows {
        for (out, a) in row_mut(&mut out, 0).iter_mut().zip(row(&a, r)) {
            *out += a;
        }
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
