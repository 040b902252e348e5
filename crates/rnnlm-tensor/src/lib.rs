//! Matrices on a device: the trait [`Backend`] with about twenty operations, for CPUs and, with the feature `cuda`, NVIDIA
//! GPUs.
//!
//! A [`Backend`] allocates memory and computes. A [`Tensor`] is a row-major matrix of `f32` on a device, and a [`View`] is a
//! block of its rows and columns. The functions in [`ops`] check shapes and write into memory that exists, so a training step
//! allocates nothing. There are no n-dimensional tensors, no broadcasting, no other dtypes and no automatic differentiation;
//! the crate `rnnlm-rnn` contains the gradients.
//!
//! On the CPU, `ndarray` arrays convert to views without copying:
//!
//! ```
//! use rnnlm_tensor::ndarray::{Array2, array};
//! use rnnlm_tensor::{Activation, Cpu, Result, ops};
//!
//! /// `relu(x·Wᵀ + b)`: `x` is `[N, D]`, `weight` `[H, D]` as in PyTorch, `bias` `[1, H]`, the result `[N, H]`.
//! fn layer(cpu: &Cpu, x: &Array2<f32>, weight: &Array2<f32>, bias: &Array2<f32>) -> Result<Array2<f32>> {
//!     let mut y = Array2::zeros((x.nrows(), weight.nrows()));
//!     let out = y.view_mut().try_into()?;
//!     ops::linear(cpu, x.view().try_into()?, weight.view().try_into()?, bias.view().try_into()?, out)?;
//!     ops::activate(cpu, Activation::Relu, y.view_mut().try_into()?)?;
//!     Ok(y)
//! }
//!
//! let cpu = Cpu::new(1)?; // one thread
//! let weight = array![[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]];
//! let y = layer(&cpu, &array![[1.0, 2.0], [5.0, 3.0]], &weight, &array![[0.5, 0.0, 0.0]])?;
//! assert_eq!(y, array![[1.5, 2.0, 0.0], [5.5, 3.0, 2.0]]);
//! # Ok::<(), rnnlm_tensor::Error>(())
//! ```
//!
//! # Reproducibility
//!
//! On every x86-64 CPU with AVX2 and FMA, an operation on the same values gives the same bits, with any number of threads. A
//! row of a result does not depend on the other rows, except where an operation sums over rows. Each sum has one order. `exp`,
//! `ln` and `tanh` come from the crate `libm` or from [`cpu::math`], never from the C library. Code for other CPUs
//! ([`cpu::Isa`]) may have no fused multiply-add and then rounds differently.

mod backend;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
mod layout;
mod operation;
pub mod ops;
mod philox;
mod tensor;
mod update;
mod view;

pub use ndarray;

pub use backend::{Backend, View, ViewMut};
pub use cpu::Cpu;
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use error::{Error, Result};
pub use layout::Layout;
pub use operation::{Activation, Transpose};
pub use philox::{Mask, MaskRows};
pub use tensor::Tensor;
pub use update::Update;

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
