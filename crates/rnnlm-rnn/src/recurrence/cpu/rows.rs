//! Matrices whose rows several tasks write at the same time, each task its own rows.
//!
//! In time-major storage the rows of a group of the batch are not contiguous over the steps, so the matrix cannot be split
//! into slices. These types hand out disjoint rows; the caller's obligation is stated at each `unsafe` method.

use std::marker::PhantomData;
use std::ops::Range;

use rnnlm_tensor::cpu::PAGE;
use rnnlm_tensor::{Backend, Cpu, Layout, Tensor, View, ViewMut};

use crate::Result;

/// A matrix with its padding, borrowed while several tasks work on it.
#[derive(Clone, Copy)]
pub(super) struct SharedRows<'a> {
    start: *mut f32,
    rows: usize,
    stride: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer comes from a `&mut` borrow that lasts for `'a`, so nothing else accesses the memory meanwhile, and the
// callers of `rows_mut` guarantee disjoint rows; `f32` is `Send`.
unsafe impl Send for SharedRows<'_> {}
// SAFETY: a shared reference only gives access to `rows_mut`, whose callers guarantee disjoint rows.
unsafe impl Sync for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    /// Borrows a matrix.
    pub(super) fn new(matrix: &'a mut Tensor<Cpu>) -> Self {
        let ViewMut { buffer, layout: Layout { offset, rows, stride, .. } } = matrix.view_mut();
        let values = &mut buffer[offset..offset + rows * stride];
        Self { start: values.as_mut_ptr(), rows, stride, borrow: PhantomData }
    }

    /// Some rows with their padding.
    ///
    /// # Safety
    /// While the slice lives, no other slice that overlaps `range` may be made from any copy of this value, unless both
    /// are only read.
    ///
    /// # Panics
    /// If the range leaves the matrix.
    pub(super) unsafe fn rows_mut(&self, range: Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of a matrix of {}", self.rows);
        // SAFETY: the range is within the slice that `new` took the pointer from, which is borrowed for `'a`; the caller
        // guarantees that nothing overlaps it
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start * self.stride), range.len() * self.stride) }
    }
}

/// A matrix `[N, H]` in which each group of rows has its own pages. A core prefetches up to the end of a page; a line that
/// another core is writing would move back and forth between their caches.
#[derive(Clone, Copy)]
pub(super) struct GroupedRows<'a> {
    rows: SharedRows<'a>,
    rows_per_group: usize,
    pitch: usize,
}

impl<'a> GroupedRows<'a> {
    /// Rows of a group, padded by a page. `stride` is the distance between two rows.
    fn pitch(rows_per_group: usize, stride: usize) -> usize {
        rows_per_group + PAGE.div_ceil(stride)
    }

    /// The number of rows in that memory.
    pub(super) fn num_rows(rows_per_group: usize, batch_size: usize, stride: usize) -> usize {
        batch_size.div_ceil(rows_per_group).saturating_mul(Self::pitch(rows_per_group, stride))
    }

    /// Memory for such a matrix.
    pub(super) fn memory(
        cpu: &Cpu,
        rows_per_group: usize,
        [batch_size, hidden_size]: [usize; 2],
    ) -> Result<Tensor<Cpu>> {
        let rows = Self::num_rows(rows_per_group, batch_size, cpu.row_stride(hidden_size));
        Ok(Tensor::padded(cpu, rows, hidden_size)?)
    }

    /// Borrows that memory.
    pub(super) fn new(memory: &'a mut Tensor<Cpu>, rows_per_group: usize) -> Self {
        let pitch = Self::pitch(rows_per_group, memory.view().layout.stride);
        Self { rows: SharedRows::new(memory), rows_per_group, pitch }
    }

    /// Calls `work` with each row of that memory and the same row of a matrix `[N, H]`.
    pub(super) fn each_row(
        memory: &mut Tensor<Cpu>,
        rows_per_group: usize,
        other: &mut Tensor<Cpu>,
        work: impl Fn(&mut [f32], &mut [f32]),
    ) {
        let (grouped, other) = (GroupedRows::new(memory, rows_per_group), SharedRows::new(other));
        for row in 0..other.rows {
            // SAFETY: both matrices are mutably borrowed here, and each row is borrowed once at a time
            let (grouped, other) = unsafe { (grouped.rows_mut(&(row..row + 1)), other.rows_mut(row..row + 1)) };
            work(grouped, other);
        }
    }

    /// Some rows of one group.
    ///
    /// # Safety
    /// As for [`SharedRows::rows_mut`].
    ///
    /// # Panics
    /// If the range leaves its group.
    pub(super) unsafe fn rows_mut(&self, rows: &Range<usize>) -> &'a mut [f32] {
        let (group, first) = (rows.start / self.rows_per_group, rows.start % self.rows_per_group);
        assert!(first + rows.len() <= self.rows_per_group, "rows {rows:?} of groups of {}", self.rows_per_group);
        let start = group * self.pitch + first;
        // SAFETY: rows of the batch map to distinct rows of the memory, and the caller guarantees it for these
        unsafe { self.rows.rows_mut(start..start + rows.len()) }
    }
}

/// Some rows of a matrix with their padding.
///
/// # Panics
/// If the last row ends past the buffer, as for a block of columns.
pub(super) fn rows_of<'a>(matrix: &View<'a, Cpu>, range: Range<usize>) -> &'a [f32] {
    let Layout { offset, rows, stride, .. } = matrix.layout.rows(range);
    &matrix.buffer[offset..offset + rows * stride]
}
