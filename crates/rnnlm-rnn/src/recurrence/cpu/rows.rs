//! A matrix whose rows several tasks write at the same time, each its own.
//!
//! Time-major storage puts the rows of one group of the batch `N` rows apart, so that no splitting of a slice can hand
//! them out; this does, with the promise stated where it is made.

use std::marker::PhantomData;
use std::ops::Range;

use rnnlm_tensor::cpu::PAGE;
use rnnlm_tensor::{Cpu, Layout, Tensor, View, ViewMut};

use crate::Result;

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

/// A matrix `[N, H]` of which each group of rows has pages to itself: a CPU reads ahead as far as to the end of a page, and what
/// it reads there would have to be taken back by the core that is writing it.
#[derive(Clone, Copy)]
pub(super) struct OwnRows<'a> {
    rows: SharedRows<'a>,
    rows_per_group: usize,
    pitch: usize,
}

impl<'a> OwnRows<'a> {
    /// Rows of a group and of a page behind them.
    fn pitch(rows_per_group: usize, hidden_size: usize) -> usize {
        rows_per_group + PAGE.div_ceil(hidden_size)
    }

    /// Memory for such a matrix.
    pub(super) fn memory(
        cpu: &Cpu,
        rows_per_group: usize,
        [batch_size, hidden_size]: [usize; 2],
    ) -> Result<Tensor<Cpu>> {
        let groups = batch_size.div_ceil(rows_per_group);
        Ok(Tensor::padded(cpu, groups * Self::pitch(rows_per_group, hidden_size), hidden_size)?)
    }

    /// Lends that memory.
    pub(super) fn new(memory: &'a mut Tensor<Cpu>, rows_per_group: usize) -> Self {
        let pitch = Self::pitch(rows_per_group, memory.shape()[1]);
        Self { rows: SharedRows::new(memory), rows_per_group, pitch }
    }

    /// Each row of that memory, with that of a matrix of the same size.
    pub(super) fn each_row(
        memory: &mut Tensor<Cpu>,
        rows_per_group: usize,
        other: &mut Tensor<Cpu>,
        work: impl Fn(&mut [f32], &mut [f32]),
    ) {
        let (own, other) = (OwnRows::new(memory, rows_per_group), SharedRows::new(other));
        for row in 0..other.rows {
            // SAFETY: both matrices are borrowed for writing here, and no row of them is out twice
            let (own, other) = unsafe { (own.rows_mut(&(row..row + 1)), other.rows_mut(row..row + 1)) };
            work(own, other);
        }
    }

    /// A group's rows, or some of them.
    ///
    /// # Safety
    /// As that of [`SharedRows::rows_mut`].
    ///
    /// # Panics
    /// If the range leaves its group.
    pub(super) unsafe fn rows_mut(&self, rows: &Range<usize>) -> &'a mut [f32] {
        let (group, first) = (rows.start / self.rows_per_group, rows.start % self.rows_per_group);
        assert!(first + rows.len() <= self.rows_per_group, "rows {rows:?} of groups of {}", self.rows_per_group);
        let start = group * self.pitch + first;
        // SAFETY: other rows of the batch have other places, and for these the caller promises it
        unsafe { self.rows.rows_mut(start..start + rows.len()) }
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
