//! All steps in one launch whose blocks share out the weights, beside the walk: each has a slice of the units and a group of
//! rows, and tells the others what it has computed (`spread.cu`). For layers whose weights fit in no multiprocessor, but in
//! the registers and shared memory of all.

use rnnlm_tensor::{Cuda, Tensor};

use super::kernels::{Extent, Filled, SpreadKernels, Taped};
use super::slices::Spreading;
use crate::recurrence::{Gradients, Pass};
use crate::{Dims, Layer, Result, Tape};

/// Compiled kernels, and what their blocks exchange.
#[derive(Debug)]
pub(super) struct Spread {
    spreading: Spreading,
    kernels: SpreadKernels,
    /// Two numbers a letter, whose stamps count on from launch to launch.
    letters: Tensor<Cuda>,
    /// The last stamp of each block.
    clocks: Tensor<Cuda>,
}

impl Spread {
    /// None for a layer that cannot be spread over this device, or need not be.
    pub(super) fn plan(cuda: &Cuda, layer: &Layer, dims: Dims) -> Result<Option<Self>> {
        if !cuda.runs_blocks_at_once()? {
            return Ok(None);
        }
        let Some(spreading) = Spreading::choose(layer.cell, dims, cuda.multiprocessors()?, cuda.shared_bytes()?) else {
            return Ok(None);
        };
        Ok(Some(Self {
            spreading,
            kernels: SpreadKernels::load(cuda, &spreading.slicing)?,
            letters: Tensor::zeros(cuda, spreading.letters(), 2)?,
            clocks: Tensor::zeros(cuda, spreading.groups, spreading.slices)?,
        }))
    }

    /// From the input's share of the gates to the whole tape.
    pub(super) fn forward(&mut self, cuda: &Cuda, pass: &Pass<'_, Cuda>, tape: &mut Tape<Cuda>) -> Result<()> {
        let extent = Extent { dims: tape.dims(), direction: tape.direction() };
        let weights = pass.layer.weights(pass.parameters);
        let parameters = [weights.weight_hh, weights.bias_hh];
        let exchange = [self.letters.view_mut(), self.clocks.view_mut()];
        self.kernels.forward(cuda, &self.spreading, parameters, extent, exchange, Taped::of_mut(tape))
    }

    /// Fills the adjoint.
    pub(super) fn backward(
        &mut self,
        cuda: &Cuda,
        pass: &Pass<'_, Cuda>,
        tape: &Tape<Cuda>,
        gradients: &mut Gradients<'_, Cuda>,
    ) -> Result<()> {
        let extent = Extent { dims: tape.dims(), direction: tape.direction() };
        let weight_hh = pass.layer.weights(pass.parameters).weight_hh;
        let exchange = [self.letters.view_mut(), self.clocks.view_mut()];
        let (taped, filled) = (Taped::of(tape), Filled::of(gradients.adjoint));
        self.kernels.backward(cuda, &self.spreading, weight_hh, extent, exchange, taped, gradients.output, filled)
    }
}
