//! Ranks that are threads of one process and exchange bytes through channels.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use rnnlm_model::{Collective, CollectiveError};

/// One rank. Each has a channel from every rank, itself included.
#[derive(Debug)]
pub(crate) struct Threads {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Mutex<Vec<Receiver<Vec<u8>>>>,
}

impl Threads {
    /// `size` ranks.
    pub(crate) fn group(size: usize) -> Vec<Self> {
        let mut to: Vec<Vec<Sender<Vec<u8>>>> = (0..size).map(|_| Vec::new()).collect();
        let from: Vec<Vec<Receiver<Vec<u8>>>> = (0..size)
            .map(|_| {
                let pairs = (0..size).map(|_| channel());
                let (senders, receivers): (Vec<_>, Vec<_>) = pairs.unzip();
                to.iter_mut().zip(senders).for_each(|(to, sender)| to.push(sender));
                receivers
            })
            .collect();
        let ranks = to.into_iter().zip(from).enumerate();
        ranks.map(|(rank, (to, from))| Self { rank, to, from: Mutex::new(from) }).collect()
    }
}

impl Collective for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn gather(&self, bytes: &[u8], lens: &[usize], all: &mut [u8]) -> Result<(), CollectiveError> {
        assert_eq!(bytes.len(), lens[self.rank]);
        let lost = |rank: usize| CollectiveError::new(format!("rank {rank} is lost"));
        for (rank, to) in self.to.iter().enumerate() {
            to.send(bytes.to_vec()).map_err(|_| lost(rank))?;
        }
        let mut rest = all;
        let from = self.from.lock().map_err(|_| lost(self.rank))?;
        for (rank, (from, &len)) in from.iter().zip(lens).enumerate() {
            let received = from.recv().map_err(|_| lost(rank))?;
            rest.split_off_mut(..len).ok_or_else(|| lost(rank))?.copy_from_slice(&received);
        }
        assert!(rest.is_empty());
        Ok(())
    }

    fn abort(&self, _code: i32) {}
}
