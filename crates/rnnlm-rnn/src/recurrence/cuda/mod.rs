//! The fused path on a GPU. Custom kernels compute the sequential part of a layer with one of three strategies:
//!
//! - persistent (`persistent.rs`): one launch for all steps, if the weights fit in one multiprocessor;
//! - multi-block persistent (`multi_block.rs`): one cooperative launch for all steps, if they fit in all
//!   multiprocessors together;
//! - stepwise (`stepwise.rs`): a matmul and a launch per step, or the launch alone for a cell without recurrent weights.
//!
//! All three use the same source for a cell's arithmetic (`cell/NAME/NAME.cu`). The part that is independent of the order
//! of steps is computed before and after by the reference's operations: the input's contribution to the gates, `∂W`, `∂b`
//! and `∂x`.
//!
//! Rows are independent through time and every sum has a fixed order, so results do not depend on how rows are grouped
//! or where weights are stored. A cell without fused kernels, and a large GRU with `reset_after = false`, have no plan
//! and run on the reference path.

mod fused_cell;
mod kernels;
mod multi_block;
mod multi_block_config;
mod persistent;
mod persistent_config;
mod stepwise;

use rnnlm_tensor::Cuda;
use rnnlm_tensor::cuda::Program;

use self::fused_cell::FusedCell;
use self::multi_block::MultiBlock;
use self::multi_block_config::MultiBlockConfig;
use self::persistent::Persistent;
use self::persistent_config::PersistentConfig;
use self::stepwise::Stepwise;
use super::{Gradients, Pass, Recurrence, reference};
use crate::{Dims, Layer, Result, Tape};

/// A layer's strategy with its compiled kernels and memory.
#[derive(Debug)]
pub struct CudaPlan(Strategy);

#[derive(Debug)]
enum Strategy {
    Persistent(Persistent),
    MultiBlock(MultiBlock),
    Stepwise(Stepwise),
}

/// Every program of the fused path in every configuration.
pub fn programs() -> Vec<Program> {
    let persistent = PersistentConfig::all().map(|config| config.program());
    let multi_block = MultiBlockConfig::all().map(|config| config.program());
    let stepwise = FusedCell::all().filter(|cell| cell.recurrent_matmuls() < 2).map(FusedCell::step_program);
    persistent.chain(multi_block).chain(stepwise).collect()
}

impl Recurrence for Cuda {
    type Plan = CudaPlan;

    fn plan(&self, layer: &Layer, dims: Dims) -> Result<Option<CudaPlan>> {
        let Some(cell) = FusedCell::of(layer.cell) else { return Ok(None) };
        // multi-block first: it has no plan for a layer that fits in one multiprocessor
        let strategy = match MultiBlock::plan(self, cell, dims)? {
            Some(plan) => Some(Strategy::MultiBlock(plan)),
            None => match Persistent::plan(self, cell, dims)? {
                Some(plan) => Some(Strategy::Persistent(plan)),
                None => Stepwise::plan(self, cell, dims)?.map(Strategy::Stepwise),
            },
        };
        Ok(strategy.map(CudaPlan))
    }

    fn fused_forward(&self, plan: &mut CudaPlan, pass: &Pass<'_, Self>, tape: &mut Tape<Self>) -> Result<()> {
        reference::project_input(self, pass, tape)?;
        match &mut plan.0 {
            Strategy::Persistent(persistent) => persistent.forward(pass, tape),
            Strategy::MultiBlock(multi_block) => multi_block.forward(pass, tape),
            Strategy::Stepwise(stepwise) => stepwise.forward(self, pass, tape),
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
            Strategy::Persistent(persistent) => persistent.backward(pass, tape, &mut gradients)?,
            Strategy::MultiBlock(multi_block) => multi_block.backward(pass, tape, &mut gradients)?,
            Strategy::Stepwise(stepwise) => stepwise.backward(self, pass, tape, &mut gradients)?,
        }
        reference::parameter_gradients(self, pass, tape, &mut gradients)
    }
}
