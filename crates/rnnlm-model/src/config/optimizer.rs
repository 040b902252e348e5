//! Which optimizer, with the settings and the defaults of `torch.optim`.

use rnnlm_tensor::Update;
use serde::{Deserialize, Serialize};

/// An optimizer and its settings; the formulas are at [`Update`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// `torch.optim.SGD`.
    Sgd {
        /// How much of the earlier gradients stays, 0 for nothing.
        momentum: f32,
        /// Nesterov's form of momentum.
        nesterov: bool,
        /// The share of a parameter that joins its gradient.
        weight_decay: f32,
    },
    /// `torch.optim.Adam`.
    Adam {
        /// β₁ and β₂: how much of the means of gradients and of their squares stays.
        betas: [f64; 2],
        /// Added to the denominator.
        eps: f32,
        /// The share of a parameter that joins its gradient.
        weight_decay: f32,
    },
    /// `torch.optim.AdamW`.
    Adamw {
        /// β₁ and β₂: how much of the means of gradients and of their squares stays.
        betas: [f64; 2],
        /// Added to the denominator.
        eps: f32,
        /// The share of a parameter, times the learning rate, that is taken off it.
        weight_decay: f32,
    },
    /// `torch.optim.RMSprop`.
    Rmsprop {
        /// How much of the mean of squares stays.
        alpha: f32,
        /// Added to the denominator.
        eps: f32,
        /// The share of a parameter that joins its gradient.
        weight_decay: f32,
        /// How much of the earlier steps stays, 0 for nothing.
        momentum: f32,
    },
}

impl Default for OptimizerConfig {
    /// Plain gradient descent, the book's.
    fn default() -> Self {
        Self::SGD
    }
}

impl OptimizerConfig {
    /// `torch.optim.SGD` with PyTorch's defaults.
    pub const SGD: Self = Self::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    /// `torch.optim.Adam` with PyTorch's defaults.
    pub const ADAM: Self = Self::Adam { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 };
    /// `torch.optim.AdamW` with PyTorch's defaults.
    pub const ADAMW: Self = Self::Adamw { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01 };
    /// `torch.optim.RMSprop` with PyTorch's defaults.
    pub const RMSPROP: Self = Self::Rmsprop { alpha: 0.99, eps: 1e-8, weight_decay: 0.0, momentum: 0.0 };
    /// Each of them, with PyTorch's defaults.
    pub const ALL: [Self; 4] = [Self::SGD, Self::ADAM, Self::ADAMW, Self::RMSPROP];

    /// The name that users type and files carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sgd { .. } => "sgd",
            Self::Adam { .. } => "adam",
            Self::Adamw { .. } => "adamw",
            Self::Rmsprop { .. } => "rmsprop",
        }
    }

    /// The learning rate where none is given: PyTorch's defaults, and for SGD, which has none there, the book's.
    pub fn default_lr(self) -> f32 {
        match self {
            Self::Sgd { .. } => 1.0,
            Self::Adam { .. } | Self::Adamw { .. } => 1e-3,
            Self::Rmsprop { .. } => 1e-2,
        }
    }

    /// The share of a parameter that joins its gradient or is taken off it.
    pub fn weight_decay(self) -> f32 {
        let (Self::Sgd { weight_decay, .. }
        | Self::Adam { weight_decay, .. }
        | Self::Adamw { weight_decay, .. }
        | Self::Rmsprop { weight_decay, .. }) = self;
        weight_decay
    }

    /// How many values a parameter it keeps from one update to the next.
    pub fn num_buffers(self) -> usize {
        self.rule(0.0, 1).buffers().len()
    }

    /// Update `t`, from 1, at a learning rate.
    pub fn rule(self, lr: f32, t: u64) -> Update {
        match self {
            Self::Sgd { momentum, nesterov, weight_decay } => Update::Sgd { lr, momentum, nesterov, weight_decay },
            Self::Adam { betas, eps, weight_decay } => adam(lr, t, betas, eps, weight_decay, false),
            Self::Adamw { betas, eps, weight_decay } => adam(lr, t, betas, eps, weight_decay, true),
            Self::Rmsprop { alpha, eps, weight_decay, momentum } => {
                Update::Rmsprop { lr, alpha, eps, weight_decay, momentum }
            }
        }
    }

    /// Every setting with its name, and whether it makes an optimizer with what it must be.
    pub(super) fn checks(self) -> Vec<(&'static str, f32, bool, &'static str)> {
        let below_one = |name, value: f32| (name, value, (0.0..1.0).contains(&value), "from 0 to below 1");
        let decay =
            |value: f32| ("weight_decay", value, value.is_finite() && value >= 0.0, "a finite number, 0 for none");
        let eps_check = |value: f32| ("eps", value, value.is_finite() && value > 0.0, "a finite number above 0");
        match self {
            Self::Sgd { momentum, nesterov, weight_decay } => {
                let needed = "above 0 and below 1 with Nesterov's form";
                let good = !nesterov || momentum > 0.0;
                vec![below_one("momentum", momentum), ("momentum", momentum, good, needed), decay(weight_decay)]
            }
            Self::Adam { betas, eps, weight_decay } | Self::Adamw { betas, eps, weight_decay } => {
                let [beta1, beta2] = betas.map(|beta| below_one("betas", beta as f32));
                vec![beta1, beta2, eps_check(eps), decay(weight_decay)]
            }
            Self::Rmsprop { alpha, eps, weight_decay, momentum } => {
                vec![below_one("alpha", alpha), eps_check(eps), decay(weight_decay), below_one("momentum", momentum)]
            }
        }
    }
}

/// The corrections are powers of numbers near 1, so they are taken in double precision, as PyTorch does.
fn adam(lr: f32, t: u64, betas: [f64; 2], eps: f32, weight_decay: f32, decoupled: bool) -> Update {
    let [mean, square] = betas.map(|beta| 1.0 - beta.powf(t as f64));
    let bias_corrections = [mean as f32, square.sqrt() as f32];
    Update::Adam { lr, betas: betas.map(|beta| beta as f32), eps, weight_decay, decoupled, bias_corrections }
}
