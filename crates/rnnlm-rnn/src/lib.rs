//! Recurrent layers, `torch.nn.{RNN,GRU,LSTM}`, minGRU and minLSTM, with backpropagation through time written out by hand.
//!
//! Symbols: **T** steps, **N** batch size, **D** input size, **H** hidden size, **G** gates, **L** layers, **V** vocabulary
//! size. A sequence `[T, N, D]` is a matrix of `T·N` rows, so that step *t* is a block of rows and a gate is a block of
//! columns.
//!
//! Where to start reading: the equations are in [`cell`], the loop over time is in
//! `recurrence/reference.rs`, and [`Stack`] connects the layers. [`Cell::storage`] and [`Cell::recurrent_blocks`] describe a
//! cell as data; tapes, packed weights, plans and gradients are derived from them.
//!
//! The example of *Dive into Deep Learning* (8.6 in the Chinese edition, 9.6 in the English one): an input `[35, 32, 28]` and
//! a state `[1, 32, 256]` give an output `[35, 32, 256]` and a new state `[1, 32, 256]`.
//!
//! ```
//! use rnnlm_rnn::{Cell, ExecutionPath, Input, Nonlinearity, ParameterLayout, ParameterSet, Stack, StackConfig};
//! use rnnlm_tensor::{Backend, Cpu};
//!
//! let cpu = Cpu::new(1)?;
//! let cell = Cell::Rnn(Nonlinearity::Tanh);
//! let config = StackConfig { cell, input_size: 28, hidden_size: 256, num_layers: 1, bidirectional: false, residual: false };
//! let mut layout = ParameterLayout::default();
//! let stack = Stack::new(&mut layout, config)?;
//! let parameters = ParameterSet::zeros(&cpu, &layout)?;
//! let mut state = stack.zero_state(&cpu, 32)?;
//! let mut memory = stack.memory(&cpu, ExecutionPath::Reference, [35, 32])?;
//! let ids = cpu.allocate_indices(35 * 32)?; // one-hot rows, never written out
//! stack.forward(&cpu, &parameters, Input::OneHot(&ids), &mut state, &mut memory)?;
//! assert_eq!(stack.output(&memory).shape(), [35 * 32, 256]);
//! assert_eq!(state.hidden.shape(), [32, 256]); // one layer of 32 rows
//! assert_eq!(layout.specs()[1].name, "rnn.weight_hh_l0");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cell;
mod config;
mod direction;
mod error;
mod layer;
mod memory;
mod memory_size;
mod operands;
mod parameters;
mod recurrence;
mod shards;
mod stack;
mod starts;
mod structure;
mod tape;

pub use cell::{Cell, Nonlinearity};
pub use config::StackConfig;
pub use direction::Direction;
pub use error::{Error, Result};
pub use layer::{Layer, RecurrentParameters};
pub use memory::{StackMemory, State};
pub use memory_size::{StackBytes, StackUse};
pub use operands::{Input, Weights};
pub use parameters::{ParameterId, ParameterLayout, ParameterSet, ParameterSpec};
#[cfg(feature = "cuda")]
pub use recurrence::cuda::programs as cuda_programs;
pub use recurrence::{DroppedWeight, ExecutionPath, Gradients, Pass, Recurrence};
pub use shards::ShardRows;
pub use stack::Stack;
pub use structure::{Operand, RecurrentBlock, Storage, Widths};
pub use tape::{Adjoint, Dims, Tape};

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
