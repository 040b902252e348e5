//! The ranks of a run that is trained by several processes: [`Collective`] moves bytes between them, and nothing else. All
//! arithmetic is in this crate, in one order ([`Shards`](crate::Shards)), so results do not depend on the implementation.

use std::fmt::Debug;

/// A failed exchange between ranks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CollectiveError(String);

impl CollectiveError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// The processes that train one model together. Every rank calls the same methods in the same order.
pub trait Collective: Debug + Send + Sync {
    /// The number of this process, below [`Collective::size`].
    fn rank(&self) -> usize;

    /// The number of processes.
    fn size(&self) -> usize;

    /// Gathers the bytes of all ranks on every rank: `all` receives `lens[r]` bytes of each rank `r`, in order. `bytes` has
    /// `lens[rank]` bytes. A length of 0 is allowed, so a broadcast is a gather with a single non-zero length.
    ///
    /// # Errors
    /// If a rank is lost, or does not answer in time.
    fn gather(&self, bytes: &[u8], lens: &[usize], all: &mut [u8]) -> Result<(), CollectiveError>;

    /// Waits for all ranks.
    ///
    /// # Errors
    /// As [`Collective::gather`].
    fn barrier(&self) -> Result<(), CollectiveError> {
        self.gather(&[], &vec![0; self.size()], &mut [])
    }

    /// Ends all ranks with this exit code, as far as that is possible.
    fn abort(&self, code: i32);

    /// Names the training step of the following exchanges in messages.
    fn begin_step(&self, _step: u64) {}

    /// Gathers byte strings whose lengths only their own ranks know.
    ///
    /// # Errors
    /// As [`Collective::gather`].
    fn gather_all(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        const LEN: usize = size_of::<u64>();
        let mut lens = vec![0; LEN * self.size()];
        self.gather(&(bytes.len() as u64).to_le_bytes(), &vec![LEN; self.size()], &mut lens)?;
        let lens: Vec<usize> = lens.as_chunks().0.iter().map(|&len| u64::from_le_bytes(len) as usize).collect();
        let mut all = vec![0; lens.iter().sum()];
        self.gather(bytes, &lens, &mut all)?;
        let mut rest = &all[..];
        Ok(lens.iter().map(|&len| rest.split_off(..len).unwrap_or_default().to_vec()).collect())
    }

    /// Sends the bytes of rank 0 to every rank. Those of other ranks are ignored.
    ///
    /// # Errors
    /// As [`Collective::gather`].
    fn broadcast(&self, bytes: &[u8]) -> Result<Vec<u8>, CollectiveError> {
        let bytes = if self.rank() == 0 { bytes } else { &[] };
        Ok(self.gather_all(bytes)?.swap_remove(0))
    }

    /// Whether `value` is true on any rank.
    ///
    /// # Errors
    /// As [`Collective::gather`].
    fn any(&self, value: bool) -> Result<bool, CollectiveError> {
        if self.size() == 1 {
            return Ok(value);
        }
        let mut all = vec![0; self.size()];
        self.gather(&[u8::from(value)], &vec![1; self.size()], &mut all)?;
        Ok(all.contains(&1))
    }
}

/// A single process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Single;

impl Collective for Single {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn gather(&self, bytes: &[u8], _lens: &[usize], all: &mut [u8]) -> Result<(), CollectiveError> {
        all.copy_from_slice(bytes);
        Ok(())
    }

    fn abort(&self, _code: i32) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_process_gathers_its_own_bytes() {
        assert_eq!(Single.gather_all(b"abc"), Ok(vec![b"abc".to_vec()]));
        assert_eq!(Single.broadcast(b"abc"), Ok(b"abc".to_vec()));
        assert_eq!([Single.any(true), Single.any(false)], [Ok(true), Ok(false)]);
        assert_eq!(Single.barrier(), Ok(()));
    }
}
