//! Stage 3, ids: where minibatches read the ids of a text, in memory or in a store such as a token cache.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::error::Result;

/// A store of ids that are read in parts, such as files.
pub trait IdSource: fmt::Debug + Send + Sync {
    /// Number of ids.
    fn len(&self) -> usize;

    /// Whether there is no id.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `out` with the ids from index `start` on. The range must not exceed the ids.
    ///
    /// # Errors
    ///
    /// If the ids cannot be read, or are not those that were written.
    fn read(&self, start: usize, out: &mut [u32]) -> Result<()>;
}

/// The ids of a text, or a range of them.
#[derive(Clone, Copy, Debug)]
pub enum Ids<'a> {
    /// Ids in memory.
    Memory(&'a [u32]),
    /// A range of the ids of a store.
    Stored {
        /// The store.
        source: &'a dyn IdSource,
        /// The index of the first id.
        start: usize,
        /// Number of ids.
        len: usize,
    },
}

/// Number of ids that are read at a time.
const CHUNK: usize = 1 << 14;

impl<'a> Ids<'a> {
    /// All ids of a store.
    pub fn stored(source: &'a dyn IdSource) -> Self {
        Self::Stored { source, start: 0, len: source.len() }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(ids) => ids.len(),
            Self::Stored { len, .. } => *len,
        }
    }

    /// Whether there is no id.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids in this range.
    ///
    /// # Panics
    ///
    /// If the range exceeds the ids.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} of {} ids", self.len());
        match *self {
            Self::Memory(ids) => Self::Memory(&ids[range]),
            Self::Stored { source, start, .. } => Self::Stored { source, start: start + range.start, len: range.len() },
        }
    }

    /// Fills `out` with the ids from index `start` on.
    ///
    /// # Errors
    ///
    /// Those of [`IdSource::read`].
    ///
    /// # Panics
    ///
    /// If the range exceeds the ids.
    pub fn read(&self, start: usize, out: &mut [u32]) -> Result<()> {
        match self.slice(start..start + out.len()) {
            Self::Memory(ids) => out.copy_from_slice(ids),
            Self::Stored { source, start, .. } => source.read(start, out)?,
        }
        Ok(())
    }

    /// Calls `sink` with all ids, in order and in parts.
    ///
    /// # Errors
    ///
    /// Those of [`IdSource::read`].
    pub fn for_each_part(&self, mut sink: impl FnMut(&[u32])) -> Result<()> {
        if let Self::Memory(ids) = self {
            ids.chunks(CHUNK).for_each(sink);
            return Ok(());
        }
        let mut part = vec![0; CHUNK.min(self.len())];
        let mut start = 0;
        while start < self.len() {
            let len = CHUNK.min(self.len() - start);
            self.read(start, &mut part[..len])?;
            sink(&part[..len]);
            start += len;
        }
        Ok(())
    }

    /// The ids in memory.
    ///
    /// # Errors
    ///
    /// Those of [`IdSource::read`].
    pub fn load(&self) -> Result<Cow<'a, [u32]>> {
        if let Self::Memory(ids) = *self {
            return Ok(Cow::Borrowed(ids));
        }
        let mut ids = Vec::with_capacity(self.len());
        self.for_each_part(|part| ids.extend_from_slice(part))?;
        Ok(Cow::Owned(ids))
    }
}

impl<'a> From<&'a [u32]> for Ids<'a> {
    fn from(ids: &'a [u32]) -> Self {
        Self::Memory(ids)
    }
}

impl<'a> From<&'a Vec<u32>> for Ids<'a> {
    fn from(ids: &'a Vec<u32>) -> Self {
        Self::Memory(ids)
    }
}

impl<'a, const N: usize> From<&'a [u32; N]> for Ids<'a> {
    fn from(ids: &'a [u32; N]) -> Self {
        Self::Memory(ids)
    }
}
