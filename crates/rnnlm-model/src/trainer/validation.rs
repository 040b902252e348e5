//! The validation set after an epoch.

use rnnlm_rnn::Recurrence;

use super::Trainer;
use crate::{Average, EpochReport, Error, Result, Schedule, TextIds};

impl<B: Recurrence> Trainer<B> {
    /// Scores the validation set after an epoch, if there is one, as
    /// [`LanguageModel::evaluate`](crate::LanguageModel::evaluate) does, and updates the state of the schedule. Returns whether
    /// the model is the best so far on the validation set; a perplexity that is not finite never is.
    ///
    /// # Errors
    /// If the text cannot be scored, or the device fails.
    pub fn validate<'t, T: Into<TextIds<'t>>>(
        &mut self,
        validation: Option<T>,
        report: &mut EpochReport,
    ) -> Result<bool> {
        report.val_perplexity =
            validation.map(|text| Ok::<_, Error>(self.evaluated_model().evaluate(text)?.perplexity())).transpose()?;
        if let Schedule::Plateau { patience, .. } = self.config.schedule {
            self.position.plateau.observe(report.val_perplexity.unwrap_or(report.perplexity), patience);
        }
        let Some(perplexity) = report.val_perplexity else { return Ok(false) };
        if self.config.average == Average::NtAsgd {
            self.position.begin_average(perplexity);
        }
        Ok(self.position.observe(report.epoch, perplexity))
    }

    /// Whether training should stop early: the perplexity on the validation set has not improved for `patience` epochs.
    pub fn should_stop_early(&self) -> bool {
        self.config.patience > 0 && self.position.epochs_without_improvement >= self.config.patience
    }
}
