//! One file of a token cache: a `safetensors` file with the tensor `tokens`, and digests of its blocks.
//!
//! ```text
//! 0      8 bytes   length of the header, little-endian: 8,184
//! 8      JSON      {"__metadata__": {"block_bytes": "16777216", "sha256": "…,…"}, "tokens": {"dtype": "U8", …}}, then spaces
//! 8192   ids       U8, U16 or U32, little-endian
//! ```

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Number of bytes of a block, which has one digest.
pub(super) const BLOCK_BYTES: usize = 1 << 24;
/// The most blocks of a shard, whose digests fit into the header.
pub(super) const MAX_BLOCKS: usize = 64;
/// Number of bytes before the ids.
const HEADER_BYTES: usize = 8192;
/// The name of the tensor.
const TENSOR: &str = "tokens";

/// The type of the stored ids: the smallest one for the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Dtype {
    U8,
    U16,
    U32,
}

impl Dtype {
    /// The smallest type for ids below `vocab_size`.
    pub(super) fn for_vocab(vocab_size: usize) -> Self {
        match vocab_size {
            ..=0x100 => Self::U8,
            0x101..=0x1_0000 => Self::U16,
            _ => Self::U32,
        }
    }

    /// Number of bytes of an id.
    pub(super) fn width(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
        }
    }

    /// Appends an id, which must fit.
    #[inline]
    pub(super) fn push(self, id: u32, bytes: &mut Vec<u8>) {
        match self {
            Self::U8 => bytes.push(id as u8),
            Self::U16 => bytes.extend_from_slice(&(id as u16).to_le_bytes()),
            Self::U32 => bytes.extend_from_slice(&id.to_le_bytes()),
        }
    }

    /// Converts the bytes of as many ids as `out` has.
    pub(super) fn decode(self, bytes: &[u8], out: &mut [u32]) {
        match self {
            Self::U8 => out.iter_mut().zip(bytes).for_each(|(id, &byte)| *id = byte.into()),
            Self::U16 => {
                let pairs = bytes.as_chunks().0.iter();
                out.iter_mut().zip(pairs).for_each(|(id, &pair)| *id = u16::from_le_bytes(pair).into());
            }
            Self::U32 => {
                let quads = bytes.as_chunks().0.iter();
                out.iter_mut().zip(quads).for_each(|(id, &quad)| *id = u32::from_le_bytes(quad));
            }
        }
    }
}

/// A shard in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShardRecord {
    pub(super) name: String,
    pub(super) tokens: usize,
    /// SHA-256 of the first 8,192 bytes, which contain the digests of the blocks.
    pub(super) header_sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: BTreeMap<String, String>,
    tokens: TensorInfo,
}

#[derive(Serialize, Deserialize)]
struct TensorInfo {
    dtype: Dtype,
    shape: [usize; 1],
    data_offsets: [usize; 2],
}

/// `bytes` in lower-case hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of `bytes` in lower-case hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The error of writing the file at `path`.
pub(super) fn write_error(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |source| Error::Write { path: path.to_owned(), source }
}

/// A shard that is being written.
pub(super) struct ShardWriter {
    path: PathBuf,
    file: File,
    /// The digests of the complete blocks.
    digests: Vec<String>,
    /// The digest of the block that is not complete.
    block: Sha256,
    /// Number of bytes of all ids.
    bytes: usize,
}

impl ShardWriter {
    pub(super) fn create(path: PathBuf) -> Result<Self> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(write_error(&path))?;
        file.write_all(&[0; HEADER_BYTES]).map_err(write_error(&path))?;
        Ok(Self { path, file, digests: Vec::new(), block: Sha256::new(), bytes: 0 })
    }

    /// Appends the bytes that fit into the current block, and returns their number. The shard must not be full.
    pub(super) fn write(&mut self, ids: &[u8]) -> Result<usize> {
        let ids = &ids[..ids.len().min(BLOCK_BYTES - self.bytes % BLOCK_BYTES)];
        self.file.write_all(ids).map_err(write_error(&self.path))?;
        self.block.update(ids);
        self.bytes += ids.len();
        if self.bytes.is_multiple_of(BLOCK_BYTES) {
            self.end_block();
        }
        Ok(ids.len())
    }

    fn end_block(&mut self) {
        self.digests.push(hexadecimal(&self.block.finalize_reset()));
    }

    pub(super) fn is_full(&self) -> bool {
        self.digests.len() == MAX_BLOCKS
    }

    /// Writes the header and makes the file durable.
    pub(super) fn finish(mut self, dtype: Dtype) -> Result<ShardRecord> {
        if !self.bytes.is_multiple_of(BLOCK_BYTES) {
            self.end_block();
        }
        let tokens = self.bytes / dtype.width();
        let digests = self.digests.join(",");
        let metadata = [("block_bytes", BLOCK_BYTES.to_string()), ("sha256", digests)];
        let header = Header {
            metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            tokens: TensorInfo { dtype, shape: [tokens], data_offsets: [0, self.bytes] },
        };
        let mut bytes = (HEADER_BYTES as u64 - 8).to_le_bytes().to_vec();
        serde_json::to_writer(&mut bytes, &header).map_err(Error::VocabSyntax)?;
        bytes.resize(HEADER_BYTES, b' ');
        let error = write_error(&self.path);
        self.file.seek(SeekFrom::Start(0)).map_err(&error)?;
        self.file.write_all(&bytes).map_err(&error)?;
        self.file.sync_all().map_err(&error)?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(ShardRecord { name, tokens, header_sha256: sha256(&bytes) })
    }
}

/// A shard that is read. Each block is compared with its digest before it is first used.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    file: File,
    /// Number of bytes of all ids.
    bytes: usize,
    digests: Vec<String>,
    verified: Vec<bool>,
}

impl Shard {
    /// Opens the shard of a manifest. Checks its header and its length.
    pub(super) fn open(folder: &Path, record: &ShardRecord, dtype: Dtype) -> Result<Self> {
        let path = folder.join(&record.name);
        let damaged = |reason: String| Error::DamagedCache { path: path.clone(), reason };
        let file = File::open(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => damaged("it is missing".to_owned()),
            _ => Error::Read { name: path.display().to_string(), source: error },
        })?;
        let mut header = vec![0; HEADER_BYTES];
        read_at(&file, 0, &mut header).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => damaged("it ends within its header".to_owned()),
            _ => Error::Read { name: path.display().to_string(), source: error },
        })?;
        if sha256(&header) != record.header_sha256 {
            return Err(damaged("its header has changed since it was written".to_owned()));
        }
        let header: Header = serde_json::from_slice(&header[8..]).map_err(|error| damaged(error.to_string()))?;
        let bytes = record.tokens.saturating_mul(dtype.width());
        let digests = header.metadata.get("sha256").map(String::as_str).unwrap_or_default();
        let digests: Vec<String> = digests.split(',').map(str::to_owned).collect();
        let is_consistent = header.tokens.dtype == dtype && header.tokens.shape == [record.tokens];
        if !is_consistent || digests.len() != bytes.div_ceil(BLOCK_BYTES) {
            return Err(damaged(format!("its tensor `{TENSOR}` does not fit cache.json")));
        }
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let expected = (HEADER_BYTES + bytes) as u64;
        if length != expected {
            let block = (length.min(expected) as usize).saturating_sub(HEADER_BYTES) / BLOCK_BYTES;
            let blocks = digests.len();
            let reason = format!("it has {length} of {expected} bytes: block {} of {blocks} is damaged", block + 1);
            return Err(damaged(reason));
        }
        let verified = vec![false; digests.len()];
        Ok(Self { path, file, bytes, digests, verified })
    }

    /// Reads the bytes from `offset` on. `block` is scratch memory for the blocks that are verified.
    pub(super) fn read(&mut self, offset: usize, out: &mut [u8], block: &mut Vec<u8>) -> Result<()> {
        let last = (offset + out.len()).saturating_sub(1) / BLOCK_BYTES;
        for number in offset / BLOCK_BYTES..=last {
            if !self.verified[number] {
                self.verify(number, block)?;
                self.verified[number] = true;
            }
        }
        read_at(&self.file, HEADER_BYTES + offset, out).map_err(|error| self.read_error(error, offset / BLOCK_BYTES))
    }

    fn verify(&self, number: usize, block: &mut Vec<u8>) -> Result<()> {
        let start = number * BLOCK_BYTES;
        block.resize(BLOCK_BYTES.min(self.bytes - start), 0);
        read_at(&self.file, HEADER_BYTES + start, block).map_err(|error| self.read_error(error, number))?;
        let (found, expected) = (sha256(block), &self.digests[number]);
        if found == *expected {
            return Ok(());
        }
        let (blocks, number) = (self.digests.len(), number + 1);
        let reason = format!("block {number} of {blocks} has digest {found}, it was written with {expected}");
        Err(Error::DamagedCache { path: self.path.clone(), reason })
    }

    fn read_error(&self, error: io::Error, number: usize) -> Error {
        match error.kind() {
            ErrorKind::UnexpectedEof => {
                let reason = format!("it ends within block {} of {}", number + 1, self.digests.len());
                Error::DamagedCache { path: self.path.clone(), reason }
            }
            _ => Error::Read { name: self.path.display().to_string(), source: error },
        }
    }
}

/// Fills `out` with the bytes of a file from `offset` on.
#[cfg(unix)]
pub(super) fn read_at(file: &File, offset: usize, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset as u64)
}

/// Fills `out` with the bytes of a file from `offset` on. The caller has exclusive access to the file.
#[cfg(not(unix))]
pub(super) fn read_at(mut file: &File, offset: usize, out: &mut [u8]) -> io::Result<()> {
    use std::io::Read;
    file.seek(SeekFrom::Start(offset as u64))?;
    file.read_exact(out)
}
