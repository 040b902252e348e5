//! A product and one launch for each step, beside the walk: for layers that no one launch has room for. The product
//! is spread over the whole GPU, and all else of a step is the cell's own arithmetic in one kernel (`step.cu`).

use std::ops::Range;

use rnnlm_tensor::cuda::Matrix;
use rnnlm_tensor::{Cuda, Tensor, Transpose, View, ops};

use super::kernels::{Gates, State, StepKernels};
use super::plan;
use crate::recurrence::{Gradients, Pass};
use crate::{Cell, Dims, Layer, Result, Tape};

/// Compiled kernels, and room for a step.
#[derive(Debug)]
pub(super) struct Stepwise {
    kernels: StepKernels,
    /// `[N, G·H]`: forward `h W_hhᵀ`; backward what `W_hh` is multiplied by, for a GRU.
    products: Tensor<Cuda>,
}

impl Stepwise {
    /// None for a cell that has a second product within its step.
    pub(super) fn plan(cuda: &Cuda, layer: &Layer, dims: Dims) -> Result<Option<Self>> {
        if plan::products(layer.cell) != 1 {
            return Ok(None);
        }
        let products = Tensor::zeros(cuda, dims.batch_size, layer.cell.num_gates() * dims.hidden_size)?;
        Ok(Some(Self { kernels: StepKernels::load(cuda, layer.cell)?, products }))
    }

    /// From the input's share of the gates to the whole tape.
    pub(super) fn forward(&mut self, cuda: &Cuda, pass: &Pass<'_, Cuda>, tape: &mut Tape<Cuda>) -> Result<()> {
        let (weight_hh, bias_hh) =
            (pass.layer.weights(pass.parameters).weight_hh, pass.layer.weights(pass.parameters).bias_hh);
        for t in tape.direction().steps(tape.dims().num_steps) {
            let before = tape.hidden.view().rows(tape.previous(t));
            ops::gemm(cuda, Transpose::NT, before, weight_hh, false, self.products.view_mut())?;
            let (states, taped) = (states(tape, t), gates(tape, t));
            self.kernels.forward(cuda, self.products.view().into(), bias_hh.into(), taped, states)?;
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
        let weight_hh = pass.layer.weights(pass.parameters).weight_hh;
        let is_gru = matches!(pass.layer.cell, Cell::Gru { .. });
        for t in tape.direction().steps(tape.dims().num_steps).rev() {
            let now = tape.step(t);
            let filled = Gates {
                gates: adjoint.gates.view_mut().rows(now.clone()).into(),
                candidate: rows(adjoint.candidate.view(), now.clone()),
            };
            let state = State { hidden: adjoint.hidden.view_mut().into(), cell: adjoint.cell.view_mut().into() };
            let output = gradients.output.rows(now.clone()).into();
            let products = self.products.view_mut().into();
            self.kernels.backward(cuda, gates(tape, t), states(tape, t), output, filled, state, products)?;
            let operand = if is_gru { self.products.view() } else { adjoint.gates.view().rows(now) };
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

/// What the tape has of step `t`.
fn gates(tape: &Tape<Cuda>, t: usize) -> Gates {
    Gates { gates: rows(tape.gates.view(), tape.step(t)), candidate: rows(tape.candidate.view(), tape.step(t)) }
}

/// Rows of a matrix, which may have no columns.
fn rows(view: View<'_, Cuda>, range: Range<usize>) -> Matrix {
    view.rows(range).into()
}
