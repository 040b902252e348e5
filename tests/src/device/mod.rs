//! A type-erased backend on one of its paths: host values in, host values out, so that [`crate::paths`] can list all of them.

mod model;
mod operations;
mod schedules;
mod stack;

use rnnlm_rnn::{ExecutionPath, Recurrence};

pub use model::{ModelInputs, ModelOutputs, TrainData, TrainInputs, TrainOutputs, UpdateInputs};
pub use operations::{Block, Operands, Operation, Rule};
pub(crate) use operations::{SMOOTHING, mask, nonzero};
pub use schedules::{Bits, Schedules};
pub(crate) use stack::layout;
pub use stack::{Features, LayerOutputs, NamedTensor, StackInputs, StackOutputs};

use crate::Result;

/// A backend on one of its paths, behind one interface.
pub trait Device: Send + Sync {
    /// Runs one tensor operation and returns every buffer that it may write, completely.
    ///
    /// # Errors
    /// If the operands are invalid or the backend fails.
    fn operation(&self, operation: Operation, operands: &Operands) -> Result<Vec<Vec<f32>>>;

    /// Runs recurrent layers, forward over every minibatch and backward over the last.
    ///
    /// # Errors
    /// If the backend fails or has no such path for these layers.
    fn stack(&self, inputs: &StackInputs) -> Result<StackOutputs>;

    /// Computes a language model's logits, loss and gradients on one minibatch.
    ///
    /// # Errors
    /// Like [`Device::stack`].
    fn model(&self, inputs: &ModelInputs) -> Result<ModelOutputs>;

    /// Trains from given parameters.
    ///
    /// # Errors
    /// Like [`Device::stack`], and if training diverges.
    fn train(&self, inputs: &TrainInputs) -> Result<TrainOutputs>;

    /// One optimizer step: the global gradient norm before clipping, and every parameter after the update.
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
    /// The path.
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
