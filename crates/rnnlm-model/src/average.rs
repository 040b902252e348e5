//! The model with the average of the parameters ([`Average`]).

use rnnlm_rnn::{ParameterSet, Recurrence};

use crate::workspace::LossSum;
use crate::{Average, LanguageModel, Optimizer, Result};

/// The average of the parameters, as a model of its own.
#[derive(Debug)]
pub(crate) struct AveragedModel<B: Recurrence> {
    config: Average,
    model: LanguageModel<B>,
}

impl<B: Recurrence> AveragedModel<B> {
    /// `None` without averaging.
    pub(crate) fn new(model: &LanguageModel<B>, config: Average) -> Result<Option<Self>> {
        Ok(match config {
            Average::None => None,
            _ => Some(Self { config, model: model.with_zero_parameters()? }),
        })
    }

    /// The model.
    pub(crate) fn model(&self) -> &LanguageModel<B> {
        &self.model
    }

    /// The average.
    pub(crate) fn parameters_mut(&mut self) -> &mut ParameterSet<B> {
        self.model.parameters_mut()
    }

    /// Averaged update `k`, counted from 1, with the parameters after it. Like the update itself, it is skipped after a step
    /// that was not finite.
    pub(crate) fn update(
        &mut self,
        backend: &B,
        k: u64,
        optimizer: &mut Optimizer<B>,
        loss: LossSum<'_, B>,
        parameters: &ParameterSet<B>,
    ) -> Result<()> {
        optimizer.average(backend, self.config.weight(k), loss, parameters, self.model.parameters_mut())
    }
}
