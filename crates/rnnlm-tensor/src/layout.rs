//! Where the elements of a matrix are in a buffer.

use std::ops::Range;

/// A row-major matrix in a buffer: element `(r, c)` has the index `offset + r·stride + c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Index of element `(0, 0)`.
    pub offset: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance between the first elements of two consecutive rows (the leading dimension of BLAS), at least `cols`.
    pub stride: usize,
    /// Elements after each row, including the last row, that belong to the row. Their values are unspecified: an operation
    /// that writes the row may overwrite them.
    pub padding: usize,
}

impl Layout {
    /// A matrix without padding that starts at `offset`.
    pub fn dense(offset: usize, rows: usize, cols: usize) -> Self {
        Self { offset, rows, cols, stride: cols, padding: 0 }
    }

    /// `[rows, cols]`.
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

    /// Whether the elements are contiguous.
    pub fn is_dense(&self) -> bool {
        self.stride == self.cols || self.rows <= 1
    }

    /// The smallest range of the buffer that contains every element.
    pub fn span(&self) -> Range<usize> {
        // the offset of an empty block may be after the end of the buffer
        if self.is_empty() { 0..0 } else { self.offset..self.offset + (self.rows - 1) * self.stride + self.cols }
    }

    /// A block of rows.
    ///
    /// # Panics
    /// If the range exceeds the matrix.
    #[must_use]
    pub fn rows(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of a matrix of {}", self.rows);
        Self { offset: self.offset + range.start * self.stride, rows: range.len(), ..self }
    }

    /// A block of columns. It keeps the padding only if it includes the last column.
    ///
    /// # Panics
    /// If the range exceeds the matrix.
    #[must_use]
    pub fn cols(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.cols, "columns {range:?} of a matrix of {}", self.cols);
        let padding = if range.end == self.cols { self.padding } else { 0 };
        Self { offset: self.offset + range.start, cols: range.len(), padding, ..self }
    }
}
