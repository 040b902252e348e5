//! All steps in one launch, beside the walk: a block owns one row of the batch (or a few) from the first step to the last,
//! with the weights in its registers and shared memory (`recurrence.cu`). For layers whose weights are small enough.

use rnnlm_tensor::{Cuda, Tensor};

use super::kernels::{Extent, Filled, Kernels, Taped};
use super::plan::{Configuration, Fit};
use crate::recurrence::{Gradients, Pass};
use crate::{Dims, Layer, Result, Tape};

/// Compiled kernels, and the recurrent weights as they read them.
#[derive(Debug)]
pub(super) struct Persistent {
    configuration: Configuration,
    kernels: Kernels,
    /// The forward pass and the backward pass on this device.
    fits: [Fit; 2],
    /// `[G, UNITS²]` each.
    laid_out: [Tensor<Cuda>; 2],
    /// The version of the parameters that they were made from.
    version: Option<u64>,
}

impl Persistent {
    /// None for a layer that is too large.
    pub(super) fn plan(cuda: &Cuda, layer: &Layer, dims: Dims) -> Result<Option<Self>> {
        let configuration = Configuration::choose(layer.cell, dims, cuda.multiprocessors()?);
        let Some(configuration) = configuration else { return Ok(None) };
        let Some(fits) = configuration.fit(cuda.shared_bytes()?) else { return Ok(None) };
        let weights = || Tensor::zeros(cuda, configuration.gates(), configuration.units * configuration.units);
        Ok(Some(Self {
            configuration,
            kernels: Kernels::load(cuda, &configuration)?,
            fits,
            laid_out: [weights()?, weights()?],
            version: None,
        }))
    }

    /// Lays the weights out anew if they may have changed.
    fn refresh(&mut self, cuda: &Cuda, pass: &Pass<'_, Cuda>) -> Result<()> {
        let version = Some(pass.parameters.version());
        if self.version != version {
            let weight_hh = pass.layer.weights(pass.parameters).weight_hh;
            self.kernels.lay_out(cuda, weight_hh, pass.layer.hidden_size, self.laid_out.each_mut())?;
            self.version = version;
        }
        Ok(())
    }

    /// From the input's share of the gates to the whole tape.
    pub(super) fn forward(&mut self, cuda: &Cuda, pass: &Pass<'_, Cuda>, tape: &mut Tape<Cuda>) -> Result<()> {
        self.refresh(cuda, pass)?;
        let extent = Extent { dims: tape.dims(), direction: tape.direction() };
        let bias_hh = pass.layer.weights(pass.parameters).bias_hh;
        let configuration = (&self.configuration, self.fits[0]);
        self.kernels.forward(cuda, configuration, self.laid_out[0].view(), bias_hh, extent, Taped::of_mut(tape))
    }

    /// Fills the adjoint.
    pub(super) fn backward(
        &mut self,
        cuda: &Cuda,
        pass: &Pass<'_, Cuda>,
        tape: &Tape<Cuda>,
        gradients: &mut Gradients<'_, Cuda>,
    ) -> Result<()> {
        self.refresh(cuda, pass)?;
        let extent = Extent { dims: tape.dims(), direction: tape.direction() };
        let (taped, filled) = (Taped::of(tape), Filled::of(gradients.adjoint));
        let configuration = (&self.configuration, self.fits[1]);
        self.kernels.backward(cuda, configuration, self.laid_out[1].view(), extent, taped, gradients.output, filled)
    }
}
