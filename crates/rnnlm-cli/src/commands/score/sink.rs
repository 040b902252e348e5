//! Standard output: results are written in blocks, and flushed after each group of documents.

use std::fmt;
use std::io::{self, Stdout};

use crate::failure::{Failure, Result};
use crate::terminal::Output;

/// Results are written when this many bytes are collected.
const BLOCK_BYTES: usize = 1 << 16;

/// Collects results for standard output.
pub(super) struct Sink {
    block: Vec<u8>,
    out: Output<Stdout>,
}

impl Sink {
    pub(super) fn new() -> Self {
        Self { block: Vec::new(), out: Output::stdout() }
    }

    /// Adds text.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(super) fn add(&mut self, text: fmt::Arguments<'_>) -> Result<()> {
        io::Write::write_fmt(&mut self.block, text).map_err(Failure::StandardStream)?;
        self.write_full_block()
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// As [`Sink::add`].
    pub(super) fn add_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.block.extend_from_slice(bytes);
        self.write_full_block()
    }

    fn write_full_block(&mut self) -> Result<()> {
        if self.block.len() < BLOCK_BYTES { Ok(()) } else { self.flush() }
    }

    /// Writes everything that was added.
    ///
    /// # Errors
    /// As [`Sink::add`].
    pub(super) fn flush(&mut self) -> Result<()> {
        if !self.block.is_empty() {
            self.out.write(&self.block).map_err(Failure::StandardStream)?;
            self.block.clear();
        }
        Ok(())
    }
}
