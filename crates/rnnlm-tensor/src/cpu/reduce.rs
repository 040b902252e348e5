//! Sums, in one order whatever the number of threads.

use super::{Cpu, row, row_mut};
use crate::{View, ViewMut};

pub(super) fn sum_rows(a: View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) {
    for r in 0..a.layout.rows {
        for (out, a) in row_mut(&mut out, 0).iter_mut().zip(row(&a, r)) {
            *out += a;
        }
    }
}

/// `Σ f(a)` in double precision, row by row from left to right.
pub(super) fn sum_of(a: View<'_, Cpu>, f: impl Fn(f32) -> f64) -> f64 {
    (0..a.layout.rows).map(|r| row(&a, r).iter().map(|&a| f(a)).sum::<f64>()).sum()
}
