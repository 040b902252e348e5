//! The arguments of the adaptive softmax.

use clap::Args;
use rnnlm_model::AdaptiveSoftmax;

use crate::values::{Cutoffs, cutoffs, non_negative_f64};

/// The settings of an adaptive softmax.
#[derive(Clone, Debug, Args)]
pub(crate) struct AdaptiveArgs {
    /// Use an adaptive softmax with these cutoffs, such as 2000,10000,50000, as the output layer: PyTorch's
    /// AdaptiveLogSoftmaxWithLoss. Tokens below the first cutoff are in the head, the others in one cluster for each cutoff.
    /// It is faster from about 10,000 tokens, whose ids must be by descending frequency.
    #[arg(long, value_name = "N,N,…", value_parser = cutoffs, help_heading = "Model")]
    pub(crate) adaptive_softmax: Option<Cutoffs>,
    /// Factor by which each cluster of the adaptive softmax has fewer features than the one before, the first than the output
    /// of the layers.
    #[arg(long, value_name = "X", default_value_t = AdaptiveSoftmax::DEFAULT_DIV_VALUE, value_parser = non_negative_f64,
          allow_negative_numbers = true, help_heading = "Model")]
    pub(crate) div_value: f64,
    /// Add a bias to the head of the adaptive softmax.
    #[arg(long, help_heading = "Model")]
    pub(crate) head_bias: bool,
}

impl AdaptiveArgs {
    /// The adaptive softmax, if there is one.
    pub(crate) fn softmax(&self) -> Option<AdaptiveSoftmax> {
        let Cutoffs(cutoffs) = self.adaptive_softmax.clone()?;
        Some(AdaptiveSoftmax { cutoffs, div_value: self.div_value, head_bias: self.head_bias })
    }
}
