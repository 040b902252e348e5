//! One step of the fused path for some rows of the batch: what a cell's fused code receives.

use std::fmt::Debug;
use std::ops::Range;

use rnnlm_tensor::Cpu;
use rnnlm_tensor::cpu::Isa;
use rnnlm_tensor::cpu::matmul::{Epilogue, MatRef};

use super::packed_weights::PackedWeights;
use crate::operands::Input;

/// The fused step of a cell: multiplications with packed weights, if it has any, and the pointwise part between them.
pub(crate) trait FusedCell: Debug + Send + Sync {
    /// The gates and states of a step from the states before it. A dense input's pre-activations are in the gates already, or
    /// in the hidden state if the cell stores no gates.
    fn forward(&self, step: ForwardStep<'_>);

    /// The gradients of the gates, and of the states before the step.
    fn backward(&self, step: BackwardStep<'_>);
}

/// Distances between rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strides {
    /// **H**.
    pub(crate) hidden_size: usize,
    /// Of hidden states, cell states, candidates and their gradients.
    pub(crate) state: usize,
    /// Of the gates and their gradients.
    pub(crate) gates: usize,
}

/// The memory of a forward step: `m` rows of each matrix, with the padding of each row.
pub(crate) struct ForwardStep<'a> {
    pub(crate) context: ForwardContext<'a>,
    /// `[m, G·H]`.
    pub(crate) gates: &'a mut [f32],
    /// `[m, H]`.
    pub(crate) hidden_before: &'a [f32],
    /// `[m, H]`.
    pub(crate) hidden: &'a mut [f32],
    /// `[m, H]`.
    pub(crate) cell_before: &'a [f32],
    /// `[m, H]`.
    pub(crate) cell: &'a mut [f32],
    /// `[m, H]`.
    pub(crate) candidate: &'a mut [f32],
}

/// The weights and input of a forward step.
#[derive(Clone)]
pub(crate) struct ForwardContext<'a> {
    pub(crate) isa: Isa,
    pub(crate) strides: Strides,
    pub(super) weights: &'a PackedWeights,
    pub(super) input: Input<'a, Cpu>,
    /// The rows of this step in a matrix of `T·N` rows.
    pub(super) rows: Range<usize>,
}

impl ForwardContext<'_> {
    /// The pre-activations of a block's gates: the input's term plus `operand · blockᵀ`. `out` starts at the block's first
    /// column.
    pub(crate) fn pre_activations(&self, block: usize, operand: &[f32], out: &mut [f32], stride: usize) {
        let block = &self.weights.blocks[block];
        let operand = MatRef::row_major(operand, self.strides.state);
        let (accumulate, epilogue) = match self.input {
            Input::OneHot(ids) => (false, self.weights.gather(&ids[self.rows.clone()], block.first_column())),
            Input::Dense(_) => (true, Epilogue::None),
        };
        block.forward.multiply(self.rows.len(), operand, out, stride, accumulate, epilogue);
    }

    /// `operand · blockᵀ` plus the block's own bias, for a block that does not share the input's bias.
    pub(crate) fn candidate(&self, block: usize, operand: &[f32], out: &mut [f32]) {
        let operand = MatRef::row_major(operand, self.strides.state);
        let bias = Epilogue::Bias(&self.weights.candidate_bias);
        self.weights.blocks[block].forward.multiply(self.rows.len(), operand, out, self.strides.state, false, bias);
    }

    /// The input's term of some columns of the gates, for those whose pre-activation is the input's term alone: a block that
    /// does not share the input's bias, or a cell without blocks. A dense input's term is there already.
    pub(crate) fn input_term(&self, columns: Range<usize>, gates: &mut [f32]) {
        let Input::OneHot(ids) = self.input else { return };
        for (gates, &id) in gates.chunks_exact_mut(self.strides.gates).zip(&ids[self.rows.clone()]) {
            gates[columns.clone()].copy_from_slice(&self.weights.table_row(id)[columns.clone()]);
        }
    }
}

/// The memory of a backward step: `m` rows of each matrix, with the padding of each row.
pub(crate) struct BackwardStep<'a> {
    pub(crate) context: BackwardContext<'a>,
    /// `[m, G·H]`: activated gates, which become the gradients of their pre-activations; for a cell that stores no gates, only
    /// the latter.
    pub(crate) gates: &'a mut [f32],
    /// `[m, H]`.
    pub(crate) hidden_before: &'a [f32],
    /// `[m, H]`.
    pub(crate) hidden: &'a [f32],
    /// `[m, H]`.
    pub(crate) cell_before: &'a [f32],
    /// `[m, H]`.
    pub(crate) cell: &'a [f32],
    /// `[m, H]`.
    pub(crate) candidate: &'a [f32],
    /// `[m, H]`: the gradient of the hidden state after the step, which becomes that of the state before.
    pub(crate) grad_hidden: &'a mut [f32],
    /// `[m, H]`: likewise of the cell state.
    pub(crate) grad_cell: &'a mut [f32],
    /// `[m, H]`.
    pub(crate) grad_candidate: &'a mut [f32],
    /// `[m, H]`.
    pub(crate) scratch: &'a mut [f32],
}

/// The weights of a backward step.
#[derive(Clone, Copy)]
pub(crate) struct BackwardContext<'a> {
    pub(crate) isa: Isa,
    pub(crate) strides: Strides,
    pub(super) weights: &'a PackedWeights,
    pub(super) m: usize,
    /// Whether the gradient of the state before the step is needed: not for the first step, unless it is requested.
    pub(super) needs_previous: bool,
}

impl BackwardContext<'_> {
    /// `out = gradient · block`, added to `out` if `accumulate`. `stride` is that of `gradient`, which starts at the block's
    /// first column.
    pub(crate) fn operand_gradient(
        &self,
        block: usize,
        gradient: &[f32],
        stride: usize,
        out: &mut [f32],
        accumulate: bool,
    ) {
        let gradient = MatRef::row_major(gradient, stride);
        let backward = &self.weights.blocks[block].backward;
        backward.multiply(self.m, gradient, out, self.strides.state, accumulate, Epilogue::None);
    }

    /// [`BackwardContext::operand_gradient`] for a block that multiplies the hidden state; skipped where the gradient of the
    /// state before the step is not needed.
    pub(crate) fn hidden_gradient(
        &self,
        block: usize,
        gradient: &[f32],
        stride: usize,
        out: &mut [f32],
        accumulate: bool,
    ) {
        if self.needs_previous {
            self.operand_gradient(block, gradient, stride, out, accumulate);
        }
    }
}
