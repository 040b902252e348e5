//! The CPU's memory: numbers from the start of a cache line on, so that a vector of them lies in one line, not across two.

use std::ops::{Deref, DerefMut};

use super::matmul::PREFETCH_ROWS;
use super::vector;
use crate::Result;

/// Numbers in a cache line of 64 bytes, which is also the widest vector.
pub(super) const LINE: usize = 16;

/// Numbers behind the end of a right operand that a product asks for: rows of four vectors at the most.
const ASKED_FOR: usize = PREFETCH_ROWS * 4 * LINE;

/// Numbers in a page of memory of 4096 bytes. Numbers so far apart share a place in the first-level cache.
pub const PAGE: usize = 1024;

/// How far apart the rows of a matrix lie: each begins at a cache line, and those of a tile do not share their places in the
/// first-level cache.
pub fn row_stride(cols: usize) -> usize {
    let stride = cols.next_multiple_of(LINE);
    if cols > 0 && stride.is_multiple_of(PAGE) { stride + LINE } else { stride }
}

/// A slice of numbers that begins at a cache line.
#[derive(Debug)]
pub struct Buffer {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// `len` zeros, or an error where there is no room for them.
    pub(super) fn zeros(len: usize) -> Result<Self> {
        Ok(Self::within(vector(len.saturating_add(LINE - 1))?, len))
    }

    /// `len` zeros where `vec!` may abort: memory that is small beside what has been asked for with [`Buffer::zeros`]. A product
    /// asks for rows ahead of those that it reads, of pages behind the end too; a page that nobody has written to is not there
    /// yet, and asking for it takes longer than reading another.
    pub(super) fn small(len: usize) -> Self {
        let end = len + LINE - 1;
        let mut values = vec![0.0; end + ASKED_FOR];
        // no zeros: these would be there without writing
        values[end..].fill(1.0);
        Self::within(values, len)
    }

    /// A vector begins wherever the allocator likes; wherever it is moved to, its memory stays.
    fn within(values: Vec<f32>, len: usize) -> Self {
        let start = values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE - 1);
        Self { values, start, len }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..][..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_a_cache_line_and_are_as_many_as_asked_for() {
        for len in [0, 1, 15, 16, 17, 100, 100_000] {
            let mut buffer = Buffer::zeros(len).unwrap();
            assert_eq!((buffer.len(), buffer.as_ptr() as usize % 64), (len, 0));
            buffer.fill(1.0);
            let moved = buffer;
            assert_eq!(moved.as_ptr() as usize % 64, 0);
            assert!(moved.iter().all(|&value| value == 1.0));
        }
    }
}
