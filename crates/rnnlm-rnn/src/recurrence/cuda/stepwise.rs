//! The stepwise path, a matmul and a launch per step, for layers that are too large for a single launch. The matmul
//! uses the whole GPU; one kernel computes the rest of the step (`stepwise.cu`). A cell without recurrent weights has no
//! matmul.

use std::ops::Range;

use rnnlm_tensor::cuda::Matrix;
use rnnlm_tensor::{Cuda, Tensor, Transpose, View, ops};

use super::fused_cell::FusedCell;
use super::kernels::{Gates, State, StepKernels};
use crate::recurrence::{Gradients, Pass};
use crate::{Dims, Result, Tape};

/// The compiled kernels and the memory for a step.
#[derive(Debug)]
pub(super) struct Stepwise {
    cell: FusedCell,
    kernels: StepKernels,
    /// `[N, G·H]`: `h W_hhᵀ` in the forward pass. In the backward pass the left operand of the matmul with `W_hh`, if
    /// that differs from the gradients of the gates. No columns for a cell without recurrent weights.
    recurrent: Tensor<Cuda>,
}

impl Stepwise {
    /// `None` for a cell with two recurrent matmuls in a step.
    pub(super) fn plan(cuda: &Cuda, cell: FusedCell, dims: Dims) -> Result<Option<Self>> {
        if cell.recurrent_matmuls() > 1 {
            return Ok(None);
        }
        let kernels = StepKernels::load(cuda, cell)?;
        let width = cell.recurrent_matmuls() * cell.num_gates() * dims.hidden_size;
        let recurrent = Tensor::zeros(cuda, dims.batch_size, width)?;
        Ok(Some(Self { cell, kernels, recurrent }))
    }

    /// From the input's contribution to the gates to the whole tape.
    pub(super) fn forward(&mut self, cuda: &Cuda, pass: &Pass<'_, Cuda>, tape: &mut Tape<Cuda>) -> Result<()> {
        let weight_hh = pass.weights().weight_hh;
        let bias_hh = pass.weights().bias_hh;
        for t in tape.direction().steps(tape.dims().num_steps) {
            if self.cell.recurrent_matmuls() > 0 {
                let before = tape.hidden.view().rows(tape.previous(t));
                ops::gemm(cuda, Transpose::NT, before, weight_hh, false, self.recurrent.view_mut())?;
            }
            self.kernels.forward(self.recurrent.view().into(), bias_hh.into(), gates(tape, t), states(tape, t))?;
        }
        Ok(())
    }

    /// Fills the adjoint.
    pub(super) fn backward(
        &mut self,
        cuda: &Cuda,
        pass: &Pass<'_, Cuda>,
        tape: &Tape<Cuda>,
        gradients: &mut Gradients<'_, Cuda>,
    ) -> Result<()> {
        let adjoint = &mut *gradients.adjoint;
        let weight_hh = pass.weights().weight_hh;
        for t in tape.direction().steps(tape.dims().num_steps).rev() {
            let now = tape.step(t);
            let d_gates = Gates {
                gates: adjoint.gates.view_mut().rows(now.clone()).into(),
                candidate: rows(adjoint.candidate.view(), now.clone()),
            };
            let d_state = State { hidden: adjoint.hidden.view_mut().into(), cell: adjoint.cell.view_mut().into() };
            let output = gradients.output.rows(now.clone()).into();
            let d_recurrent = self.recurrent.view_mut().into();
            self.kernels.backward(gates(tape, t), states(tape, t), output, d_gates, d_state, d_recurrent)?;
            if self.cell.recurrent_matmuls() == 0 {
                continue;
            }
            let operand =
                if self.cell.stores_d_candidate() { self.recurrent.view() } else { adjoint.gates.view().rows(now) };
            ops::gemm(cuda, Transpose::NN, operand, weight_hh, true, adjoint.hidden.view_mut())?;
        }
        Ok(())
    }
}

/// The states before and after step `t`.
fn states(tape: &Tape<Cuda>, t: usize) -> [State; 2] {
    let state = |range: Range<usize>| State {
        hidden: rows(tape.hidden.view(), range.clone()),
        cell: rows(tape.cell.view(), range),
    };
    [state(tape.previous(t)), state(tape.next(t))]
}

/// Gates and candidate of step `t`.
fn gates(tape: &Tape<Cuda>, t: usize) -> Gates {
    Gates { gates: rows(tape.gates.view(), tape.step(t)), candidate: rows(tape.candidate.view(), tape.step(t)) }
}

/// Rows of a matrix, which may have no columns.
fn rows(view: View<'_, Cuda>, range: Range<usize>) -> Matrix {
    view.rows(range).into()
}
