//! The CPU's memory: `f32` values whose first element is at the start of a cache line, so that aligned vectors do not cross
//! cache lines.

use std::ops::{Deref, DerefMut};

use crate::{Error, Result};

/// `f32` values in a cache line of 64 bytes, which is also the size of the widest vector.
pub(super) const LINE: usize = 16;

/// `f32` values in a page of 4096 bytes. Values at a multiple of this distance share a set of the first-level cache.
pub const PAGE: usize = 1024;

/// Rows of a panel that the micro-kernel of the matrix multiplication prefetches ahead. An Intel core with two FMA units
/// takes a dozen cycles a row; loads from the second-level cache arrive in time at this distance.
pub(super) const PREFETCH_ROWS: usize = 8;

/// Values after the end of a packed right operand that the matmul kernel may prefetch: rows of up to four vectors.
const PREFETCH_SLACK: usize = PREFETCH_ROWS * 4 * LINE;

/// The row stride of padded matrices: a multiple of a cache line, so that each row starts at one, and not a multiple of
/// [`PAGE`], so that the rows of a tile use different sets of the first-level cache.
pub fn row_stride(cols: usize) -> usize {
    let stride = cols.next_multiple_of(LINE);
    if cols > 0 && stride.is_multiple_of(PAGE) { stride + LINE } else { stride }
}

/// A vector of `len` default values, or an error where `vec!` would abort.
pub(super) fn try_vec<T: Clone + Default>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(len)
        .map_err(|_| Error::OutOfMemory { device: "cpu".to_owned(), bytes: len.saturating_mul(size_of::<T>()) })?;
    values.resize(len, T::default());
    Ok(values)
}

/// `f32` values that start at a cache line.
#[derive(Debug)]
pub struct Buffer {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// `len` zeros, or an error if memory is exhausted.
    pub(super) fn zeros(len: usize) -> Result<Self> {
        Ok(Self::aligned(try_vec(len.saturating_add(LINE - 1))?, len))
    }

    /// `len` zeros, followed by memory that kernels may prefetch. Aborts if memory is exhausted, so `len` must be small compared
    /// with what [`Buffer::zeros`] has allocated.
    pub(super) fn small(len: usize) -> Self {
        let end = len + LINE - 1;
        let mut values = vec![0.0; end + PREFETCH_SLACK];
        // Written with values other than 0, because pages of zeros are not mapped before the first write, and prefetching an
        // unmapped page is slower than prefetching a mapped one.
        values[end..].fill(1.0);
        Self::aligned(values, len)
    }

    /// The bytes that [`Buffer::small`] allocates for `len` values.
    pub(super) fn small_bytes(len: u128) -> u128 {
        (len + (LINE - 1 + PREFETCH_SLACK) as u128) * size_of::<f32>() as u128
    }

    /// The first `len` values from a cache line on. Moving the vector does not move its memory, so `start` stays valid.
    fn aligned(values: Vec<f32>, len: usize) -> Self {
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
    fn a_buffer_starts_at_a_cache_line_and_has_the_requested_length() {
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
