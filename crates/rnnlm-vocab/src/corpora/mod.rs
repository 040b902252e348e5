//! Named corpora: finding a text by name and verifying its checksum, before stage 1.
//!
//! A corpus is searched for in the folders that the caller gives, in order. It is accepted only if its length and its
//! SHA-1 match its [`CorpusEntry`]. The caller supplies the entries; a [`CorpusList`] deserializes from any serde
//! format.

#[cfg(feature = "download")]
mod download;
mod entry;

#[cfg(feature = "download")]
pub use download::fetch;
pub use entry::{CorpusEntry, CorpusList};
