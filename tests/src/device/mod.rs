//! A backend and a path with the types rubbed off, beside the walk: host values in, host values out, so that the list of
//! [`crate::paths`] can hold any of them.

mod model;
mod operations;
mod schedules;
mod stack;

use rnnlm_rnn::{ExecutionPath, Recurrence};

pub use model::{ModelInputs, ModelOutputs, TrainData, TrainInputs, TrainOutputs, UpdateInputs};
pub(crate) use operations::mask;
pub use operations::{Block, Operands, Operation, Rule};
pub use schedules::{Bits, Schedules};
pub(crate) use stack::layout;
pub use stack::{Features, LayerOutputs, NamedTensor, StackInputs, StackOutputs};

use crate::Result;

/// Whatever computes: one backend, on one path.
pub trait Device: Send + Sync {
    /// One tensor operation: every buffer that it may have written, whole.
    ///
    /// # Errors
    /// If the backend refuses the operands or fails.
    fn operation(&self, operation: Operation, operands: &Operands) -> Result<Vec<Vec<f32>>>;

    /// Recurrent layers, forward over every minibatch and backward over the last.
    ///
    /// # Errors
    /// If the backend fails, or has no such path for these layers.
    fn stack(&self, inputs: &StackInputs) -> Result<StackOutputs>;

    /// A language model's logits, loss and gradients on one minibatch.
    ///
    /// # Errors
    /// As [`Device::stack`].
    fn model(&self, inputs: &ModelInputs) -> Result<ModelOutputs>;

    /// Training steps from given parameters.
    ///
    /// # Errors
    /// As [`Device::stack`], or if training diverges.
    fn train(&self, inputs: &TrainInputs) -> Result<TrainOutputs>;

    /// One optimiser step: the global norm before clipping, and every parameter afterwards.
    ///
    /// # Errors
    /// If the backend fails.
    fn update(&self, inputs: &UpdateInputs) -> Result<(f32, Vec<f32>)>;
}

/// A backend on one of its paths.
#[derive(Clone, Debug)]
pub struct On<B> {
    /// The backend.
    pub backend: B,
    /// Which of its paths.
    pub path: ExecutionPath,
}

impl<B: Recurrence> Device for On<B> {
    fn operation(&self, operation: Operation, operands: &Operands) -> Result<Vec<Vec<f32>>> {
        self.backend.run(|| operations::run(&self.backend, operation, operands))
    }

    fn stack(&self, inputs: &StackInputs) -> Result<StackOutputs> {
        self.backend.run(|| stack::run(&self.backend, self.path, inputs))
    }

    fn model(&self, inputs: &ModelInputs) -> Result<ModelOutputs> {
        self.backend.run(|| model::run(&self.backend, self.path, inputs))
    }

    fn train(&self, inputs: &TrainInputs) -> Result<TrainOutputs> {
        self.backend.run(|| model::train(&self.backend, self.path, inputs))
    }

    fn update(&self, inputs: &UpdateInputs) -> Result<(f32, Vec<f32>)> {
        self.backend.run(|| model::update(&self.backend, inputs))
    }
}
