//! The state of a resumed run on all ranks: rank 0 reads the folder and sends the state to the others, which need no folder.

use std::path::Path;

use rnnlm_rnn::Recurrence;
use serde::{Deserialize, Serialize};

use super::metadata::TrainerMetadata;
use crate::{CollectiveError, Result, Snapshot, Trainer};

/// What precedes the values of a snapshot.
#[derive(Serialize, Deserialize)]
struct Header {
    trainer: TrainerMetadata,
    /// Values of the parameters and of both states.
    lens: [usize; 3],
    /// Name and values of each optimizer buffer.
    buffers: Vec<(String, usize)>,
}

impl<B: Recurrence> Trainer<B> {
    /// Sends the state of a resumed run, or that there is none, from rank 0 to the other ranks, which call
    /// [`Trainer::receive`].
    pub(crate) fn send(&self, snapshot: Option<&Snapshot>) -> Result<()> {
        if self.collective().size() > 1 {
            self.collective().broadcast(&snapshot.map_or(Vec::new(), to_bytes))?;
        }
        Ok(())
    }

    /// Restores the state that rank 0 read with [`RunWriter::restore`](crate::RunWriter::restore). Returns false if the run was
    /// never saved.
    ///
    /// # Errors
    /// If the exchange fails, or the state is that of another trainer.
    pub fn receive(&mut self) -> Result<bool> {
        let bytes = self.collective().broadcast(&[])?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let snapshot = from_bytes(&bytes).ok_or_else(|| CollectiveError::new("rank 0 sent no valid state"))?;
        self.restore(&snapshot)?;
        Ok(true)
    }
}

fn to_bytes(snapshot: &Snapshot) -> Vec<u8> {
    let Snapshot { parameters, hidden, cell, optimizer, position } = snapshot;
    let header = Header {
        trainer: TrainerMetadata::new(*position, None),
        lens: [parameters, hidden, cell].map(Vec::len),
        buffers: optimizer.iter().map(|(name, values)| (name.clone(), values.len())).collect(),
    };
    let header = serde_json::to_vec(&header).expect("plain values are valid JSON");
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    let buffers = optimizer.iter().map(|(_, values)| values);
    for values in [parameters, hidden, cell].into_iter().chain(buffers) {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes
}

/// `None` if the bytes are not those of a snapshot.
fn from_bytes(bytes: &[u8]) -> Option<Snapshot> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (header, values) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    let Header { trainer, lens, buffers } = serde_json::from_slice(header).ok()?;
    let (mut values, _) = values.as_chunks();
    let mut take = |len: usize| {
        let values: &[[u8; 4]] = values.split_off(..len)?;
        Some(values.iter().map(|&value| f32::from_le_bytes(value)).collect::<Vec<f32>>())
    };
    Some(Snapshot {
        parameters: take(lens[0])?,
        hidden: take(lens[1])?,
        cell: take(lens[2])?,
        optimizer: buffers.into_iter().map(|(name, len)| Some((name, take(len)?))).collect::<Option<_>>()?,
        position: trainer.position(Path::new("rank 0")).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;

    #[test]
    fn a_snapshot_keeps_every_bit() {
        let snapshot = Snapshot {
            parameters: vec![0.1, f32::MIN_POSITIVE, -0.0],
            hidden: vec![1.0 / 3.0],
            cell: Vec::new(),
            optimizer: vec![("exp_avg".to_owned(), vec![2.0, 3.0])],
            position: Position {
                epoch: 1,
                step: 9,
                updates: 9,
                minibatch: 2,
                length_sum: 2.0,
                loss_sum: 0.3,
                ..Position::default()
            },
        };
        let bytes = to_bytes(&snapshot);
        assert_eq!(from_bytes(&bytes), Some(snapshot));
        assert_eq!(from_bytes(&bytes[..bytes.len() - 1]), None);
        assert_eq!(from_bytes(b"short"), None);
    }
}
