//! `metrics.jsonl`: one line per epoch, and within long epochs one for every thousand minibatches.
//!
//! A line is appended as soon as its minibatches are complete. A save records length and digest of the file in
//! `trainer.safetensors` ([`LogRecord`]). A process that was killed may have left more lines, or a part of one. They are
//! truncated when training resumes, because their minibatches are trained again.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::digest::hexadecimal;
use super::disk::Disk;
use super::files::{io_error, open_if_exists, read_start, replace_by_copy};
use super::links::{has_hard_links, mode_of_new};
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

    /// Checks that the file at `path` starts with the lines of a record. Returns its log without the lines after them, and its
    /// length.
    fn start(path: &Path, record: &LogRecord) -> Result<(Self, u64)> {
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let (hasher, kept, length) = hash_start(path, record.bytes)?;
        if kept < record.bytes {
            return Err(damaged(format!("it has {kept} of {} bytes", record.bytes)));
        }
        let log = Self { written: kept, hasher, ..Self::new(path.to_owned()) };
        let found = log.record().sha256;
        if found != record.sha256 {
            let expected = &record.sha256;
            return Err(damaged(format!("its first {kept} bytes have digest {found}, not {expected}")));
        }
        Ok((log, length))
    }

    /// Checks that the file at `path` starts with the lines of a record.
    pub(crate) fn check(path: &Path, record: &LogRecord) -> Result<()> {
        Self::start(path, record).map(drop)
    }

    /// The log of a resumed run. Checks the file against the record of the last save, and truncates what was written later.
    pub(crate) fn resume(disk: &dyn Disk, path: PathBuf, record: &LogRecord) -> Result<Self> {
        let (log, length) = Self::start(&path, record)?;
        if length > log.written {
            let kept = log.written;
            let truncated = log.open(disk).and_then(|file| disk.truncate(&file, kept));
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

    /// Adds a line, which is pending until [`Log::try_flush`] or [`Log::sync`] writes it. A line that would make the file too
    /// long to be read is dropped.
    pub(crate) fn add(&mut self, line: &str) {
        let start = self.pending.len();
        let length = self.written.saturating_add((start + line.len() + 1) as u64);
        if length > MAX_LOG_BYTES {
            return;
        }
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
        self.hasher.update(&self.pending[start..]);
    }

    /// Writes the pending lines. If that fails, they stay pending.
    pub(crate) fn try_flush(&mut self, disk: &dyn Disk) {
        let _ = self.flush(disk);
    }

    /// Changes the path after the file was moved.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Writes the pending lines.
    fn flush(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut file = self.open(disk)?;
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

    /// Opens the file for appending. It is created for the first line. If it is a link, or has other names as in a copy made of
    /// hard links, a copy of its lines replaces it first, so that the other file does not change.
    fn open(&self, disk: &dyn Disk) -> io::Result<File> {
        match self.path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.written == 0 => {
                return disk.create(&self.path, mode_of_new(&self.path));
            }
            Ok(metadata) if metadata.is_symlink() || has_hard_links(&metadata) => {
                replace_by_copy(disk, &self.path, self.written)?;
            }
            _ => {}
        }
        disk.append(&self.path)
    }

    /// Writes the pending lines and makes the file durable.
    pub(crate) fn sync(&mut self, disk: &dyn Disk) -> Result<()> {
        if self.written == 0 && self.pending.is_empty() {
            return Ok(());
        }
        let flushed = self.flush(disk).and_then(|()| disk.sync(&self.open(disk)?));
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
    let done = hash_next(&mut file, bytes, &mut hasher).map_err(io_error(path, "read"))?;
    Ok((hasher, done, length))
}

/// Adds the next `bytes` bytes of a file to a digest. Returns their number, which is smaller at the end of the file.
fn hash_next(file: &mut File, bytes: u64, hasher: &mut Sha256) -> io::Result<u64> {
    let (mut buffer, mut done) = ([0; 8192], 0);
    while done < bytes {
        let wanted = buffer.len().min(usize::try_from(bytes - done).unwrap_or(usize::MAX));
        match file.read(&mut buffer[..wanted])? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                done += read as u64;
            }
        }
    }
    Ok(done)
}

/// For each record, whether the file at `path` starts with its lines, and they are not more than those of `current`.
pub(crate) fn matching_records(path: &Path, current: &LogRecord, records: &[LogRecord]) -> Result<Vec<bool>> {
    let mut matches = vec![false; records.len()];
    let mut order: Vec<usize> = (0..records.len()).filter(|&index| records[index].bytes <= current.bytes).collect();
    order.sort_unstable_by_key(|&index| records[index].bytes);
    let mut file = open_if_exists(path)?.map(|(file, _)| file);
    let (mut hasher, mut done) = (Sha256::new(), 0);
    for index in order {
        let LogRecord { bytes, sha256 } = &records[index];
        if let Some(file) = &mut file {
            done += hash_next(file, bytes - done, &mut hasher).map_err(io_error(path, "read"))?;
        }
        if done < *bytes {
            break;
        }
        matches[index] = hexadecimal(&hasher.clone().finalize()) == *sha256;
    }
    Ok(matches)
}

/// Parses the bytes of the `metrics.jsonl` at `path`. A line without an end is not complete: it is being written, or the process
/// that wrote it was killed.
pub(crate) fn parse_metrics(path: &Path, bytes: &[u8]) -> Result<Vec<Metrics>> {
    let complete = bytes.iter().rposition(|&byte| byte == b'\n').map_or(&[][..], |end| &bytes[..end]);
    let text = std::str::from_utf8(complete)
        .map_err(|error| Error::Damaged { path: path.to_owned(), reason: error.to_string() })?;
    let record = |(index, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| Error::Damaged { path: path.to_owned(), reason: format!("line {}: {error}", index + 1) })
    };
    text.lines().enumerate().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_does_not_grow_beyond_the_length_that_is_read() {
        let mut log = Log::new(PathBuf::from("metrics.jsonl"));
        log.written = MAX_LOG_BYTES - 10;
        log.add("123456789");
        assert_eq!(log.record().bytes, MAX_LOG_BYTES);
        log.add("");
        assert_eq!(log.record().bytes, MAX_LOG_BYTES);
    }
}
