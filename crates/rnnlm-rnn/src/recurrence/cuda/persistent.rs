//! The persistent path, one launch for all steps: a block computes one row of the batch, or a few, from the first step
//! to the last, with the weights in its registers and shared memory (`persistent.cu`). For layers with few weights.

use rnnlm_tensor::{Cuda, Tensor};

use super::fused_cell::FusedCell;
use super::kernels::{AdjointViews, LayerDims, PersistentKernels, TapeViews};
use super::persistent_config::{PersistentConfig, SharedMemory};
use crate::operands::WeightsVersion;
use crate::recurrence::{Gradients, Pass};
use crate::{Dims, Result, Tape};

/// The compiled kernels and the packed recurrent weights.
#[derive(Debug)]
pub(super) struct Persistent {
    kernels: PersistentKernels,
    /// Of the forward and the backward pass on this device.
    shared: [SharedMemory; 2],
    /// For the forward and the backward pass, `[G, UNITS²]` each.
    packed: [Tensor<Cuda>; 2],
    /// The version of the weights that are packed.
    version: Option<WeightsVersion>,
}

impl Persistent {
    /// `None` for a layer that is too large.
    pub(super) fn plan(cuda: &Cuda, cell: FusedCell, dims: Dims) -> Result<Option<Self>> {
        let Some(config) = PersistentConfig::choose(cell, dims, cuda.multiprocessors()?) else { return Ok(None) };
        let Some(shared) = config.shared_memory(cuda.max_shared_bytes()?) else { return Ok(None) };
        let weights = || Tensor::zeros(cuda, config.gates(), config.units * config.units);
        Ok(Some(Self {
            kernels: PersistentKernels::load(cuda, config)?,
            shared,
            packed: [weights()?, weights()?],
            version: None,
        }))
    }

    /// Packs the weights again if the parameters may have changed.
    fn refresh(&mut self, pass: &Pass<'_, Cuda>) -> Result<()> {
        let version = Some(pass.version());
        if self.version != version {
            let weight_hh = pass.weights().weight_hh;
            self.kernels.pack_weights(weight_hh, pass.layer.hidden_size, self.packed.each_mut())?;
            self.version = version;
        }
        Ok(())
    }

    /// From the input's contribution to the gates to the whole tape.
    pub(super) fn forward(&mut self, pass: &Pass<'_, Cuda>, tape: &mut Tape<Cuda>) -> Result<()> {
        self.refresh(pass)?;
        let dims = LayerDims::of(tape);
        let bias_hh = pass.weights().bias_hh;
        self.kernels.forward(self.shared[0], self.packed[0].view(), bias_hh, dims, TapeViews::of_mut(tape))
    }

    /// Fills the adjoint.
    pub(super) fn backward(
        &mut self,
        pass: &Pass<'_, Cuda>,
        tape: &Tape<Cuda>,
        gradients: &mut Gradients<'_, Cuda>,
    ) -> Result<()> {
        self.refresh(pass)?;
        let dims = LayerDims::of(tape);
        let adjoint = AdjointViews::of(gradients.adjoint);
        let packed = self.packed[1].view();
        self.kernels.backward(self.shared[1], packed, dims, TapeViews::of(tape), gradients.output, adjoint)
    }
}
