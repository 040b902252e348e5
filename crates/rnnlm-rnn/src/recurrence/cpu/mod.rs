//! The fused path of the CPU. The rows of a minibatch are independent through time, so each group of rows runs through all
//! steps, forward and then backward, without waiting for another group. A step is one or two multiplications with packed
//! weights and the cell's pointwise part between them (`cell/NAME/cpu.rs`); without recurrent weights it is the latter alone.
//!
//! The arithmetic of a row does not depend on its group. The size of the groups may therefore follow the number of threads,
//! and a thread may take half of another thread's group between two steps (`rnnlm_tensor::cpu::work_splitting`), without changing a bit. Sums
//! over rows (`∂W`, `∂b`) are computed afterwards, in one order.

mod packed_weights;
mod plan;
mod rows;
mod step;

pub(crate) use step::{BackwardStep, ForwardStep, FusedCell, Strides};

/// Units whose gates a backward step copies at a time before gradients overwrite them; mostly a whole row.
pub(crate) const BACKWARD_CHUNK: usize = 512;
