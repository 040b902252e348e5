//! A matrix whose rows several tasks write at the same time, each its own.
//!
//! Time-major storage puts the rows of one group of the batch `N` rows apart, so that no splitting of a slice can hand
//! them out; this does, with the promise stated where it is made.

use std::marker::PhantomData;
use std::ops::Range;

use rnnlm_tensor::{Cpu, Layout, Tensor, View, ViewMut};

/// A matrix with all that stands between its rows, lent for as long as several tasks work on it.
#[derive(Clone, Copy)]
pub(super) struct SharedRows<'a> {
    start: *mut f32,
    rows: usize,
    stride: usize,
    lent: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer stems from a `&mut` borrow that lasts for `'a`, so nobody else can reach the memory meanwhile, and
// `rows_mut` asks its callers to keep to rows of their own; `f32` itself may move between threads.
unsafe impl Send for SharedRows<'_> {}
// SAFETY: all that a shared reference gives away is `rows_mut`, whose callers keep to rows of their own.
unsafe impl Sync for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    /// Lends a matrix.
    pub(super) fn new(matrix: &'a mut Tensor<Cpu>) -> Self {
        let ViewMut { buffer, layout: Layout { offset, rows, stride, .. } } = matrix.view_mut();
        let values = &mut buffer[offset..offset + rows * stride];
        Self { start: values.as_mut_ptr(), rows, stride, lent: PhantomData }
    }

    /// Some rows, each with what stands before the next.
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
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start * self.stride), range.len() * self.stride) }
    }
}

/// Some rows of a matrix, each with what stands before the next.
///
/// # Panics
/// If there is no room for a row behind the last, as in a block of columns.
pub(super) fn rows_of<'a>(matrix: &View<'a, Cpu>, range: Range<usize>) -> &'a [f32] {
    let Layout { offset, rows, stride, .. } = matrix.layout.rows(range);
    &matrix.buffer[offset..offset + rows * stride]
}
