//! Learning rate schedules, by the formulas of `torch.optim.lr_scheduler`, stepped once per epoch or once per minibatch.
//!
//! The rate is a function of the number of the epoch or step and of [`Plateau`], which is part of the saved
//! [`Position`](crate::Position). A resumed run therefore uses the rates of an uninterrupted one.

use serde::{Deserialize, Serialize};

use super::defaults::{is_one, one};

/// How the learning rate changes from epoch to epoch, or from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum Schedule {
    /// The rate stays the same.
    #[default]
    Constant,
    /// `StepLR`: multiplied by `gamma` every `step_size` epochs or steps.
    Step {
        /// Epochs or steps between two reductions.
        step_size: u64,
        /// The factor of each reduction.
        gamma: f64,
    },
    /// `ExponentialLR`: multiplied by `gamma` every epoch or step, from the end of the first `decay_after` ones on.
    Exponential {
        /// The factor of each reduction.
        gamma: f64,
        /// Epochs or steps at the initial rate: 1 in PyTorch, `max_epoch` in the code of Zaremba, Sutskever, Vinyals,
        /// *Recurrent Neural Network Regularization* (2014).
        #[serde(default = "one", skip_serializing_if = "is_one")]
        decay_after: u64,
    },
    /// `CosineAnnealingLR`: from the initial rate to `min_lr` at the end of training.
    Cosine {
        /// The final rate, `eta_min` in PyTorch.
        min_lr: f64,
    },
    /// `OneCycleLR`, always by step: from `lr / div_factor` up to `lr` in the fraction `pct_start` of all steps, then down to
    /// `lr / (div_factor·final_div_factor)`, both along half a cosine. The momentum does not change.
    #[serde(rename = "one-cycle")]
    OneCycle {
        /// The fraction of the steps in which the rate increases.
        pct_start: f64,
        /// The ratio of `lr` to the first rate.
        div_factor: f64,
        /// The ratio of the first rate to the last.
        final_div_factor: f64,
    },
    /// `ReduceLROnPlateau`: multiplied by `factor` after more than `patience` epochs in a row without an improvement by
    /// 0.01 %. The metric is the perplexity of the validation set, or of training if there is none.
    Plateau {
        /// The factor of each reduction.
        factor: f64,
        /// Epochs without improvement before the rate is reduced.
        patience: u64,
    },
}

/// The state of [`Schedule::Plateau`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Plateau {
    /// The best perplexity so far.
    pub best: Option<f64>,
    /// Epochs without improvement since the best one or the last reduction.
    pub bad_epochs: u64,
    /// Reductions so far.
    pub reductions: u32,
}

/// Relative `threshold` of `ReduceLROnPlateau`.
const THRESHOLD: f64 = 1e-4;

impl Plateau {
    /// Updates the state with the perplexity of an epoch.
    pub(crate) fn observe(&mut self, perplexity: f64, patience: u64) {
        // as in PyTorch, a NaN is no improvement
        if perplexity.is_finite() && self.best.is_none_or(|best| perplexity < best * (1.0 - THRESHOLD)) {
            self.best = Some(perplexity);
            self.bad_epochs = 0;
        } else {
            self.bad_epochs = self.bad_epochs.saturating_add(1);
        }
        if self.bad_epochs > patience {
            self.reductions = self.reductions.saturating_add(1);
            self.bad_epochs = 0;
        }
    }
}

impl Schedule {
    /// The name in flags and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Step { .. } => "step",
            Self::Exponential { .. } => "exponential",
            Self::Cosine { .. } => "cosine",
            Self::OneCycle { .. } => "one-cycle",
            Self::Plateau { .. } => "plateau",
        }
    }

    /// The learning rate in epoch `index` of `total`, or in step `index` of `total`, counted from 0. In the first `warmup` of
    /// them it is `lr·(index + 1) / (warmup + 1)` (`LinearLR`); the schedule starts after them.
    pub(crate) fn lr(self, lr: f32, [index, total, warmup]: [u64; 3], plateau: &Plateau) -> f32 {
        let base = f64::from(lr);
        let Some(after) = index.checked_sub(warmup) else {
            return (base * (index as f64 + 1.0) / (warmup as f64 + 1.0)) as f32;
        };
        let scheduled = match self {
            Self::Constant => return lr,
            Self::Step { step_size, gamma } => base * libm::pow(gamma, (after / step_size.max(1)) as f64),
            Self::Exponential { gamma, decay_after } => {
                base * libm::pow(gamma, after.saturating_add(1).saturating_sub(decay_after) as f64)
            }
            Self::Cosine { min_lr } => {
                let length = total.saturating_sub(warmup).max(1);
                let fraction = after.min(length) as f64 / length as f64;
                min_lr + (base - min_lr) * (1.0 + libm::cos(std::f64::consts::PI * fraction)) / 2.0
            }
            Self::OneCycle { pct_start, div_factor, final_div_factor } => {
                let first = base / div_factor;
                // the steps with the highest and with the last rate
                let total = total.max(1) as f64;
                let highest = pct_start * total - 1.0;
                let last = total - 1.0;
                let step = (index as f64).min(last);
                if step <= highest {
                    cosine(first, base, step / highest.max(f64::MIN_POSITIVE))
                } else {
                    cosine(base, first / final_div_factor, (step - highest) / (last - highest))
                }
            }
            Self::Plateau { factor, .. } => base * libm::pow(factor, f64::from(plateau.reductions)),
        };
        scheduled as f32
    }

    /// Whether the rate of an epoch depends on the total number of epochs.
    pub fn depends_on_total_epochs(self) -> bool {
        matches!(self, Self::Cosine { .. } | Self::OneCycle { .. })
    }

    /// Name and value of every setting, whether the value is valid for `lr`, and the condition for it.
    pub(super) fn checks(self, lr: f32) -> Vec<(&'static str, String, bool, &'static str)> {
        let gamma = |name, value: f64| (name, value.to_string(), value > 0.0 && value <= 1.0, "above 0 and at most 1");
        match self {
            Self::Constant => Vec::new(),
            Self::Step { step_size, gamma: factor } => {
                vec![gamma("gamma", factor), ("step_size", step_size.to_string(), step_size > 0, "at least 1")]
            }
            Self::Exponential { gamma: factor, decay_after } => {
                vec![gamma("gamma", factor), ("decay_after", decay_after.to_string(), decay_after > 0, "at least 1")]
            }
            Self::Cosine { min_lr } => {
                let valid = min_lr >= 0.0 && min_lr <= f64::from(lr);
                vec![("min_lr", min_lr.to_string(), valid, "from 0 to the learning rate")]
            }
            Self::OneCycle { pct_start, div_factor, final_div_factor } => {
                let ratio = |name, value: f64| {
                    (name, value.to_string(), value.is_finite() && value >= 1.0, "a finite number, at least 1")
                };
                let is_fraction = pct_start > 0.0 && pct_start < 1.0;
                vec![
                    ("pct_start", pct_start.to_string(), is_fraction, "above 0 and below 1"),
                    ratio("div_factor", div_factor),
                    ratio("final_div_factor", final_div_factor),
                ]
            }
            Self::Plateau { factor, .. } => vec![gamma("factor", factor)],
        }
    }
}

/// The factor of the rate in epoch or step `index` of `warmup`: `(index + 1) / (warmup + 1)`, and 1 after them.
pub(crate) fn warm_up(index: u64, warmup: u64) -> f64 {
    // in floating point, because `warmup` can be the largest integer
    ((index as f64 + 1.0) / (warmup as f64 + 1.0)).min(1.0)
}

/// The value at `fraction` of half a cosine from `start` to `end`.
fn cosine(start: f64, end: f64, fraction: f64) -> f64 {
    end + (start - end) / 2.0 * (1.0 + libm::cos(std::f64::consts::PI * fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates of six epochs, of which the first `warmup` are warm-up.
    fn rates(schedule: Schedule, warmup: u64) -> Vec<f32> {
        (0..6).map(|epoch| schedule.lr(2.0, [epoch, 6, warmup], &Plateau::default())).collect()
    }

    #[test]
    fn rates_equal_those_of_pytorch() {
        // printed by PyTorch 2.15 for SGD with lr 2: StepLR(2, 0.1), ExponentialLR(0.5), CosineAnnealingLR(6, 0.5)
        assert_eq!(rates(Schedule::Constant, 0), [2.0; 6]);
        let step = Schedule::Step { step_size: 2, gamma: 0.1 };
        assert_eq!(rates(step, 0), [2.0, 2.0, 0.2, 0.2, 0.02, 0.02]);
        let exponential = |decay_after| Schedule::Exponential { gamma: 0.5, decay_after };
        assert_eq!(rates(exponential(1), 0), [2.0, 1.0, 0.5, 0.25, 0.125, 0.0625]);
        // `lr * lr_decay ** max(i + 1 - max_epoch, 0)` with max_epoch 4
        assert_eq!(rates(exponential(4), 0), [2.0, 2.0, 2.0, 2.0, 1.0, 0.5]);
        let cosine = [2.0, 1.899_519_1, 1.625, 1.25, 0.875, 0.600_480_9];
        for (found, expected) in rates(Schedule::Cosine { min_lr: 0.5 }, 0).into_iter().zip(cosine) {
            // PyTorch multiplies the previous rate in double precision; ours is rounded once, to single precision
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        // LinearLR(1/3, 1, 2), then CosineAnnealingLR(4, 0) from the third epoch
        let warm = [0.666_666_7, 1.333_333_4, 2.0, 1.707_106_8, 1.0, 0.292_893_2];
        for (found, expected) in rates(Schedule::Cosine { min_lr: 0.0 }, 2).into_iter().zip(warm) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn one_cycle_has_the_rates_of_pytorch() {
        let schedule = Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 };
        // printed by PyTorch 2.15 for OneCycleLR(max_lr=2, total_steps=10)
        let expected =
            [0.08, 1.04, 2.0, 1.900_969_3, 1.623_491_3, 1.222_524, 0.777_484, 0.376_516_7, 0.099_038_735, 8e-6];
        for (step, expected) in (0..).zip(expected) {
            let found = schedule.lr(2.0, [step, 10, 0], &Plateau::default());
            assert!((found - expected).abs() < 1e-7 * (1.0 + expected), "step {step}: {found} {expected}");
        }
        // after the last step, and for runs of one step
        assert_eq!(schedule.lr(2.0, [10, 10, 0], &Plateau::default()), 8e-6);
        for total in 0..3 {
            assert!(schedule.lr(2.0, [0, total, 0], &Plateau::default()).is_finite(), "{total} steps");
        }
    }

    #[test]
    fn the_rate_is_reduced_after_more_than_patience_epochs_without_improvement() {
        let mut plateau = Plateau::default();
        let schedule = Schedule::Plateau { factor: 0.5, patience: 1 };
        let rates = [3.0, 2.999_9, 3.1, 3.1, 3.1, 2.0].map(|perplexity| {
            plateau.observe(perplexity, 1);
            schedule.lr(1.0, [0, 10, 0], &plateau)
        });
        // printed by PyTorch 2.15 for ReduceLROnPlateau(factor=0.5, patience=1); 2.9999 is no improvement on 3
        assert_eq!(rates, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
        assert_eq!(plateau, Plateau { best: Some(2.0), bad_epochs: 0, reductions: 2 });
    }

    #[test]
    fn a_perplexity_that_is_not_finite_is_no_improvement() {
        let mut plateau = Plateau::default();
        let reductions = [f64::NAN, f64::INFINITY, 3.0, f64::NAN, 3.5, 2.0].map(|perplexity| {
            plateau.observe(perplexity, 1);
            plateau.reductions
        });
        // printed by PyTorch 2.15 for ReduceLROnPlateau(patience=1), whose initial best is infinite
        assert_eq!(reductions, [0, 1, 1, 1, 2, 2]);
        assert_eq!(plateau.best, Some(2.0));
    }

    #[test]
    fn the_longest_warm_up_has_tiny_rates() {
        let rate = Schedule::Constant.lr(1.0, [u64::MAX - 1, u64::MAX, u64::MAX], &Plateau::default());
        assert_eq!(rate, 1.0);
        let rate = Schedule::Constant.lr(1.0, [0, u64::MAX, u64::MAX], &Plateau::default());
        assert!(rate > 0.0 && rate < 1e-19, "{rate}");
    }
}
