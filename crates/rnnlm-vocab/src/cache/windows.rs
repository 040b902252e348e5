//! Read-ahead: the bytes around the last ids of every row of a minibatch.
//!
//! A row of sequentially sampled minibatches reads on where it stopped, at its last target. Such a read gets a window of
//! 64 KB, from which the next ones are served. Other reads, such as those of random sampling, are exact.

use std::collections::HashMap;

use crate::error::Result;

/// Number of bytes of a window.
const WINDOW_BYTES: usize = 1 << 16;
/// The most windows that are read ahead: 64 MB.
const MAX_WINDOWS: usize = 1024;
/// The most ends of reads that are remembered.
const MAX_ENDS: usize = 1 << 14;

/// Windows by the index after the last id that was read from them.
#[derive(Debug, Default)]
pub(super) struct Windows {
    windows: HashMap<usize, Window>,
    /// Number of windows that were read ahead.
    ahead: usize,
}

#[derive(Debug, Default)]
struct Window {
    /// The index of the first id.
    start: usize,
    bytes: Vec<u8>,
    /// Whether it was read ahead.
    is_ahead: bool,
}

impl Windows {
    /// The bytes of `len` ids from `start` on, each of `width` bytes, in a store of `total` ids. `read` reads the bytes of
    /// ids.
    pub(super) fn bytes(
        &mut self,
        start: usize,
        len: usize,
        total: usize,
        width: usize,
        read: impl FnOnce(usize, &mut [u8]) -> Result<()>,
    ) -> Result<&[u8]> {
        if self.ahead > MAX_WINDOWS || self.windows.len() > MAX_ENDS {
            self.windows.clear();
            self.ahead = 0;
        }
        // a row starts at its last target
        let known = self.windows.remove(&(start + 1)).or_else(|| self.windows.remove(&start));
        let is_sequential = known.is_some();
        let mut window = known.unwrap_or_default();
        let end = start + len;
        let is_within = start >= window.start && end <= window.start + window.bytes.len() / width;
        if !is_within {
            self.ahead += usize::from(is_sequential && !window.is_ahead);
            window.is_ahead |= is_sequential;
            let ids = if is_sequential { (WINDOW_BYTES / width).min(total - start).max(len) } else { len };
            window.start = start;
            window.bytes.resize(ids * width, 0);
            if let Err(error) = read(start, &mut window.bytes) {
                self.ahead -= usize::from(window.is_ahead);
                return Err(error);
            }
        }
        let offset = (start - window.start) * width;
        let window = self.windows.entry(end).insert_entry(window).into_mut();
        Ok(&window.bytes[offset..offset + len * width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_reads_on_is_served_from_a_window() {
        let store: Vec<u8> = (0..200_000_u32).map(|id| (id % 251) as u8).collect();
        let mut windows = Windows::default();
        let mut reads = Vec::new();
        for step in 0..20 {
            for row in [0, 100_000] {
                let start = row + 1000 * step;
                let bytes = windows.bytes(start, 1001, store.len(), 1, |start, bytes| {
                    reads.push((start, bytes.len()));
                    bytes.copy_from_slice(&store[start..start + bytes.len()]);
                    Ok(())
                });
                assert_eq!(bytes.unwrap(), &store[start..start + 1001]);
            }
        }
        assert_eq!(reads, [(0, 1001), (100_000, 1001), (1000, 65_536), (101_000, 65_536)]);
    }

    #[test]
    fn reads_at_random_are_exact_and_memory_is_bounded() {
        let mut windows = Windows::default();
        for number in 0..100_000_usize {
            let start = number * 7919 % 1_000_000;
            let bytes = windows.bytes(start, 36, 1_000_100, 2, |_, bytes| {
                assert_eq!(bytes.len(), 72);
                Ok(())
            });
            assert_eq!(bytes.unwrap().len(), 72);
            assert!(windows.windows.len() <= MAX_ENDS + 1);
        }
        assert_eq!(windows.ahead, 0);
    }

    #[test]
    fn windows_that_are_read_ahead_are_bounded() {
        let mut windows = Windows::default();
        for step in 0..3 {
            for row in 0..3000 {
                windows.bytes(row * 100_000 + 35 * step, 36, 1 << 30, 1, |_, _| Ok(())).unwrap();
                let bytes: usize = windows.windows.values().map(|window| window.bytes.len()).sum();
                assert!(bytes <= (MAX_WINDOWS + 1) * WINDOW_BYTES + MAX_ENDS * 36, "{bytes}");
            }
        }
    }

    #[test]
    fn the_end_of_the_store_is_not_exceeded() {
        let mut windows = Windows::default();
        for start in [90, 94] {
            let bytes = windows.bytes(start, 5, 99, 4, |start, bytes| {
                assert!(start + bytes.len() / 4 <= 99);
                Ok(())
            });
            assert_eq!(bytes.unwrap().len(), 20);
        }
    }
}
