//! A GPU's fused path. A block owns one row of the batch (or a few) and goes through all steps in one launch, forward or
//! backward, with the weights in its registers and shared memory (`recurrence.cu`); between two products stands the cell's
//! own arithmetic (`elman/elman.cu`, `gru/gru.cu`, `lstm/lstm.cu`). What needs no order of steps is done before and after by
//! the operations that the reference uses: the input's share of the gates, `∂W`, `∂b`, `∂x`.
//!
//! Rows are independent through time and every sum has one order, so no bit depends on how rows are grouped or on where
//! weights lie. Layers whose weights are more than a megabyte have no plan: the reference runs.

mod kernels;
mod plan;

use rnnlm_tensor::cuda::Program;
use rnnlm_tensor::{Cuda, Tensor};

use self::kernels::{Extent, Filled, Kernels, Taped};
use self::plan::{Configuration, Fit};
use super::{Gradients, Pass, Recurrence, reference};
use crate::{Dims, Layer, Result, Tape};

/// Compiled kernels, and the recurrent weights as they read them.
#[derive(Debug)]
pub struct CudaPlan {
    configuration: Configuration,
    kernels: Kernels,
    /// The forward pass and the backward pass on this device.
    fits: [Fit; 2],
    /// `[G, UNITS²]` each.
    laid_out: [Tensor<Cuda>; 2],
    /// The version of the parameters that they were made from.
    version: Option<u64>,
}

/// Every program of the fused path in every configuration.
pub fn programs() -> Vec<Program> {
    Configuration::all().map(|configuration| configuration.program()).collect()
}

impl CudaPlan {
    /// Lays the weights out anew if they may have changed.
    fn refresh(&mut self, cuda: &Cuda, pass: &Pass<'_, Cuda>) -> Result<()> {
        let version = Some(pass.parameters.version());
        if self.version != version {
            let weight_hh = pass.parameters.view(pass.layer.weight_hh);
            self.kernels.lay_out(cuda, weight_hh, pass.layer.hidden_size, self.laid_out.each_mut())?;
            self.version = version;
        }
        Ok(())
    }
}

impl Recurrence for Cuda {
    type Plan = CudaPlan;

    fn plan(&self, layer: &Layer, dims: Dims) -> Result<Option<CudaPlan>> {
        let configuration = Configuration::choose(layer.cell, dims, self.multiprocessors()?);
        let Some(configuration) = configuration else { return Ok(None) };
        let Some(fits) = configuration.fit(self.shared_bytes()?) else { return Ok(None) };
        let weights = || Tensor::zeros(self, configuration.gates(), configuration.units * configuration.units);
        Ok(Some(CudaPlan {
            configuration,
            kernels: Kernels::load(self, &configuration)?,
            fits,
            laid_out: [weights()?, weights()?],
            version: None,
        }))
    }

    fn fused_forward(&self, plan: &mut CudaPlan, pass: &Pass<'_, Self>, tape: &mut Tape<Self>) -> Result<()> {
        plan.refresh(self, pass)?;
        reference::project_input(self, pass, tape)?;
        let extent = Extent { dims: tape.dims(), direction: tape.direction() };
        let taped = Taped {
            gates: tape.gates.view_mut(),
            hidden: tape.hidden.view_mut(),
            cell: tape.cell.view_mut(),
            candidate: tape.candidate.view_mut(),
        };
        let bias_hh = pass.parameters.view(pass.layer.bias_hh);
        let configuration = (&plan.configuration, plan.fits[0]);
        plan.kernels.forward(self, configuration, plan.laid_out[0].view(), bias_hh, extent, taped)
    }

    fn fused_backward(
        &self,
        plan: &mut CudaPlan,
        pass: &Pass<'_, Self>,
        tape: &Tape<Self>,
        mut gradients: Gradients<'_, Self>,
    ) -> Result<()> {
        plan.refresh(self, pass)?;
        let extent = Extent { dims: tape.dims(), direction: tape.direction() };
        let taped = Taped {
            gates: tape.gates.view(),
            hidden: tape.hidden.view(),
            cell: tape.cell.view(),
            candidate: tape.candidate.view(),
        };
        let adjoint = &mut *gradients.adjoint;
        let filled = Filled {
            gates: adjoint.gates.view_mut(),
            candidate: adjoint.candidate.view_mut(),
            hidden: adjoint.hidden.view_mut(),
            cell: adjoint.cell.view_mut(),
        };
        let configuration = (&plan.configuration, plan.fits[1]);
        let laid_out = plan.laid_out[1].view();
        plan.kernels.backward(self, configuration, laid_out, extent, taped, gradients.output, filled)?;
        reference::parameter_gradients(self, pass, tape, &mut gradients)
    }
}
