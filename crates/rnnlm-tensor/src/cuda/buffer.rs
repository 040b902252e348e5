//! Device memory, and the conversion of views into kernel arguments.

use cudarc::driver::CudaSlice;

use super::context::Cuda;
use super::launch::{Matrix, Table};
use crate::{Error, Layout, Result, View, ViewMut};

/// Memory for `f32` on the device.
#[derive(Debug)]
pub struct Buffer {
    /// At least one element.
    pub(super) slice: CudaSlice<f32>,
    pub(super) len: usize,
    /// The device address, which is fixed.
    pub(super) address: u64,
}

/// Memory for token ids on the device.
#[derive(Debug)]
pub struct Indices {
    /// At least one element.
    pub(super) slice: CudaSlice<u32>,
    pub(super) len: usize,
    /// The device address, which is fixed.
    pub(super) address: u64,
    /// The largest id, so that the host can check ids against a table's size without reading them.
    pub(super) largest: u32,
}

impl Indices {
    /// An error unless every id is below `bound`.
    pub(super) fn check_bound(&self, op: &'static str, bound: u32) -> Result<()> {
        if self.len == 0 || self.largest < bound {
            return Ok(());
        }
        Err(Error::IdOutOfRange { op, id: self.largest, bound: bound as usize })
    }
}

/// An error unless `offset..offset + len` is within `capacity` elements.
pub(super) fn check_range(
    op: &'static str,
    what: &'static str,
    offset: usize,
    len: usize,
    capacity: usize,
) -> Result<()> {
    let found = capacity.saturating_sub(offset);
    if offset <= capacity && len <= found { Ok(()) } else { Err(Error::Length { op, what, expected: len, found }) }
}

fn matrix(buffer: &Buffer, layout: Layout) -> Matrix {
    Matrix {
        data: buffer.address + (layout.offset * size_of::<f32>()) as u64,
        rows: layout.rows as u32,
        cols: layout.cols as u32,
        stride: layout.stride as u32,
    }
}

impl From<View<'_, Cuda>> for Matrix {
    fn from(view: View<'_, Cuda>) -> Self {
        matrix(view.buffer, view.layout)
    }
}

impl From<ViewMut<'_, Cuda>> for Matrix {
    fn from(view: ViewMut<'_, Cuda>) -> Self {
        matrix(view.buffer, view.layout)
    }
}

impl Table {
    /// A table whose entries are the rows of a matrix.
    pub(super) fn of_rows(matrix: Matrix) -> Self {
        Self { data: matrix.data, entry_stride: matrix.stride, element_stride: 1 }
    }

    /// A table whose entries are the columns of a matrix.
    pub(super) fn of_columns(matrix: Matrix) -> Self {
        Self { data: matrix.data, entry_stride: 1, element_stride: matrix.stride }
    }
}
