//! Matrices that own their memory.

use crate::error::check_len;
use crate::{Backend, Layout, Result, View, ViewMut};

/// A row-major matrix of `f32` on a device.
///
/// A sequence of `T` steps of `N` rows is one matrix of `T·N` rows: a step is a block of rows, a gate is a block of columns.
#[derive(Debug)]
pub struct Tensor<B: Backend> {
    buffer: B::Buffer,
    layout: Layout,
    /// The rows that are allocated.
    max_rows: usize,
}

impl<B: Backend> Tensor<B> {
    /// A matrix of zeros without padding.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn zeros(backend: &B, rows: usize, cols: usize) -> Result<Self> {
        let layout = Layout::dense(0, rows, cols);
        Ok(Self { buffer: backend.allocate(rows.saturating_mul(cols))?, layout, max_rows: rows })
    }

    /// A matrix of zeros whose rows have the stride that the device prefers ([`Backend::row_stride`]).
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn padded(backend: &B, rows: usize, cols: usize) -> Result<Self> {
        let stride = backend.row_stride(cols);
        let layout = Layout { offset: 0, rows, cols, stride, padding: stride - cols };
        Ok(Self { buffer: backend.allocate(rows.saturating_mul(stride))?, layout, max_rows: rows })
    }

    /// A matrix of zeros like [`Tensor::padded`], with the sizes of this one, and memory for as many rows.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn zeros_like(&self, backend: &B) -> Result<Self> {
        let mut zeros = Self::padded(backend, self.max_rows, self.layout.cols)?;
        zeros.set_rows(self.layout.rows);
        Ok(zeros)
    }

    /// A matrix with the given elements in row-major order.
    ///
    /// # Errors
    /// If the number of values is not `rows · cols`, or the device is out of memory.
    pub fn from_slice(backend: &B, rows: usize, cols: usize, values: &[f32]) -> Result<Self> {
        let mut tensor = Self::zeros(backend, rows, cols)?;
        tensor.write(backend, values)?;
        Ok(tensor)
    }

    /// Replaces every element; `values` are in row-major order.
    ///
    /// # Errors
    /// If the number of values is not the number of elements, or the device fails.
    pub fn write(&mut self, backend: &B, values: &[f32]) -> Result<()> {
        check_len("write", "values", self.layout.len(), values.len())?;
        let Layout { rows, cols, stride, .. } = self.layout;
        if self.layout.is_dense() {
            return backend.write(values, &mut self.buffer, 0);
        }
        let mut padded = vec![0.0; rows * stride];
        for (target, row) in padded.chunks_exact_mut(stride).zip(values.chunks_exact(cols)) {
            target[..cols].copy_from_slice(row);
        }
        backend.write(&padded, &mut self.buffer, 0)
    }

    /// Every element in row-major order, copied to the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn to_vec(&self, backend: &B) -> Result<Vec<f32>> {
        self.view().to_vec(backend)
    }

    /// Changes the number of rows, without allocation. The elements of rows that are added are those that they had last.
    ///
    /// # Panics
    /// If there are more `rows` than the matrix was allocated with.
    pub fn set_rows(&mut self, rows: usize) {
        assert!(rows <= self.max_rows, "{rows} rows of a matrix with memory for {}", self.max_rows);
        self.layout.rows = rows;
    }

    /// The number of rows that the matrix was allocated with.
    pub fn max_rows(&self) -> usize {
        self.max_rows
    }

    /// `[rows, cols]`.
    pub fn shape(&self) -> [usize; 2] {
        self.layout.shape()
    }

    /// A read-only view of the whole matrix.
    pub fn view(&self) -> View<'_, B> {
        View::new(&*self.buffer, self.layout)
    }

    /// A mutable view of the whole matrix.
    pub fn view_mut(&mut self) -> ViewMut<'_, B> {
        ViewMut::new(&mut *self.buffer, self.layout)
    }
}

impl<B: Backend> View<'_, B> {
    /// Every element in row-major order, copied to the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn to_vec(self, backend: &B) -> Result<Vec<f32>> {
        let Layout { cols, stride, .. } = self.layout;
        let span = self.layout.span();
        let mut values = vec![0.0; span.len()];
        backend.read(self.buffer, span.start, &mut values)?;
        if self.layout.is_dense() {
            return Ok(values);
        }
        Ok(values.chunks(stride).flat_map(|row| &row[..cols]).copied().collect())
    }
}
