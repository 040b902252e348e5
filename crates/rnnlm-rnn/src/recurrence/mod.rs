//! The one seam between the readable path and the fast ones.
//!
//! `reference.rs` is the mathematics: one loop over time for every cell, in tensor operations, on any device. A device may
//! have a path of its own, fused and faster, which it declares by returning a plan; both fill the same tape, so that one
//! can be held against the other.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod reference;

use std::fmt::Debug;

use rnnlm_tensor::{Backend, ViewMut};

use crate::{Adjoint, Dims, Input, Layer, ParameterSet, Result, Tape};

/// Which implementation a layer runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ExecutionPath {
    /// The device's own where it has one, else the reference.
    #[default]
    Auto,
    /// The device's own; an error where it has none.
    Fused,
    /// The equations, one tensor operation after the other.
    Reference,
}

/// One layer's work on one minibatch: the same value goes to the forward and to the backward pass.
#[derive(Debug)]
pub struct Pass<'a, B: Backend> {
    /// The layer.
    pub layer: &'a Layer,
    /// The model's parameters, the layer's among them.
    pub parameters: &'a ParameterSet<B>,
    /// What it reads.
    pub input: Input<'a, B>,
}

/// A device that may have a fused path.
pub trait Recurrence: Backend {
    /// Workspaces, weights laid out anew, compiled kernels: whatever the fused path prepares once.
    type Plan: Debug + Send;

    /// A plan for a layer of these sizes, or `None` where the reference is to be used.
    ///
    /// # Errors
    /// If the device fails.
    fn plan(&self, layer: &Layer, dims: Dims) -> Result<Option<Self::Plan>>;

    /// Fills the tape from its initial state on, as the reference does.
    ///
    /// # Errors
    /// If the device fails.
    fn fused_forward(&self, plan: &mut Self::Plan, pass: &Pass<'_, Self>, tape: &mut Tape<Self>) -> Result<()>;

    /// Adds the gradients of the layer's parameters to `gradients`, and of its input to `grad_input`, as
    /// the reference does; `adjoint.hidden` and `adjoint.cell` are turned from the final state's gradients into the
    /// initial state's, where those are wanted. The tape's gates may be used up.
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

/// What the backward pass of a layer receives and fills.
#[derive(Debug)]
pub struct Gradients<'a, B: Backend> {
    /// `[T·N, H]`: ∂loss/∂(output of the layer).
    pub output: rnnlm_tensor::View<'a, B>,
    /// Gradients of the gates and states.
    pub adjoint: &'a mut Adjoint<B>,
    /// Gradients of the parameters, added to.
    pub parameters: &'a mut ParameterSet<B>,
    /// `[T·N, D]`: the gradient of a dense input, added to; `None` where nobody needs it.
    pub input: Option<ViewMut<'a, B>>,
    /// Whether somebody needs the gradient of the initial state; a path may compute it even so.
    pub initial_state: bool,
}
