//! The CPU's fused path; none yet, so that every layer runs on the reference.

use rnnlm_tensor::Cpu;

use super::{Gradients, Pass, Recurrence};
use crate::{Dims, Layer, Result, Tape};

/// No layer has a plan.
#[derive(Debug)]
pub enum CpuPlan {}

impl Recurrence for Cpu {
    type Plan = CpuPlan;

    fn plan(&self, _: &Layer, _: Dims) -> Result<Option<CpuPlan>> {
        Ok(None)
    }

    fn fused_forward(&self, plan: &mut CpuPlan, _: &Pass<'_, Self>, _: &mut Tape<Self>) -> Result<()> {
        match *plan {}
    }

    fn fused_backward(
        &self,
        plan: &mut CpuPlan,
        _: &Pass<'_, Self>,
        _: &Tape<Self>,
        _: Gradients<'_, Self>,
    ) -> Result<()> {
        match *plan {}
    }
}
