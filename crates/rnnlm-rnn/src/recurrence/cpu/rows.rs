//! A matrix whose rows several tasks write at the same time, each its own.
//!
//! Time-major storage puts the rows of one group of the batch `N` rows apart, so that no splitting of a slice can hand
//! them out; this does, with the promise stated where it is made.

use std::marker::PhantomData;
use std::ops::Range;

use rnnlm_tensor::{Cpu, View, ViewMut};

/// A matrix without gaps between its rows, lent for as long as several tasks work on it.
#[derive(Clone, Copy)]
pub(super) struct SharedRows<'a> {
    start: *mut f32,
    rows: usize,
    cols: usize,
    lent: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer stems from a `&mut` borrow that lasts for `'a`, so nobody else can reach the memory meanwhile, and
// `rows_mut` asks its callers to keep to rows of their own; `f32` itself may move between threads.
unsafe impl Send for SharedRows<'_> {}
// SAFETY: all that a shared reference gives away is `rows_mut`, whose callers keep to rows of their own.
unsafe impl Sync for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    /// Lends the matrix.
    ///
    /// # Panics
    /// If there are gaps between its rows.
    pub(super) fn new(matrix: ViewMut<'a, Cpu>) -> Self {
        assert!(matrix.layout.is_dense(), "shared rows lie one behind the other");
        let (rows, cols) = (matrix.layout.rows, matrix.layout.cols);
        let values = &mut matrix.buffer[matrix.layout.span()];
        Self { start: values.as_mut_ptr(), rows, cols, lent: PhantomData }
    }

    /// Some rows, one behind the other.
    ///
    /// # Safety
    /// While the slice lives, no other slice that overlaps `range` may be made from any copy of this value, unless both
    /// are only read.
    ///
    /// # Panics
    /// If the range leaves the matrix.
    pub(super) unsafe fn rows_mut(&self, range: Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of a matrix of {}", self.rows);
        // SAFETY: the range lies within the slice that `new` took the pointer from, which is borrowed for `'a`; that
        // nothing else overlaps it is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start * self.cols), range.len() * self.cols) }
    }
}

/// The elements of some rows of a matrix without gaps.
pub(super) fn dense_rows<'a>(matrix: &View<'a, Cpu>, range: Range<usize>) -> &'a [f32] {
    let rows = matrix.layout.rows(range);
    assert!(rows.is_dense(), "these rows lie one behind the other");
    &matrix.buffer[rows.span()]
}
