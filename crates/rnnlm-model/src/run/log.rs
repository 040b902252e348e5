//! `metrics.jsonl`: one line per epoch.
//!
//! A line is appended as soon as its epoch is complete. A save records length and digest of the file in
//! `trainer.safetensors` ([`LogRecord`]). A process that was killed may have left more lines, or a part of one. They are
//! truncated when training resumes, because their epochs are trained again.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::digest::hexadecimal;
use super::disk::Disk;
use super::files::{io_error, open_if_exists, read_start};
use super::record::Metrics;
use crate::{Error, Result};

/// The most bytes of a line; usual lines have about 150.
const MAX_LINE_BYTES: u64 = 1 << 10;
/// The most bytes of the file: a million of the longest lines.
pub(crate) const MAX_LOG_BYTES: u64 = MAX_LINE_BYTES << 20;

/// Length and digest of `metrics.jsonl` when a trainer was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogRecord {
    bytes: u64,
    sha256: String,
}

/// `metrics.jsonl`, open for appending.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    /// Bytes that were written completely.
    written: u64,
    /// Lines that could not be written yet.
    pending: Vec<u8>,
    /// Digest of all lines, pending ones included.
    hasher: Sha256,
}

impl Log {
    /// An empty log.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, written: 0, pending: Vec::new(), hasher: Sha256::new() }
    }

    /// The log of a resumed run. Checks the file against the record of the last save, and truncates what was written later.
    pub(crate) fn resume(disk: &dyn Disk, path: PathBuf, record: &LogRecord) -> Result<Self> {
        let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
        let (hasher, kept, length) = hash_start(&path, record.bytes)?;
        if kept < record.bytes {
            return Err(damaged(format!("it has {kept} of {} bytes", record.bytes)));
        }
        let log = Self { written: kept, hasher, ..Self::new(path.clone()) };
        let found = log.record().sha256;
        if found != record.sha256 {
            let expected = &record.sha256;
            return Err(damaged(format!("its first {kept} bytes have digest {found}, not {expected}")));
        }
        if length > kept {
            let truncated = disk.append(&path).and_then(|file| disk.truncate(&file, kept));
            truncated.map_err(io_error(&path, "written"))?;
        }
        Ok(log)
    }

    /// The log of a resumed run that was saved in format 1, without a record: the lines of the first `epochs` epochs.
    pub(crate) fn resume_unrecorded(disk: &dyn Disk, path: PathBuf, epochs: u64) -> Result<Self> {
        // bounded, because the file may be of any length
        let bytes = read_start(&path, epochs.saturating_mul(MAX_LINE_BYTES))?.unwrap_or_default();
        let mut kept = 0;
        for epoch in 1..=epochs {
            let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
            let length = bytes[kept..].iter().position(|&byte| byte == b'\n');
            let length = length.ok_or_else(|| damaged(format!("it has {} lines of {epochs}", epoch - 1)))?;
            let line: Metrics = serde_json::from_slice(&bytes[kept..kept + length])
                .map_err(|error| damaged(format!("line {epoch}: {error}")))?;
            if line.epoch != epoch {
                return Err(damaged(format!("line {epoch} is of epoch {}", line.epoch)));
            }
            kept += length + 1;
        }
        let mut log = Self::new(path.clone());
        log.hasher.update(&bytes[..kept]);
        log.written = kept as u64;
        let record = log.record();
        Self::resume(disk, path, &record)
    }

    /// Appends a line. A line that cannot be written is pending until the next call or the next save.
    pub(crate) fn add(&mut self, disk: &dyn Disk, line: &str) {
        let start = self.pending.len();
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
        self.hasher.update(&self.pending[start..]);
        let _ = self.flush(disk);
    }

    /// Writes the pending lines.
    fn flush(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut file = disk.append(&self.path)?;
        let length = file.metadata()?.len();
        if length < self.written {
            return Err(io::Error::other(format!("it has {length} of the {} bytes that were written", self.written)));
        }
        if length > self.written {
            // a part of a line, from a write that failed
            disk.truncate(&file, self.written)?;
        }
        disk.write(&mut file, &self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Writes the pending lines and makes the file durable.
    pub(crate) fn sync(&mut self, disk: &dyn Disk) -> Result<()> {
        if self.written == 0 && self.pending.is_empty() {
            return Ok(());
        }
        let flushed = self.flush(disk).and_then(|()| disk.sync(&disk.append(&self.path)?));
        flushed.map_err(io_error(&self.path, "written"))
    }

    /// Length and digest of the file once all lines are written.
    pub(crate) fn record(&self) -> LogRecord {
        let bytes = self.written + self.pending.len() as u64;
        LogRecord { bytes, sha256: hexadecimal(&self.hasher.clone().finalize()) }
    }
}

/// The digest of the first `bytes` bytes of a file, the number of bytes it covers, and the length of the file. A missing file
/// is empty.
fn hash_start(path: &Path, bytes: u64) -> Result<(Sha256, u64, u64)> {
    let mut hasher = Sha256::new();
    let Some((mut file, length)) = open_if_exists(path)? else { return Ok((hasher, 0, 0)) };
    let (mut buffer, mut done) = ([0; 8192], 0);
    while done < bytes {
        let wanted = buffer.len().min(usize::try_from(bytes - done).unwrap_or(usize::MAX));
        match file.read(&mut buffer[..wanted]).map_err(io_error(path, "read"))? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                done += read as u64;
            }
        }
    }
    Ok((hasher, done, length))
}

/// Parses the bytes of the `metrics.jsonl` at `path`.
pub(crate) fn parse_metrics(path: &Path, bytes: &[u8]) -> Result<Vec<Metrics>> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::Damaged { path: path.to_owned(), reason: error.to_string() })?;
    let record = |(index, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| Error::Damaged { path: path.to_owned(), reason: format!("line {}: {error}", index + 1) })
    };
    text.lines().enumerate().map(record).collect()
}
