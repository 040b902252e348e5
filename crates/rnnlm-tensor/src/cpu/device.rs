//! The CPU backend: a thread pool and an instruction set.

use std::sync::Arc;

use super::isa::Isa;
use crate::{Error, Result};

/// A CPU with its own thread pool.
#[derive(Clone, Debug)]
pub struct Cpu {
    pub(super) pool: Arc<rayon::ThreadPool>,
    pub(super) isa: Isa,
}

impl Cpu {
    /// A pool of `threads` threads, or of one thread per core if `threads` is 0.
    ///
    /// # Errors
    /// If the operating system cannot start the threads.
    pub fn new(threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("rnnlm-{index}"))
            .build()
            .map_err(|error| Error::Threads { threads, reason: error.to_string() })?;
        Ok(Self { pool: Arc::new(pool), isa: Isa::detect() })
    }

    /// The same CPU with another instruction set, so that tests can cover each one.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// The instruction set that vectorised code uses.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of threads in the pool.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}
