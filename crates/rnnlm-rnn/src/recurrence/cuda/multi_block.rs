//! The multi-block persistent path, one cooperative launch for all steps: each block has a column slice and a group of
//! rows, and sends its results to the other blocks of the group (`multi_block.cu`). For layers whose weights do not fit
//! in one multiprocessor, but in the registers and shared memory of all.

use rnnlm_tensor::{Cuda, Tensor};

use super::fused_cell::FusedCell;
use super::kernels::{AdjointViews, Exchange, LayerDims, MultiBlockKernels, TapeViews};
use super::multi_block_config::Partition;
use crate::recurrence::{Gradients, Pass};
use crate::{Dims, Result, Tape};

/// The compiled kernels and the memory for messages.
#[derive(Debug)]
pub(super) struct MultiBlock {
    partition: Partition,
    kernels: MultiBlockKernels,
    /// A value and a sequence number per message; sequence numbers continue from launch to launch.
    messages: Tensor<Cuda>,
    /// The last sequence number of each block.
    sequences: Tensor<Cuda>,
}

impl MultiBlock {
    /// `None` for a layer that this device cannot or need not divide among its multiprocessors.
    pub(super) fn plan(cuda: &Cuda, cell: FusedCell, dims: Dims) -> Result<Option<Self>> {
        if !cuda.supports_cooperative_launch()? {
            return Ok(None);
        }
        let partition = Partition::choose(cell, dims, cuda.multiprocessors()?, cuda.max_shared_bytes()?);
        let Some(partition) = partition else { return Ok(None) };
        Ok(Some(Self {
            partition,
            kernels: MultiBlockKernels::load(cuda, partition.config)?,
            messages: Tensor::zeros(cuda, partition.messages(), 2)?,
            sequences: Tensor::zeros(cuda, partition.groups, partition.slices)?,
        }))
    }

    /// From the input's contribution to the gates to the whole tape.
    pub(super) fn forward(&mut self, pass: &Pass<'_, Cuda>, tape: &mut Tape<Cuda>) -> Result<()> {
        let dims = LayerDims::of(tape);
        let weight_hh = pass.weights().weight_hh;
        let bias_hh = pass.weights().bias_hh;
        let exchange = Exchange { messages: self.messages.view_mut(), sequences: self.sequences.view_mut() };
        self.kernels.forward(&self.partition, weight_hh, bias_hh, dims, exchange, TapeViews::of_mut(tape))
    }

    /// Fills the adjoint.
    pub(super) fn backward(
        &mut self,
        pass: &Pass<'_, Cuda>,
        tape: &Tape<Cuda>,
        gradients: &mut Gradients<'_, Cuda>,
    ) -> Result<()> {
        let dims = LayerDims::of(tape);
        let weight_hh = pass.weights().weight_hh;
        let exchange = Exchange { messages: self.messages.view_mut(), sequences: self.sequences.view_mut() };
        let adjoint = AdjointViews::of(gradients.adjoint);
        let tape = TapeViews::of(tape);
        self.kernels.backward(&self.partition, weight_hh, dims, exchange, tape, gradients.output, adjoint)
    }
}
