//! The error type of this crate.

use std::path::PathBuf;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// MPI that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No library was found.
    #[error("{launcher} started {size} processes, and none of its MPI libraries was found: {}", tried.join(", "))]
    NotFound {
        /// The launcher.
        launcher: &'static str,
        /// Processes that it started.
        size: usize,
        /// The names that were tried.
        tried: Vec<String>,
    },
    /// A library that cannot be opened.
    #[error("`{}` cannot be opened: {reason}", path.display())]
    Open {
        /// The library.
        path: PathBuf,
        /// The loader's message.
        reason: String,
    },
    /// A library without a function of MPI.
    #[error("`{}` is not an MPI library: it has no `{function}`", path.display())]
    Symbol {
        /// The library.
        path: PathBuf,
        /// The function.
        function: &'static str,
    },
    /// A launcher and a library that do not belong together: each process would train alone.
    #[error(
        "{launcher} started {started} processes, and `{}` ({version}) reports {found}: the launcher belongs to another MPI",
        path.display()
    )]
    OtherLauncher {
        /// The launcher.
        launcher: &'static str,
        /// Processes that it started.
        started: usize,
        /// Ranks of the library.
        found: usize,
        /// The library.
        path: PathBuf,
        /// The version that the library reports.
        version: String,
    },
    /// A library that cannot be called from several threads, one at a time.
    #[error("`{}` has thread level {found}, training needs {needed} (MPI_THREAD_SERIALIZED)", path.display())]
    Threads {
        /// The library.
        path: PathBuf,
        /// The level that it provides.
        found: i32,
        /// The level that is needed.
        needed: i32,
    },
    /// A function of MPI that failed.
    #[error("{function} failed: {message}")]
    Call {
        /// The function.
        function: &'static str,
        /// The message of the library.
        message: String,
    },
    /// A system on which MPI is not supported.
    #[error("MPI is supported on Unix only")]
    Unsupported,
}
