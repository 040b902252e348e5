//! The curves of a run, from the lines of its `metrics.jsonl`.

use rnnlm_model::Metrics;

/// Perplexities by epoch, in the order of the epochs.
pub(super) type Points = Vec<(f64, f64)>;

/// The curves of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Curves {
    pub(super) training: Points,
    /// Empty without a validation set.
    pub(super) validation: Points,
}

impl Curves {
    /// Whether there is nothing to draw.
    pub(crate) fn is_empty(&self) -> bool {
        self.training.is_empty() && self.validation.is_empty()
    }

    /// The curves with the perplexities of training and validation raised to these powers: the numbers of tokens per unit
    /// make them perplexities per unit.
    pub(crate) fn raised(self, [training, validation]: [f64; 2]) -> Self {
        let raise = |points: Points, power: f64| -> Points {
            points.into_iter().map(|(epoch, perplexity)| (epoch, libm::pow(perplexity, power))).collect()
        };
        Self { training: raise(self.training, training), validation: raise(self.validation, validation) }
    }

    /// The curves in the lines of a `metrics.jsonl`: by whole epochs or, if fewer than two are finished, by minibatches. A
    /// perplexity that is not finite is left out.
    pub(crate) fn new(metrics: &[Metrics]) -> Self {
        let num_epochs = metrics.iter().filter(|line| line.minibatch.is_none()).count();
        let lines = || metrics.iter().filter(|line| num_epochs < 2 || line.minibatch.is_none());
        let points = |perplexity: fn(&Metrics) -> Option<f64>| {
            let points = lines().filter_map(|line| Some((line.epochs(), perplexity(line)?)));
            points.filter(|(_, perplexity)| perplexity.is_finite()).collect()
        };
        Self { training: points(|line| Some(line.perplexity)), validation: points(|line| line.val_perplexity) }
    }
}
