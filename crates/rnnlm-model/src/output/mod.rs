//! Stage 6, output: from the output of the recurrent layers to the losses of the targets. [`OutputLayer`] is a linear layer
//! with one logit for each token, or an adaptive softmax.

mod adaptive;
mod cluster_rows;
mod linear;

use rnnlm_rnn::{ParameterId, ParameterLayout};

pub(crate) use self::adaptive::{AdaptiveOutput, TargetRows};
pub(crate) use self::cluster_rows::ClusterRows;
pub(crate) use self::linear::{KEEP_PACKED_MAX_ROWS, LinearOutput};
use crate::{ModelConfig, Result};

/// Bytes of logits that a workspace holds at a time. The logits of a minibatch of the book have 125 kB; with a vocabulary of
/// 50,000 words they would have 224 MB.
const LOGITS_BYTES: usize = 64_000_000;
/// The same for an adaptive softmax, whose logits are few enough for a cache.
const ADAPTIVE_LOGITS_BYTES: usize = 16_000_000;

/// The default limit of the memory for logits.
pub(crate) fn logits_bytes(config: &ModelConfig) -> usize {
    if config.adaptive_softmax.is_some() { ADAPTIVE_LOGITS_BYTES } else { LOGITS_BYTES }
}

/// The number of rows of `vocab_size` logits that fit in `bytes`, at least 1.
pub(crate) fn rows_within(bytes: usize, vocab_size: usize) -> usize {
    (bytes / size_of::<f32>() / vocab_size.max(1)).max(1)
}

/// The output layer of a model.
#[derive(Clone, Debug)]
pub(crate) enum OutputLayer {
    /// One logit for each token.
    Linear(LinearOutput),
    /// A head and clusters.
    Adaptive(AdaptiveOutput),
}

impl OutputLayer {
    /// Appends the layer's parameters to the layout. With `tied`, the weight of a linear layer is a second name of that
    /// parameter.
    pub(crate) fn new(layout: &mut ParameterLayout, tied: Option<ParameterId>, config: &ModelConfig) -> Result<Self> {
        let (input_size, vocab_size) = (config.stack().output_size(), config.vocab_size);
        Ok(match &config.adaptive_softmax {
            Some(softmax) => Self::Adaptive(AdaptiveOutput::new(layout, softmax, input_size, vocab_size)?),
            None => Self::Linear(LinearOutput::new(layout, tied, input_size, vocab_size)?),
        })
    }
}
