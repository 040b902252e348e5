//! The sizes of a stack.

use crate::Cell;

/// The sizes of a stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StackConfig {
    /// The cell of every layer.
    pub cell: Cell,
    /// **D** of the lowest layer.
    pub input_size: usize,
    /// **H** of every layer and direction.
    pub hidden_size: usize,
    /// **L**.
    pub num_layers: usize,
    /// Whether each layer has a second direction, which reads the sequence in reverse.
    pub bidirectional: bool,
    /// Whether each layer but the lowest adds its input to its output: `y = layer(x) + x`, with `x` after dropout.
    pub residual: bool,
}

impl StackConfig {
    /// 1, or 2 for a bidirectional stack.
    pub fn num_directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// Whether the output of a layer is more than the hidden states of one direction.
    pub(crate) fn has_joined_outputs(&self) -> bool {
        self.bidirectional || self.residual
    }

    /// The features of the stack's output: `directions · H`.
    pub fn output_size(&self) -> usize {
        self.num_directions() * self.hidden_size
    }
}
