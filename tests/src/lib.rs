//! How we know that it is right, beside the walk: one table of checks, which `cargo test` asserts and `cargo xtask verify`
//! prints.
//!
//! ```text
//! finite differences on an independent scalar f64 forward        PyTorch golden files (outputs, losses, named gradients)
//!                      └──────────────► reference on CPU ◄──────────────┘
//!                                         │           │
//!                           fused CPU (per ISA)   reference on CUDA
//!                                         └──► fused CUDA ──► training trajectories, same seed
//! ```
//!
//! A [`check::Check`] computes what is expected and what is found as named quantities; [`compare`] is the only place that
//! compares them, [`tolerance`] the only one that says how far they may be apart, [`paths`] the only list of what is
//! verified. A failure names its place: `lstm, forget gate, t = 3, row 1, unit 17: 0.4213 against 0.4219`. The self-test
//! damages a value upstream of each check and requires the check to fail, so that no check is there only for show.
//!
//! # How to add a check
//!
//! 1. **A path** (a backend, an instruction set): an entry in [`paths`]. Operations, layers, golden files and properties
//!    are then held against it; nothing else is needed.
//! 2. **A cell**: `Cell::ALL` brings it into every case; give the [`oracle`] its scalar step, and `generate.py` its files.
//! 3. **A tensor operation**: a variant of [`device::Operation`] with its call, the obvious loop in `checks/naive.rs`, and
//!    the shapes of its operands in `checks/operations.rs`.
//! 4. **Anything else**: a function that returns a [`check::Check`], in the file of its family in `checks/`, called from
//!    that file's `checks`. `expected` must not use what `found` uses; both return the same names and axes.
//! 5. Give it a tolerance of [`tolerance`], or a new one with its reason: about four times what is seen, never above 10⁻⁴.
//! 6. List in `perturbations` at least one damage that `found` does to its own inputs or weights, never to the result, and
//!    run `cargo xtask verify --self-test --filter NAME`: each must turn the check red.
//!
//! ```
//! use rnnlm_tests::compare::{Axis, Quantity, compare};
//!
//! let axes = || vec![Axis::Step(2), Axis::Unit(2)];
//! let expected = Quantity::new("hidden state", axes(), vec![0.0, 0.5, -1.0, 0.25]);
//! let found = Quantity::new("hidden state", axes(), vec![0.0, 0.5, -1.0, 0.5]);
//! let comparison = compare(&expected, &found)?;
//! assert_eq!(comparison.worst_rel, 0.25); // of the largest magnitude, 1
//! assert_eq!(comparison.place, "hidden state, t = 1, unit 1: 0.50000000 against 0.25000000");
//! # Ok::<(), rnnlm_tests::compare::Refusal>(())
//! ```

pub mod cases;
pub mod check;
pub mod checks;
pub mod compare;
pub mod device;
pub mod draw;
pub mod emulated;
mod error;
pub mod gate;
pub mod golden;
pub mod oracle;
pub mod paths;
pub mod perturb;
mod rows;
pub mod run;
pub mod table;
pub mod tolerance;

pub use error::{Error, Result};
