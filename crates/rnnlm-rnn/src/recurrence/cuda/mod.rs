//! A GPU's fused path: what needs an order of steps is done by kernels of its own, in one launch for all steps where a
//! multiprocessor has room for the weights (`persistent.rs`) or all of them together have (`spread.rs`), else in a product and
//! a launch a step (`stepwise.rs`). A cell's own arithmetic is the same text in all (`elman/elman.cu`, `gru/gru.cu`,
//! `lstm/lstm.cu`). What needs no order is done before and after by the operations that the reference uses: the input's share
//! of the gates, `∂W`, `∂b`, `∂x`.
//!
//! Rows are independent through time and every sum has one order, so no bit depends on how rows are grouped or on where
//! weights lie. A large GRU with the reset gate before its product has no plan: the reference runs.

mod kernels;
mod persistent;
mod plan;
mod slices;
mod spread;
mod stepwise;

use rnnlm_tensor::Cuda;
use rnnlm_tensor::cuda::Program;

use self::persistent::Persistent;
use self::plan::Configuration;
use self::slices::Slicing;
use self::spread::Spread;
use self::stepwise::Stepwise;
use super::{Gradients, Pass, Recurrence, reference};
use crate::{Cell, Dims, Layer, Result, Tape};

/// How a layer goes through its steps.
#[derive(Debug)]
pub struct CudaPlan(Way);

#[derive(Debug)]
enum Way {
    Persistent(Persistent),
    Spread(Spread),
    Stepwise(Stepwise),
}

/// Every program of the fused path in every configuration.
pub fn programs() -> Vec<Program> {
    let persistent = Configuration::all().map(|configuration| configuration.program());
    let stepwise = Cell::ALL.into_iter().filter(|&cell| plan::products(cell) == 1).map(plan::step_program);
    let spread = Slicing::all().map(|slicing| slicing.program());
    persistent.chain(spread).chain(stepwise).collect()
}

impl Recurrence for Cuda {
    type Plan = CudaPlan;

    fn plan(&self, layer: &Layer, dims: Dims) -> Result<Option<CudaPlan>> {
        // the first that there is: a layer that one multiprocessor has room for is not spread
        let way = match Spread::plan(self, layer, dims)? {
            Some(spread) => Some(Way::Spread(spread)),
            None => match Persistent::plan(self, layer, dims)? {
                Some(persistent) => Some(Way::Persistent(persistent)),
                None => Stepwise::plan(self, layer, dims)?.map(Way::Stepwise),
            },
        };
        Ok(way.map(CudaPlan))
    }

    fn fused_forward(&self, plan: &mut CudaPlan, pass: &Pass<'_, Self>, tape: &mut Tape<Self>) -> Result<()> {
        reference::project_input(self, pass, tape)?;
        match &mut plan.0 {
            Way::Persistent(persistent) => persistent.forward(self, pass, tape),
            Way::Spread(spread) => spread.forward(self, pass, tape),
            Way::Stepwise(stepwise) => stepwise.forward(self, pass, tape),
        }
    }

    fn fused_backward(
        &self,
        plan: &mut CudaPlan,
        pass: &Pass<'_, Self>,
        tape: &mut Tape<Self>,
        mut gradients: Gradients<'_, Self>,
    ) -> Result<()> {
        match &mut plan.0 {
            Way::Persistent(persistent) => persistent.backward(self, pass, tape, &mut gradients)?,
            Way::Spread(spread) => spread.backward(self, pass, tape, &mut gradients)?,
            Way::Stepwise(stepwise) => stepwise.backward(self, pass, tape, &mut gradients)?,
        }
        reference::parameter_gradients(self, pass, tape, &mut gradients)
    }
}
