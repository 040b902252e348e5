//! The thread that writes the ids of a cache into its shards, with their digests.

use std::path::Path;
use std::sync::mpsc::Receiver;

use sha2::{Digest, Sha256};

use super::shard::{Dtype, ShardRecord, ShardWriter, hexadecimal};
use crate::error::Result;

/// Number of ids that are converted at a time.
const CHUNK: usize = 4096;

/// What the thread returns.
pub(super) struct Written {
    pub(super) shards: Vec<ShardRecord>,
    /// SHA-256 of all ids as little-endian 32-bit integers.
    pub(super) ids_sha256: String,
}

/// Writes ids, which arrive in parts of whole ids, each in the bytes of `dtype`.
pub(super) fn write_ids(folder: &Path, dtype: Dtype, parts: &Receiver<Vec<u8>>) -> Result<Written> {
    let (mut shards, mut shard, mut all_ids) = (Vec::new(), None, Sha256::new());
    let mut ids = vec![0; CHUNK];
    let mut id_bytes = Vec::with_capacity(4 * CHUNK);
    for part in parts {
        for chunk in part.chunks(CHUNK * dtype.width()) {
            let ids = &mut ids[..chunk.len() / dtype.width()];
            dtype.decode(chunk, ids);
            id_bytes.clear();
            ids.iter().for_each(|id| id_bytes.extend_from_slice(&id.to_le_bytes()));
            all_ids.update(&id_bytes);
        }
        let mut rest = part.as_slice();
        while !rest.is_empty() {
            let mut current: ShardWriter = match shard.take() {
                Some(current) => current,
                None => ShardWriter::create(folder.join(format!("tokens-{:05}.safetensors", shards.len() + 1)))?,
            };
            rest = &rest[current.write(rest)?..];
            match current.is_full() {
                true => shards.push(current.finish(dtype)?),
                false => shard = Some(current),
            }
        }
    }
    shards.extend(shard.map(|shard| shard.finish(dtype)).transpose()?);
    Ok(Written { shards, ids_sha256: hexadecimal(&all_ids.finalize()) })
}
