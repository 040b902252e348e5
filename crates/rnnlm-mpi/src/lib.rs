//! [`rnnlm_model::Collective`] through an MPI library that is opened at run time.
//!
//! | file | |
//! |---|---|
//! | `launcher.rs` | which launcher started the process, and as which rank |
//! | `library.rs` | where its MPI library is |
//! | `ffi.rs` | the functions of the library in three ABIs; all `unsafe` code |
//! | `mpi.rs` | [`Mpi`]: gathers bytes, and ends the job if a rank does not answer |
//!
//! ```
//! use rnnlm_mpi::Launcher;
//!
//! let hydra = |name: &str| match name {
//!     "PMI_RANK" => Some("1".to_owned()),
//!     "PMI_SIZE" => Some("4".to_owned()),
//!     _ => None,
//! };
//! let launcher = Launcher::detect(&hydra).expect("a process of mpiexec");
//! assert_eq!((launcher.rank, launcher.size), (1, 4));
//! // outside of a launcher
//! assert!(Launcher::detect(&|_| None).is_none());
//! ```

mod error;
mod ffi;
mod launcher;
mod library;
mod mpi;

pub use error::{Error, Result};
pub use launcher::{Family, Launcher, is_torchrun};
pub use mpi::{Mpi, Options};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
