//! `documents.safetensors`: where the documents of a token cache end, and a digest of the content of each.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::shard::{sha256, write_error};
use crate::error::{Error, Result};

/// The name of the file.
const NAME: &str = "documents.safetensors";

/// Number of bytes of a document.
pub(super) const DOCUMENT_BYTES: u64 = 16;

/// The documents of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StoredDocuments {
    /// Number of tokens up to the end of each document, with its end token.
    pub(super) ends: Vec<u64>,
    /// The digest of the content of each document that decides whether it is in the validation set.
    pub(super) contents: Vec<u64>,
}

impl StoredDocuments {
    /// Writes the file and returns its SHA-256.
    pub(super) fn write(&self, folder: &Path) -> Result<String> {
        let (count, bytes) = (self.ends.len(), 8 * self.ends.len());
        let header = json!({
            "ends": { "dtype": "U64", "shape": [count], "data_offsets": [0, bytes] },
            "contents": { "dtype": "U64", "shape": [count], "data_offsets": [bytes, 2 * bytes] },
        });
        let mut header = header.to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        self.ends.iter().chain(&self.contents).for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
        let path = folder.join(NAME);
        fs::write(&path, &file).map_err(write_error(&path))?;
        fs::File::open(&path).and_then(|file| file.sync_all()).map_err(write_error(&path))?;
        Ok(sha256(&file))
    }

    /// Reads the file, whose SHA-256 is known.
    pub(super) fn read(folder: &Path, digest: &str) -> Result<Self> {
        let path = folder.join(NAME);
        let damaged = |reason: &str| Error::DamagedCache { path: path.clone(), reason: reason.to_owned() };
        let file = fs::read(&path).map_err(|source| Error::Read { name: path.display().to_string(), source })?;
        if sha256(&file) != digest {
            return Err(damaged("it has changed since it was written"));
        }
        let header = file.first_chunk().map_or(u64::MAX, |length| u64::from_le_bytes(*length));
        let values = usize::try_from(header).ok().and_then(|header| file.get(header.checked_add(8)?..));
        let values = values.ok_or_else(|| damaged("it ends within its header"))?;
        let values: Vec<u64> = values.as_chunks().0.iter().map(|&value| u64::from_le_bytes(value)).collect();
        let (ends, contents) = values.split_at(values.len() / 2);
        Ok(Self { ends: ends.to_vec(), contents: contents.to_vec() })
    }
}
