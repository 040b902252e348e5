//! Matrices and the windows onto them. A sequence of `T` steps of `N` rows is one matrix of `T·N` rows, so a step is a
//! block of rows, and a gate is a block of columns: all that a recurrent layer needs of slicing.

use std::ops::Range;

use crate::{Backend, Result};

/// Where a matrix lies in a buffer: element `(r, c)` stands at `offset + r·stride + c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Index of element `(0, 0)`.
    pub offset: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance between the starts of two rows, at least `cols`.
    pub stride: usize,
    /// Places behind each row, the last one too, that belong to it and mean nothing: whoever writes a row may write there.
    pub padding: usize,
}

impl Layout {
    /// A matrix without gaps that starts at `offset`.
    pub fn dense(offset: usize, rows: usize, cols: usize) -> Self {
        Self { offset, rows, cols, stride: cols, padding: 0 }
    }

    /// `[rows, cols]`, as error messages and files write it.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the elements stand side by side, so that the matrix is one run of the buffer.
    pub fn is_dense(&self) -> bool {
        self.stride == self.cols || self.rows <= 1
    }

    /// The smallest range of the buffer that holds every element.
    pub fn span(&self) -> Range<usize> {
        let extent = if self.is_empty() { 0 } else { (self.rows - 1) * self.stride + self.cols };
        self.offset..self.offset + extent
    }

    /// A block of rows.
    ///
    /// # Panics
    /// If the range leaves the matrix.
    #[must_use]
    pub fn rows(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of a matrix of {}", self.rows);
        Self { offset: self.offset + range.start * self.stride, rows: range.len(), ..self }
    }

    /// A block of columns.
    ///
    /// # Panics
    /// If the range leaves the matrix.
    #[must_use]
    pub fn cols(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.cols, "columns {range:?} of a matrix of {}", self.cols);
        let padding = if range.end == self.cols { self.padding } else { 0 };
        Self { offset: self.offset + range.start, cols: range.len(), padding, ..self }
    }
}

/// A matrix of `f32` on a device, row-major, allocated once.
#[derive(Debug)]
pub struct Tensor<B: Backend> {
    buffer: B::Buffer,
    layout: Layout,
}

impl<B: Backend> Tensor<B> {
    /// A matrix of zeros.
    ///
    /// # Errors
    /// If the device has no room for it.
    pub fn zeros(backend: &B, rows: usize, cols: usize) -> Result<Self> {
        Ok(Self { buffer: backend.allocate(rows * cols)?, layout: Layout::dense(0, rows, cols) })
    }

    /// A matrix of zeros whose rows lie as far apart as the device likes them to ([`Backend::row_stride`]).
    ///
    /// # Errors
    /// If the device has no room for it.
    pub fn padded(backend: &B, rows: usize, cols: usize) -> Result<Self> {
        let stride = backend.row_stride(cols);
        let layout = Layout { offset: 0, rows, cols, stride, padding: stride - cols };
        Ok(Self { buffer: backend.allocate(rows * stride)?, layout })
    }

    /// A matrix with the given elements, row by row.
    ///
    /// # Errors
    /// If their number is not `rows · cols`, or the device has no room.
    pub fn from_slice(backend: &B, rows: usize, cols: usize, values: &[f32]) -> Result<Self> {
        let mut tensor = Self::zeros(backend, rows, cols)?;
        tensor.write(backend, values)?;
        Ok(tensor)
    }

    /// Replaces every element, row by row.
    ///
    /// # Errors
    /// If the number of values differs from the number of elements, or the device fails.
    pub fn write(&mut self, backend: &B, values: &[f32]) -> Result<()> {
        crate::ops::check_len("write", "values", self.layout.len(), values.len())?;
        let Layout { rows, cols, stride, .. } = self.layout;
        if self.layout.is_dense() {
            return backend.write(values, &mut self.buffer, 0);
        }
        let mut padded = vec![0.0; rows * stride];
        let places = padded.chunks_exact_mut(stride).zip(values.chunks_exact(cols));
        places.for_each(|(place, row)| place[..cols].copy_from_slice(row));
        backend.write(&padded, &mut self.buffer, 0)
    }

    /// Every element, row by row, on the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn to_vec(&self, backend: &B) -> Result<Vec<f32>> {
        self.view().to_vec(backend)
    }

    /// `[rows, cols]`.
    pub fn shape(&self) -> [usize; 2] {
        self.layout.shape()
    }

    /// The whole matrix, to read.
    pub fn view(&self) -> View<'_, B> {
        View::new(&self.buffer, self.layout)
    }

    /// The whole matrix, to write.
    pub fn view_mut(&mut self) -> ViewMut<'_, B> {
        ViewMut::new(&mut self.buffer, self.layout)
    }
}

/// A window onto a buffer, to read.
#[derive(Debug)]
pub struct View<'a, B: Backend> {
    /// The memory it looks at.
    pub buffer: &'a B::Buffer,
    /// Which part of it.
    pub layout: Layout,
}

impl<B: Backend> Clone for View<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for View<'_, B> {}

impl<'a, B: Backend> View<'a, B> {
    /// The part of `buffer` that `layout` names.
    pub fn new(buffer: &'a B::Buffer, layout: Layout) -> Self {
        Self { buffer, layout }
    }

    /// `[rows, cols]`.
    pub fn shape(&self) -> [usize; 2] {
        self.layout.shape()
    }

    /// Every element, row by row, on the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn to_vec(self, backend: &B) -> Result<Vec<f32>> {
        let Layout { offset, cols, stride, .. } = self.layout;
        let mut values = vec![0.0; self.layout.span().len()];
        backend.read(self.buffer, offset, &mut values)?;
        if self.layout.is_dense() {
            return Ok(values);
        }
        Ok(values.chunks(stride).flat_map(|row| &row[..cols]).copied().collect())
    }

    /// A block of rows; panics if it leaves the matrix.
    #[must_use]
    pub fn rows(self, range: Range<usize>) -> Self {
        Self { layout: self.layout.rows(range), ..self }
    }

    /// A block of columns; panics if it leaves the matrix.
    #[must_use]
    pub fn cols(self, range: Range<usize>) -> Self {
        Self { layout: self.layout.cols(range), ..self }
    }
}

/// A window onto a buffer, to write.
#[derive(Debug)]
pub struct ViewMut<'a, B: Backend> {
    /// The memory it writes to.
    pub buffer: &'a mut B::Buffer,
    /// Which part of it.
    pub layout: Layout,
}

impl<'a, B: Backend> ViewMut<'a, B> {
    /// The part of `buffer` that `layout` names.
    pub fn new(buffer: &'a mut B::Buffer, layout: Layout) -> Self {
        Self { buffer, layout }
    }

    /// `[rows, cols]`.
    pub fn shape(&self) -> [usize; 2] {
        self.layout.shape()
    }

    /// A block of rows; panics if it leaves the matrix.
    #[must_use]
    pub fn rows(self, range: Range<usize>) -> Self {
        Self { layout: self.layout.rows(range), ..self }
    }

    /// A block of columns; panics if it leaves the matrix.
    #[must_use]
    pub fn cols(self, range: Range<usize>) -> Self {
        Self { layout: self.layout.cols(range), ..self }
    }
}
