//! The optimizer and its settings, with the names and the defaults of `torch.optim`.

use rnnlm_tensor::Update;
use serde::{Deserialize, Serialize};

use super::numbers::shortest;

/// An optimizer and its settings. [`Update`] has the formulas.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// `torch.optim.SGD`.
    Sgd {
        /// Decay of the accumulated gradients; 0 for none.
        #[serde(serialize_with = "shortest")]
        momentum: f32,
        /// Whether to use Nesterov momentum.
        nesterov: bool,
        /// L2 penalty, added to the gradients.
        #[serde(serialize_with = "shortest")]
        weight_decay: f32,
    },
    /// `torch.optim.Adam`.
    Adam {
        /// β₁ and β₂: decay of the running means of the gradients and of their squares.
        betas: [f64; 2],
        /// Term added to the denominator.
        #[serde(serialize_with = "shortest")]
        eps: f32,
        /// L2 penalty, added to the gradients.
        #[serde(serialize_with = "shortest")]
        weight_decay: f32,
    },
    /// `torch.optim.AdamW`.
    Adamw {
        /// β₁ and β₂: decay of the running means of the gradients and of their squares.
        betas: [f64; 2],
        /// Term added to the denominator.
        #[serde(serialize_with = "shortest")]
        eps: f32,
        /// Decoupled weight decay: each update subtracts `lr·weight_decay·w` from a parameter `w`.
        #[serde(serialize_with = "shortest")]
        weight_decay: f32,
    },
    /// `torch.optim.SparseAdam` for the embedding, and `torch.optim.Adam` without weight decay for all other parameters, as
    /// PyTorch users combine them. An update changes only the rows of the minibatch's inputs, and their running means.
    #[serde(rename = "sparse-adam")]
    SparseAdam {
        /// β₁ and β₂: decay of the running means of the gradients and of their squares.
        betas: [f64; 2],
        /// Term added to the denominator.
        #[serde(serialize_with = "shortest")]
        eps: f32,
    },
    /// `torch.optim.RMSprop`.
    Rmsprop {
        /// Decay of the running mean of the squared gradients.
        #[serde(serialize_with = "shortest")]
        alpha: f32,
        /// Term added to the denominator.
        #[serde(serialize_with = "shortest")]
        eps: f32,
        /// L2 penalty, added to the gradients.
        #[serde(serialize_with = "shortest")]
        weight_decay: f32,
        /// Decay of the accumulated steps; 0 for none.
        #[serde(serialize_with = "shortest")]
        momentum: f32,
    },
}

impl Default for OptimizerConfig {
    /// SGD without momentum, as in the book.
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
    /// `torch.optim.SparseAdam` with PyTorch's defaults.
    pub const SPARSE_ADAM: Self = Self::SparseAdam { betas: [0.9, 0.999], eps: 1e-8 };
    /// `torch.optim.RMSprop` with PyTorch's defaults.
    pub const RMSPROP: Self = Self::Rmsprop { alpha: 0.99, eps: 1e-8, weight_decay: 0.0, momentum: 0.0 };
    /// Every optimizer, with PyTorch's defaults.
    pub const ALL: [Self; 5] = [Self::SGD, Self::ADAM, Self::ADAMW, Self::SPARSE_ADAM, Self::RMSPROP];

    /// The name in flags and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sgd { .. } => "sgd",
            Self::Adam { .. } => "adam",
            Self::Adamw { .. } => "adamw",
            Self::SparseAdam { .. } => "sparse-adam",
            Self::Rmsprop { .. } => "rmsprop",
        }
    }

    /// The default learning rate: PyTorch's, or the book's for SGD, where PyTorch has none.
    pub fn default_lr(self) -> f32 {
        match self {
            Self::Sgd { .. } => 1.0,
            Self::Adam { .. } | Self::Adamw { .. } | Self::SparseAdam { .. } => 1e-3,
            Self::Rmsprop { .. } => 1e-2,
        }
    }

    /// The weight decay, coupled or decoupled.
    pub fn weight_decay(self) -> f32 {
        match self {
            Self::Sgd { weight_decay, .. }
            | Self::Adam { weight_decay, .. }
            | Self::Adamw { weight_decay, .. }
            | Self::Rmsprop { weight_decay, .. } => weight_decay,
            Self::SparseAdam { .. } => 0.0,
        }
    }

    /// Whether an update changes only those rows of the embedding that have a gradient.
    pub fn has_sparse_updates(self) -> bool {
        matches!(self, Self::Sgd { momentum: 0.0, weight_decay: 0.0, .. } | Self::SparseAdam { .. })
    }

    /// The same optimizer without weight decay.
    #[must_use]
    pub fn without_weight_decay(mut self) -> Self {
        match &mut self {
            Self::Sgd { weight_decay, .. }
            | Self::Adam { weight_decay, .. }
            | Self::Adamw { weight_decay, .. }
            | Self::Rmsprop { weight_decay, .. } => *weight_decay = 0.0,
            Self::SparseAdam { .. } => {}
        }
        self
    }

    /// The number of state buffers, each with one value per parameter.
    pub fn num_buffers(self) -> usize {
        self.rule(0.0, 1).buffers().len()
    }

    /// The rule of update `t`, counted from 1, at learning rate `lr`.
    pub fn rule(self, lr: f32, t: u64) -> Update {
        match self {
            Self::Sgd { momentum, nesterov, weight_decay } => Update::Sgd { lr, momentum, nesterov, weight_decay },
            Self::Adam { betas, eps, weight_decay } => adam(lr, t, betas, eps, weight_decay, false),
            Self::Adamw { betas, eps, weight_decay } => adam(lr, t, betas, eps, weight_decay, true),
            Self::SparseAdam { betas, eps } => adam(lr, t, betas, eps, 0.0, false),
            Self::Rmsprop { alpha, eps, weight_decay, momentum } => {
                Update::Rmsprop { lr, alpha, eps, weight_decay, momentum }
            }
        }
    }

    /// The rule of update `t` for the rows of an embedding that have a gradient.
    ///
    /// `torch.optim.SparseAdam` adds `eps` before it corrects the bias of `v`: `w −= lr·√(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + eps)`.
    /// This is Adam's rule with `eps / √(1 − β₂ᵗ)`.
    pub fn embedding_rule(self, lr: f32, t: u64) -> Update {
        match (self, self.rule(lr, t)) {
            (Self::SparseAdam { .. }, Update::Adam { lr, betas, eps, weight_decay, decoupled, bias_corrections }) => {
                let eps = eps / bias_corrections[1];
                Update::Adam { lr, betas, eps, weight_decay, decoupled, bias_corrections }
            }
            (_, rule) => rule,
        }
    }

    /// Name and value of every setting, whether the value is valid, and the condition for it.
    pub(super) fn checks(self) -> Vec<(&'static str, f32, bool, &'static str)> {
        let below_one = |name, value: f32| (name, value, (0.0..1.0).contains(&value), "from 0 to below 1");
        let decay =
            |value: f32| ("weight_decay", value, value.is_finite() && value >= 0.0, "a finite number, 0 for none");
        let denominator = |value: f32| ("eps", value, value.is_finite() && value > 0.0, "a finite number above 0");
        match self {
            Self::Sgd { momentum, nesterov, weight_decay } => {
                let needed = "above 0 and below 1 with Nesterov momentum";
                let valid = !nesterov || momentum > 0.0;
                vec![below_one("momentum", momentum), ("momentum", momentum, valid, needed), decay(weight_decay)]
            }
            Self::Adam { betas, eps, weight_decay } | Self::Adamw { betas, eps, weight_decay } => {
                let [beta1, beta2] = betas.map(|beta| below_one("betas", beta as f32));
                vec![beta1, beta2, denominator(eps), decay(weight_decay)]
            }
            Self::SparseAdam { betas, eps } => {
                let [beta1, beta2] = betas.map(|beta| below_one("betas", beta as f32));
                vec![beta1, beta2, denominator(eps)]
            }
            Self::Rmsprop { alpha, eps, weight_decay, momentum } => {
                vec![below_one("alpha", alpha), denominator(eps), decay(weight_decay), below_one("momentum", momentum)]
            }
        }
    }
}

/// Adam's rule for update `t`. The bias corrections are computed in double precision, as PyTorch does.
fn adam(lr: f32, t: u64, betas: [f64; 2], eps: f32, weight_decay: f32, decoupled: bool) -> Update {
    let [mean, square] = betas.map(|beta| 1.0 - libm::pow(beta, t as f64));
    let bias_corrections = [mean as f32, square.sqrt() as f32];
    Update::Adam { lr, betas: betas.map(|beta| beta as f32), eps, weight_decay, decoupled, bias_corrections }
}
