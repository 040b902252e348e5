//! `cache.json`: what a token cache was built from, and which files it has. Its first line has the digest of the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::shard::{Dtype, ShardRecord, sha256};
use crate::corpus::CorpusOptions;
use crate::encoding::TextEncoding;
use crate::error::{Error, Result};
use crate::text::TextFormat;

/// The name of the file.
pub(super) const MANIFEST: &str = "cache.json";
/// The newest format version that this library reads and writes.
const VERSION: u64 = 1;
/// The size limit of the file.
const MAX_BYTES: u64 = 1 << 26;

/// The content of `cache.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format_version: u64,
    pub(super) options: CorpusOptions,
    /// Whether the vocabulary was given instead of built from the text.
    pub(super) has_given_vocab: bool,
    pub(super) texts: Vec<TextFile>,
    pub(super) vocab_sha256: String,
    pub(super) dtype: Dtype,
    pub(super) tokens: u64,
    /// SHA-256 of all ids as little-endian 32-bit integers.
    pub(super) ids_sha256: String,
    pub(super) shards: Vec<ShardRecord>,
    /// SHA-256 of `documents.safetensors`, if the text is divided into documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) documents_sha256: Option<String>,
    pub(super) empty_documents: u64,
    pub(super) unknown: u64,
    pub(super) characters: u64,
    pub(super) bytes: u64,
    pub(super) source_bytes: u64,
    pub(super) text_format: TextFormat,
    pub(super) encoding: TextEncoding,
    pub(super) is_likely_utf_16: bool,
    pub(super) looks_like_records: bool,
}

/// A file of a text, at the time when the cache was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextFile {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Nanoseconds from 1970 to its last modification.
    pub(super) modified: u64,
}

impl TextFile {
    /// The current state of a file; `None` if it cannot be examined.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |time| time.as_nanos() as u64);
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Some(Self { path, bytes: metadata.len(), modified })
    }

    /// How the file differs from its current state; `None` if it does not, or does not exist any more.
    pub(super) fn change(&self) -> Option<String> {
        let now = Self::of(&self.path)?;
        let path = self.path.display();
        if now.bytes != self.bytes {
            return Some(format!("`{path}` had {} bytes and has {} now", self.bytes, now.bytes));
        }
        (now.modified != self.modified).then(|| format!("`{path}` was modified later"))
    }
}

impl Manifest {
    pub(super) fn version() -> u64 {
        VERSION
    }

    /// The bytes of the file.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let body = serde_json::to_string_pretty(self).map_err(Error::VocabSyntax)?;
        let body = format!("{}\n", body.strip_prefix("{\n").unwrap_or(&body));
        Ok(format!("{{ \"sha256\": \"{}\",\n{body}", sha256(body.as_bytes())).into_bytes())
    }

    /// Reads the file in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let damaged = |reason: String| Error::DamagedCache { path: path.clone(), reason };
        let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if length > MAX_BYTES {
            return Err(damaged(format!("it has {length} bytes, at most {MAX_BYTES} are expected")));
        }
        let text =
            fs::read_to_string(&path).map_err(|source| Error::Read { name: path.display().to_string(), source })?;
        let (first, body) = text.split_once('\n').ok_or_else(|| damaged("it has no digest".to_owned()))?;
        let stored = first.strip_prefix("{ \"sha256\": \"").and_then(|rest| rest.strip_suffix("\","));
        let stored = stored.ok_or_else(|| damaged("it has no digest".to_owned()))?;
        let found = sha256(body.as_bytes());
        if stored != found {
            return Err(damaged(format!("its stored digest is {stored}, the digest of its content is {found}")));
        }
        let json = format!("{{{body}");
        let value: serde_json::Value = serde_json::from_str(&json).map_err(|error| damaged(error.to_string()))?;
        match value.get("format_version").and_then(serde_json::Value::as_u64) {
            Some(found) if found > VERSION => Err(Error::VocabVersion { found, supported: VERSION }),
            _ => serde_json::from_str(&json).map_err(|error| damaged(error.to_string())),
        }
    }
}
