//! How the learning rate changes from epoch to epoch, by the formulas of `torch.optim.lr_scheduler`, each stepped once an
//! epoch. What it is in an epoch follows from the number of the epoch, and on a plateau from what was seen before it, which is
//! part of a training's position: a training that is gone on with has the rates that it would have had.

use serde::{Deserialize, Serialize};

/// The factor of the learning rate in each epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum Schedule {
    /// Always 1.
    #[default]
    Constant,
    /// `StepLR`: times `gamma` every `step_size` epochs.
    Step {
        /// Epochs between two changes.
        step_size: u64,
        /// The factor of each change.
        gamma: f64,
    },
    /// `ExponentialLR`: times `gamma` every epoch.
    Exponential {
        /// The factor of each change.
        gamma: f64,
    },
    /// `CosineAnnealingLR` from the rate down to `min_lr` at the end of the last epoch.
    Cosine {
        /// The rate that it approaches.
        min_lr: f64,
    },
    /// `ReduceLROnPlateau`: times `factor` where more than `patience` epochs in a row have not been better by 0.01 % than the
    /// best before them; on the held-out text's perplexity, or the training's where there is none.
    Plateau {
        /// The factor of each change.
        factor: f64,
        /// Epochs without an improvement that are put up with.
        patience: u64,
    },
}

/// What [`Schedule::Plateau`] has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Plateau {
    /// The best perplexity.
    pub best: Option<f64>,
    /// Epochs since then, or since the last change.
    pub bad_epochs: u64,
    /// Changes.
    pub reductions: u32,
}

/// `threshold` of `ReduceLROnPlateau`, relative.
const THRESHOLD: f64 = 1e-4;

impl Plateau {
    /// Takes the perplexity of an epoch into account.
    pub(crate) fn observe(&mut self, perplexity: f64, patience: u64) {
        if self.best.is_none_or(|best| perplexity < best * (1.0 - THRESHOLD)) {
            self.best = Some(perplexity);
            self.bad_epochs = 0;
        } else {
            self.bad_epochs += 1;
        }
        if self.bad_epochs > patience {
            self.reductions += 1;
            self.bad_epochs = 0;
        }
    }
}

impl Schedule {
    /// The name that users type and files carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Step { .. } => "step",
            Self::Exponential { .. } => "exponential",
            Self::Cosine { .. } => "cosine",
            Self::Plateau { .. } => "plateau",
        }
    }

    /// The learning rate in epoch `epoch`, from 0, of `epochs`: `lr·(epoch + 1) / (warmup + 1)` in the first `warmup`
    /// epochs (`LinearLR`), and what the schedule makes of `lr` in those that follow.
    pub(crate) fn lr(self, lr: f32, [epoch, epochs, warmup]: [u64; 3], plateau: &Plateau) -> f32 {
        let base = f64::from(lr);
        let Some(after) = epoch.checked_sub(warmup) else {
            return (base * (epoch + 1) as f64 / (warmup + 1) as f64) as f32;
        };
        let scheduled = match self {
            Self::Constant => return lr,
            Self::Step { step_size, gamma } => base * gamma.powf((after / step_size.max(1)) as f64),
            Self::Exponential { gamma } => base * gamma.powf(after as f64),
            Self::Cosine { min_lr } => {
                let (lowest, length) = (min_lr, epochs.saturating_sub(warmup).max(1));
                let share = after.min(length) as f64 / length as f64;
                lowest + (base - lowest) * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0
            }
            Self::Plateau { factor, .. } => base * factor.powf(f64::from(plateau.reductions)),
        };
        scheduled as f32
    }

    /// Whether the rates before the end depend on where the end is.
    pub fn depends_on_the_end(self) -> bool {
        matches!(self, Self::Cosine { .. })
    }

    /// Every setting with its name, and whether it makes a schedule of `lr` with what it must be.
    pub(super) fn checks(self, lr: f32) -> Vec<(&'static str, String, bool, &'static str)> {
        let gamma = |name, value: f64| (name, value.to_string(), value > 0.0 && value <= 1.0, "above 0 and at most 1");
        match self {
            Self::Constant => Vec::new(),
            Self::Step { step_size, gamma: factor } => {
                vec![gamma("gamma", factor), ("step_size", step_size.to_string(), step_size > 0, "at least 1")]
            }
            Self::Exponential { gamma: factor } => vec![gamma("gamma", factor)],
            Self::Cosine { min_lr } => {
                vec![(
                    "min_lr",
                    min_lr.to_string(),
                    min_lr >= 0.0 && min_lr <= f64::from(lr),
                    "from 0 to the learning rate",
                )]
            }
            Self::Plateau { factor, .. } => vec![gamma("factor", factor)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates of the first epochs of six, one of them of warm-up where `warmup` is 1.
    fn rates(schedule: Schedule, warmup: u64) -> Vec<f32> {
        (0..6).map(|epoch| schedule.lr(2.0, [epoch, 6, warmup], &Plateau::default())).collect()
    }

    #[test]
    fn rates_are_those_of_pytorch_s_schedulers() {
        // printed by PyTorch 2.15 for SGD with lr 2: StepLR(2, 0.1), ExponentialLR(0.5), CosineAnnealingLR(6, 0.5)
        assert_eq!(rates(Schedule::Constant, 0), [2.0; 6]);
        let step = Schedule::Step { step_size: 2, gamma: 0.1 };
        assert_eq!(rates(step, 0), [2.0, 2.0, 0.2, 0.2, 0.02, 0.02]);
        assert_eq!(rates(Schedule::Exponential { gamma: 0.5 }, 0), [2.0, 1.0, 0.5, 0.25, 0.125, 0.0625]);
        let cosine = [2.0, 1.899_519_1, 1.625, 1.25, 0.875, 0.600_480_9];
        for (found, expected) in rates(Schedule::Cosine { min_lr: 0.5 }, 0).into_iter().zip(cosine) {
            // PyTorch multiplies on from epoch to epoch, in double precision; one rounding to single is here
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        // LinearLR(1/3, 1, 2), then CosineAnnealingLR(4, 0) from its third epoch on
        let warm = [0.666_666_7, 1.333_333_4, 2.0, 1.707_106_8, 1.0, 0.292_893_2];
        for (found, expected) in rates(Schedule::Cosine { min_lr: 0.0 }, 2).into_iter().zip(warm) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn a_plateau_is_more_epochs_without_an_improvement_than_patience() {
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
}
