//! The functions of views.

use std::ops::Range;

use crate::{Backend, Layout, View, ViewMut};

impl<'a, B: Backend> View<'a, B> {
    /// A view of the part of `buffer` that `layout` describes.
    pub fn new(buffer: &'a B::Slice, layout: Layout) -> Self {
        Self { buffer, layout }
    }

    /// `[rows, cols]`.
    pub fn shape(&self) -> [usize; 2] {
        self.layout.shape()
    }

    /// A block of rows.
    ///
    /// # Panics
    /// If the range exceeds the matrix.
    #[must_use]
    pub fn rows(self, range: Range<usize>) -> Self {
        Self { layout: self.layout.rows(range), ..self }
    }

    /// A block of columns.
    ///
    /// # Panics
    /// If the range exceeds the matrix.
    #[must_use]
    pub fn cols(self, range: Range<usize>) -> Self {
        Self { layout: self.layout.cols(range), ..self }
    }
}

impl<'a, B: Backend> ViewMut<'a, B> {
    /// A mutable view of the part of `buffer` that `layout` describes.
    pub fn new(buffer: &'a mut B::Slice, layout: Layout) -> Self {
        Self { buffer, layout }
    }

    /// `[rows, cols]`.
    pub fn shape(&self) -> [usize; 2] {
        self.layout.shape()
    }

    /// A block of rows.
    ///
    /// # Panics
    /// If the range exceeds the matrix.
    #[must_use]
    pub fn rows(self, range: Range<usize>) -> Self {
        Self { layout: self.layout.rows(range), ..self }
    }

    /// A block of columns.
    ///
    /// # Panics
    /// If the range exceeds the matrix.
    #[must_use]
    pub fn cols(self, range: Range<usize>) -> Self {
        Self { layout: self.layout.cols(range), ..self }
    }
}
