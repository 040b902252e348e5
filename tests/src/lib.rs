//! The verification package: one table of checks, which `cargo test` asserts and `cargo xtask verify` prints.
//!
//! ```text
//! finite differences on an independent scalar f64 forward        PyTorch golden files (outputs, losses, named gradients)
//!                      └──────────────► reference on CPU ◄──────────────┘
//!                                         │           │
//!                           fused CPU (per ISA)   reference on CUDA
//!                                         └──► fused CUDA ──► training trajectories, same seed
//! ```
//!
//! A [`check::Check`] computes an expected and an actual result as named quantities. Only [`compare`] compares them, only
//! [`tolerance`] defines how much they may differ, and only [`paths`] lists what is verified. A failure names the element:
//! `lstm, forget gate, t = 3, row 1, unit 17: 0.4213 against 0.4219`. The self-test changes a value upstream of each check
//! and requires the check to fail, so every check is able to fail.
//!
//! # How to add a check
//!
//! 1. **For a path** (a backend or an instruction set): add an entry to [`paths`]. It is then compared on all operations,
//!    layers, golden files and properties.
//! 2. **For a cell**: `Cell::ALL` adds it to every case. Add its scalar step to the [`oracle`] and its files to
//!    `generate.py`.
//! 3. **For a tensor operation**: add a variant of [`device::Operation`] with its call, a plain loop in `checks/naive.rs`, and
//!    the shapes of its operands in `checks/operations.rs`.
//! 4. **For anything else**: write a function that returns a [`check::Check`], in the file of its family in `checks/`, and
//!    call it from that file's `checks`. `expected` must not use the code that `found` uses; both return the same names and
//!    axes.
//! 5. Choose a constant of [`tolerance`] or add one with its reason: about four times the observed error, at most 10⁻⁴.
//! 6. List at least one entry in `perturbations`: a change that `found` makes to its own inputs or weights, never to the
//!    result. Run `cargo xtask verify --self-test --filter NAME`; the check must fail with each of them.
//!
//! ```
//! use rnnlm_tests::compare::{Axis, Quantity, compare};
//!
//! let axes = || vec![Axis::Step(2), Axis::Unit(2)];
//! let expected = Quantity::new("hidden state", axes(), vec![0.0, 0.5, -1.0, 0.25]);
//! let found = Quantity::new("hidden state", axes(), vec![0.0, 0.5, -1.0, 0.5]);
//! let comparison = compare(&expected, &found)?;
//! assert_eq!(comparison.worst_rel, 0.25); // of the largest magnitude, 1
//! assert_eq!(comparison.location, "hidden state, t = 1, unit 1: 0.50000000 against 0.25000000");
//! # Ok::<(), rnnlm_tests::compare::Mismatch>(())
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
