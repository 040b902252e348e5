//! The cells that have fused CUDA kernels, and all that the host and the kernels need to know of such a cell. A cell
//! that is not in the list has no plan and runs on the reference path.

use rnnlm_tensor::cuda::Program;

use crate::{Cell, Nonlinearity, Operand, RecurrentBlock};

/// Threads of a block of `stepwise.cu`.
pub(super) const STEP_THREADS: u32 = 256;

const ELMAN: &str = include_str!("../../cell/elman/elman.cu");
const GRU: &str = include_str!("../../cell/gru/gru.cu");
const LSTM: &str = include_str!("../../cell/lstm/lstm.cu");
const MIN_GRU: &str = include_str!("../../cell/mingru/mingru.cu");
const MIN_LSTM: &str = include_str!("../../cell/minlstm/minlstm.cu");

/// Every cell with fused kernels.
const FUSED_CELLS: [FusedCell; 7] = [
    FusedCell { cell: Cell::Rnn(Nonlinearity::Tanh), source: ELMAN, constants: &[("RELU", 0)] },
    FusedCell { cell: Cell::Rnn(Nonlinearity::Relu), source: ELMAN, constants: &[("RELU", 1)] },
    FusedCell { cell: Cell::Gru { reset_after: true }, source: GRU, constants: &[] },
    FusedCell { cell: Cell::Gru { reset_after: false }, source: GRU, constants: &[] },
    FusedCell { cell: Cell::Lstm, source: LSTM, constants: &[] },
    FusedCell { cell: Cell::MinGru, source: MIN_GRU, constants: &[] },
    FusedCell { cell: Cell::MinLstm, source: MIN_LSTM, constants: &[] },
];

/// A cell with fused kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FusedCell {
    cell: Cell,
    /// `forward_step` and `backward_step` of one unit.
    source: &'static str,
    /// Constants of `source` alone.
    constants: &'static [(&'static str, usize)],
}

impl FusedCell {
    /// `None` for a cell without fused kernels.
    pub(super) fn of(cell: Cell) -> Option<Self> {
        Self::all().find(|fused| fused.cell == cell)
    }

    /// Every cell with fused kernels.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        FUSED_CELLS.into_iter()
    }

    pub(super) fn name(self) -> &'static str {
        self.cell.name()
    }

    /// **G**, the number of gates.
    pub(super) fn num_gates(self) -> usize {
        self.cell.num_gates()
    }

    /// Matrix multiplications with `W_hh` in a step: two if the operand of the last gate depends on the other gates, and none
    /// for a cell without `W_hh`.
    pub(super) fn recurrent_matmuls(self) -> usize {
        let needs_gates = |block: &RecurrentBlock| block.operand == Operand::Candidate;
        match self.cell.recurrent_blocks() {
            [] => 0,
            blocks if blocks.iter().any(needs_gates) => 2,
            _ => 1,
        }
    }

    /// Whether the tape has activated gates.
    fn stores_gates(self) -> bool {
        self.cell.storage().gates
    }

    /// Whether the tape has cell states.
    fn stores_cell(self) -> bool {
        self.cell.storage().cell_state
    }

    /// Whether the tape has a candidate.
    fn stores_candidate(self) -> bool {
        self.cell.storage().candidate
    }

    /// Whether the last gate's matmul with `W_hh` has another gradient than its pre-activation, and the adjoint has
    /// both.
    pub(super) fn stores_d_candidate(self) -> bool {
        self.cell.recurrent_blocks().iter().any(|block| !block.shares_input_bias)
    }

    /// The program whose kernels compute one step each.
    pub(super) fn step_program(self) -> Program {
        self.program(format!("{}, stepwise", self.name()), &[include_str!("stepwise.cu")], [])
    }

    /// The program with the kernels of `sources`, which call the cell's functions.
    pub(super) fn program<const N: usize>(
        self,
        name: String,
        sources: &[&'static str],
        constants: [(&'static str, usize); N],
    ) -> Program {
        let own = [
            ("GATES", self.num_gates()),
            ("RECURRENT_MATMULS", self.recurrent_matmuls()),
            ("STORES_GATES", usize::from(self.stores_gates())),
            ("STORES_CELL", usize::from(self.stores_cell())),
            ("STORES_CANDIDATE", usize::from(self.stores_candidate())),
            ("STORES_D_CANDIDATE", usize::from(self.stores_d_candidate())),
        ];
        let all = own.into_iter().chain(constants).chain(self.constants.iter().copied());
        Program {
            name,
            sources: [&[include_str!("unit.cuh"), self.source], sources].concat(),
            constants: all.map(|(name, value)| (name, value.to_string())).collect(),
            block_size: STEP_THREADS,
            shared_bytes: 0,
            is_optional: false,
        }
    }
}
