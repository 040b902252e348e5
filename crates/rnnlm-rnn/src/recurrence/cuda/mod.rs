//! Recurrent layers on a GPU. There is no fused path yet: the reference runs, one kernel for each of its operations.

use rnnlm_tensor::Cuda;

use super::{Gradients, Pass, Recurrence};
use crate::{Dims, Layer, Result, Tape};

/// What a fused path would prepare; there is none.
#[derive(Debug)]
pub enum NoPlan {}

impl Recurrence for Cuda {
    type Plan = NoPlan;

    fn plan(&self, _layer: &Layer, _dims: Dims) -> Result<Option<NoPlan>> {
        Ok(None)
    }

    fn fused_forward(&self, plan: &mut NoPlan, _pass: &Pass<'_, Self>, _tape: &mut Tape<Self>) -> Result<()> {
        match *plan {}
    }

    fn fused_backward(
        &self,
        plan: &mut NoPlan,
        _pass: &Pass<'_, Self>,
        _tape: &Tape<Self>,
        _gradients: Gradients<'_, Self>,
    ) -> Result<()> {
        match *plan {}
    }
}
