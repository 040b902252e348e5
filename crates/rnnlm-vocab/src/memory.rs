//! The memory that reading a text takes, compared with a limit before it is allocated.

use crate::error::Error;
use crate::reader::TextReader;

/// Why reading a text stops.
#[derive(Debug)]
pub(crate) enum Stop {
    Excess(Excess),
    /// The text has more documents than this.
    TooManyDocuments(usize),
    Error(Error),
}

impl Stop {
    /// The error for the text of `reader`.
    pub(crate) fn in_text(self, reader: &TextReader<'_>) -> Error {
        self.in_file(reader.name(), reader.bytes_read())
    }

    /// The error for the text of this name, of which `bytes` bytes are read.
    pub(crate) fn in_file(self, name: &str, bytes: u64) -> Error {
        match self {
            Self::Excess(excess) => excess.in_file(name, bytes),
            Self::TooManyDocuments(limit) => Error::TooManyDocuments { name: name.to_owned(), limit },
            Self::Error(error) => error,
        }
    }
}

impl From<Excess> for Stop {
    fn from(excess: Excess) -> Self {
        Self::Excess(excess)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Memory in use, and its limit.
pub(crate) struct MemoryUse {
    used: u64,
    limit: u64,
}

/// An allocation that would exceed the limit, or that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    /// Memory in use with the allocation, in bytes.
    needed: u64,
    limit: u64,
}

impl Excess {
    /// The error for the text of `reader`.
    pub(crate) fn in_text(self, reader: &TextReader<'_>) -> Error {
        self.in_file(reader.name(), reader.bytes_read())
    }

    fn in_file(self, name: &str, bytes: u64) -> Error {
        let Self { needed, limit } = self;
        Error::TooLarge { name: name.to_owned(), bytes, needed, limit }
    }
}

impl MemoryUse {
    /// No memory in use of at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { used: 0, limit }
    }

    /// Counts an allocation.
    pub(crate) fn allocate(&mut self, bytes: u64) -> Result<(), Excess> {
        self.check(bytes)?;
        self.used += bytes;
        Ok(())
    }

    /// An error if an allocation would exceed the limit.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), Excess> {
        let needed = self.used.saturating_add(bytes);
        if needed > self.limit { Err(Excess { needed, limit: self.limit }) } else { Ok(()) }
    }

    /// Makes space for one more element. The vector doubles, or grows by what the limit allows.
    #[inline]
    pub(crate) fn reserve<T>(&mut self, vec: &mut Vec<T>) -> Result<(), Excess> {
        if vec.len() < vec.capacity() { Ok(()) } else { self.grow(vec) }
    }

    /// Makes space for `additional` bytes.
    pub(crate) fn reserve_bytes(&mut self, vec: &mut Vec<u8>, additional: usize) -> Result<(), Excess> {
        while vec.capacity() - vec.len() < additional {
            self.grow(vec)?;
        }
        Ok(())
    }

    #[cold]
    fn grow<T>(&mut self, vec: &mut Vec<T>) -> Result<(), Excess> {
        let size = size_of::<T>() as u64;
        let doubled = (vec.capacity() as u64).max(FIRST_CAPACITY);
        let additional = doubled.min((self.limit - self.used) / size);
        let excess = Excess { needed: self.used.saturating_add(doubled * size), limit: self.limit };
        if additional == 0 {
            return Err(excess);
        }
        let free = vec.capacity() - vec.len();
        vec.try_reserve_exact(free + additional as usize).map_err(|_| excess)?;
        self.used += additional * size;
        Ok(())
    }
}

/// Elements of a vector after its first growth.
const FIRST_CAPACITY: u64 = 1024;

/// An upper estimate of the memory that a distinct token takes while a vocabulary is built: four copies of its bytes
/// with their allocations, entries of two hash tables, and elements of six lists.
pub(crate) fn distinct_token_bytes(token_bytes: usize) -> u64 {
    4 * (token_bytes as u64 + 16) + 2 * 2 * 25 + 128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_beyond_the_limit_is_refused_with_both_numbers() {
        let mut memory = MemoryUse::new(100);
        assert_eq!(memory.allocate(60), Ok(()));
        assert_eq!(memory.allocate(41), Err(Excess { needed: 101, limit: 100 }));
        assert_eq!(memory.check(u64::MAX), Err(Excess { needed: u64::MAX, limit: 100 }));
        assert_eq!(memory.allocate(40), Ok(()));
    }

    #[test]
    fn a_vector_grows_up_to_the_limit() {
        let mut memory = MemoryUse::new(4 * 3000);
        let mut vec: Vec<u32> = Vec::new();
        let excess = loop {
            match memory.reserve(&mut vec) {
                Ok(()) => vec.push(0),
                Err(excess) => break excess,
            }
        };
        // 1024, then 2048, then the 952 that are left
        assert_eq!((vec.len(), excess), (3000, Excess { needed: 4 * 6000, limit: 4 * 3000 }));
    }

    #[test]
    fn a_failed_allocation_is_not_a_panic() {
        let mut memory = MemoryUse::new(u64::MAX);
        let mut vec: Vec<[u8; 1 << 40]> = Vec::new();
        assert!(memory.reserve(&mut vec).is_err());
    }
}
