//! Matrices on a device: one trait, some twenty operations, and nothing that a recurrent language model does not need.
//!
//! This is the floor of the house. A [`Backend`] holds memory and computes; a [`Tensor`] is a row-major matrix of `f32`
//! on it; a [`View`] is a block of its rows and columns. There are no broadcasts, no dtypes, no graph and no automatic
//! differentiation: gradients are written out by hand, one crate above. Operations ([`ops`]) write into memory that
//! exists already, so that a training step allocates nothing.
//!
//! ```
//! use rnnlm_tensor::{Cpu, Transpose, Tensor, ops};
//!
//! let cpu = Cpu::new(1)?;
//! let x = Tensor::from_slice(&cpu, 1, 2, &[1.0, 2.0])?; // one row of two features
//! let weight = Tensor::from_slice(&cpu, 3, 2, &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0])?; // PyTorch's layout: [out, in]
//! let mut y = Tensor::zeros(&cpu, 1, 3)?;
//! ops::gemm(&cpu, Transpose::NT, x.view(), weight.view(), false, y.view_mut())?; // y = x·Wᵀ
//! assert_eq!(y.to_vec(&cpu)?, [1.0, 2.0, 3.0]);
//! # Ok::<(), rnnlm_tensor::Error>(())
//! ```
//!
//! **Invariant:** the same operation on the same values gives the same bits on one machine, whatever the number of
//! threads: work is split by size alone, and sums have one order.

mod backend;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
pub mod ops;
mod philox;
mod tensor;
mod update;

pub use backend::{Activation, Backend, Transpose};
pub use cpu::Cpu;
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use error::{Error, Result};
pub use philox::Mask;
pub use tensor::{Layout, Tensor, View, ViewMut};
pub use update::Update;
