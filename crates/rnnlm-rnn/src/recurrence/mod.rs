//! The interface between the reference path and the fused ones.
//!
//! `reference.rs` is the mathematics: one loop over time for every cell, in tensor operations, on any device. A device that
//! has a fused path returns a plan. Both paths fill the same tape, so that they can be compared.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod reference;

use std::fmt::Debug;

use rnnlm_tensor::{Backend, Mask, Tensor, View, ViewMut};

use crate::operands::WeightsVersion;
use crate::shards::LayerShards;
use crate::{Adjoint, Cell, Dims, Input, Layer, ParameterSet, Result, Tape, Weights};

/// The implementation of the recurrent layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ExecutionPath {
    /// The fused path of the device if it has one for the layer, else the reference path.
    #[default]
    Auto,
    /// The fused path; an error if the device has none for the layer.
    Fused,
    /// The equations as tensor operations.
    Reference,
}

/// A layer with its parameters and input, for the forward and the backward pass.
#[derive(Debug)]
pub struct Pass<'a, B: Backend> {
    /// The layer.
    pub layer: &'a Layer,
    /// The model's parameters, the layer's among them.
    pub parameters: &'a ParameterSet<B>,
    /// The layer's input.
    pub input: Input<'a, B>,
    /// What replaces `W_hh` with weight drop.
    pub dropped_weight: Option<DroppedWeight<'a, B>>,
}

/// `W_hh ∘ mask`, the recurrent weight of a minibatch with weight drop ([`StackMemory::set_weight_mask`]).
///
/// [`StackMemory::set_weight_mask`]: crate::StackMemory::set_weight_mask
#[derive(Debug)]
pub struct DroppedWeight<'a, B: Backend> {
    /// The mask.
    pub mask: Mask,
    /// `[G·H, H]`: the product with the mask.
    pub weight_hh: View<'a, B>,
}

impl<'a, B: Backend> Pass<'a, B> {
    /// The layer's parameters, with weight drop.
    pub(crate) fn weights(&self) -> Weights<'a, B> {
        let weights = self.layer.weights(self.parameters);
        match &self.dropped_weight {
            Some(dropped) => Weights { weight_hh: dropped.weight_hh, ..weights },
            None => weights,
        }
    }

    /// The version of [`Pass::weights`], for packed copies of them.
    pub(crate) fn version(&self) -> WeightsVersion {
        (self.parameters.version(), self.dropped_weight.as_ref().map(|dropped| dropped.mask))
    }
}

/// A device that may have a fused path.
pub trait Recurrence: Backend {
    /// What the fused path prepares once: packed weights, workspaces, compiled kernels.
    type Plan: Debug + Send;

    /// A plan for a layer of these sizes, or `None` if it runs on the reference path.
    ///
    /// # Errors
    /// If the device fails.
    fn plan(&self, layer: &Layer, dims: Dims) -> Result<Option<Self::Plan>>;

    /// Whether the memory of the device is that of the host.
    fn shares_host_memory(&self) -> bool {
        false
    }

    /// The bytes of device memory that the plan of a layer takes once it is in use; 0 for a plan that is small.
    fn plan_bytes(&self, _cell: Cell, _is_one_hot: bool, _dims: Dims) -> u128 {
        0
    }

    /// The bytes of device memory that a multiplication `C[m, n] = A[m, k] · B[k, n]` keeps for the next one.
    fn matmul_scratch_bytes(&self, _mk: [u128; 2], _n: usize) -> u128 {
        0
    }

    /// Whether the fused path can start sequences inside a minibatch ([`StackMemory::set_starts`]); if not, the reference path
    /// runs instead.
    ///
    /// [`StackMemory::set_starts`]: crate::StackMemory::set_starts
    fn has_fused_starts(&self) -> bool {
        false
    }

    /// Fills the tape, starting from its initial state, like the reference path.
    ///
    /// # Errors
    /// If the device fails.
    fn fused_forward(&self, plan: &mut Self::Plan, pass: &Pass<'_, Self>, tape: &mut Tape<Self>) -> Result<()>;

    /// Adds to the gradients of the layer's parameters and input, like the reference path. `adjoint.hidden` and `adjoint.cell`
    /// turn from the gradients of the final state into those of the initial state, if requested. The tape's gates may be
    /// overwritten.
    ///
    /// # Errors
    /// If the device fails.
    fn fused_backward(
        &self,
        plan: &mut Self::Plan,
        pass: &Pass<'_, Self>,
        tape: &mut Tape<Self>,
        gradients: Gradients<'_, Self>,
    ) -> Result<()>;
}

/// The gradients that the backward pass of a layer reads and writes.
#[derive(Debug)]
pub struct Gradients<'a, B: Backend> {
    /// `[T·N, H]`: ∂loss/∂(output of the layer).
    pub output: View<'a, B>,
    /// Gradients of the gates and states.
    pub adjoint: &'a mut Adjoint<B>,
    /// Gradients of the parameters, accumulated: one set for each shard of the minibatch's rows.
    pub parameters: &'a mut [ParameterSet<B>],
    /// Memory for the sums over the rows of a shard, if there are several.
    pub(crate) shards: Option<LayerShards<'a, B>>,
    /// `[G·H, H]`, with weight drop: memory for the gradient of [`DroppedWeight::weight_hh`], whose product with the mask is
    /// added to the gradient of `W_hh`.
    pub dropped_weight: Option<&'a mut Tensor<B>>,
    /// `[T·N, D]`: the gradient of a dense input, accumulated; `None` if it is not needed.
    pub input: Option<ViewMut<'a, B>>,
    /// Whether the gradient of the initial state is requested; a path may compute it anyway.
    pub initial_state: bool,
}
