//! Averaging of the parameters over the updates of a run.

use serde::{Deserialize, Serialize};

/// Which average of the parameters is evaluated and saved instead of the parameters themselves.
///
/// ```text
/// w̄_k = w̄_{k−1} + μ_k·(w_k − w̄_{k−1})        w_k: the parameters after the k-th averaged update
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Average {
    /// No average.
    #[default]
    None,
    /// The mean of all iterates since the perplexity on the validation set stopped improving, `μ_k = 1 / max(1, k − 1)` as in
    /// `torch.optim.ASGD(t0=0, lambd=0)`. Averaging begins after the first epoch whose perplexity is above the best one of
    /// all epochs but the last five (NT-ASGD of Merity, Keskar, Socher, *Regularizing and Optimizing LSTM Language Models*,
    /// 2017, algorithm 1, with L = one epoch and n = 5).
    NtAsgd,
    /// An exponential moving average over all updates, `μ_1 = 1` and `μ_k = 1 − decay`, as
    /// `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn(decay)`.
    Ema {
        /// The weight of the average so far.
        decay: f64,
    },
}

impl Average {
    /// The name in flags and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NtAsgd => "nt-asgd",
            Self::Ema { .. } => "ema",
        }
    }

    /// `μ_k`, with `k` counted from 1.
    pub(crate) fn weight(self, k: u64) -> f32 {
        match self {
            Self::None => 0.0,
            Self::NtAsgd => (1.0 / k.saturating_sub(1).max(1) as f64) as f32,
            Self::Ema { decay } => (if k <= 1 { 1.0 } else { 1.0 - decay }) as f32,
        }
    }

    /// Name and value of every setting, whether the value is valid, and the condition for it.
    pub(super) fn checks(self) -> Vec<(&'static str, String, bool, &'static str)> {
        match self {
            Self::None | Self::NtAsgd => Vec::new(),
            Self::Ema { decay } => {
                vec![("ema_decay", decay.to_string(), decay > 0.0 && decay < 1.0, "above 0 and below 1")]
            }
        }
    }
}

/// The perplexities that [`Average::NtAsgd`] compares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NonMonotone {
    /// The best perplexity of all epochs but the last five.
    pub best_before: Option<f64>,
    /// The perplexities of the last five epochs, the oldest first.
    pub recent: [Option<f64>; 5],
}

impl NonMonotone {
    /// Adds the perplexity of an epoch. Returns whether averaging begins. As in PyTorch, a NaN is not above any value.
    pub(crate) fn observe(&mut self, perplexity: f64) -> bool {
        let begins = self.best_before.is_some_and(|best| perplexity > best);
        if let [Some(oldest), ..] = self.recent {
            self.best_before = Some(self.best_before.map_or(oldest, |best| best.min(oldest)));
        }
        self.recent.rotate_left(1);
        self.recent[4] = Some(perplexity);
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the epoch after which averaging begins.
    fn begins_after(perplexities: &[f64]) -> Option<usize> {
        let mut state = NonMonotone::default();
        perplexities.iter().position(|&perplexity| state.observe(perplexity)).map(|index| index + 1)
    }

    #[test]
    fn averaging_begins_when_the_condition_of_the_awd_lstm_code_holds() {
        // `len(best_val_loss) > 5 and val_loss > min(best_val_loss[:-5])`, evaluated in Python for these lists
        assert_eq!(begins_after(&[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]), None);
        assert_eq!(begins_after(&[5.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]), Some(7));
        assert_eq!(begins_after(&[5.0, 4.0, 4.5, 4.5, 4.5, 4.5, 4.5, 4.5]), Some(8));
        assert_eq!(begins_after(&[5.0, 6.0, 6.0, 6.0, 6.0]), None);
    }

    #[test]
    fn weights_are_those_of_asgd_and_of_the_exponential_moving_average() {
        // `mu` of torch.optim.ASGD(t0=0) in its first five steps
        assert_eq!([1, 2, 3, 4, 5].map(|k| Average::NtAsgd.weight(k)), [1.0, 1.0, 0.5, 1.0 / 3.0, 0.25]);
        assert_eq!([1, 2, 9].map(|k| Average::Ema { decay: 0.75 }.weight(k)), [1.0, 0.25, 0.25]);
    }
}
