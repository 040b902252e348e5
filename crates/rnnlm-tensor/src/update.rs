//! Stage 8 of the walk, element by element: how a parameter moves by its gradient. The formulas and the names are those of
//! `torch.optim`; which numbers they get, and when, is decided two crates above.

/// One update of every parameter `w` by its gradient `g`, which has been multiplied by the factor of clipping; `m` and `v` are
/// what is kept from one update to the next, zero before the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// `torch.optim.SGD`, without dampening:
    ///
    /// ```text
    /// g += weight_decay·w
    /// m = momentum·m + g                     where momentum > 0, and g becomes m, or g + momentum·m with Nesterov's
    /// w −= lr·g
    /// ```
    Sgd {
        /// The learning rate.
        lr: f32,
        /// How much of the earlier gradients stays, 0 for nothing.
        momentum: f32,
        /// Nesterov's form of it.
        nesterov: bool,
        /// The share of a parameter that joins its gradient.
        weight_decay: f32,
    },
    /// `torch.optim.Adam`, and with `decoupled` `torch.optim.AdamW`:
    ///
    /// ```text
    /// g += weight_decay·w                    w −= lr·weight_decay·w where decoupled
    /// m = m + (1 − β₁)·(g − m)               v = β₂·v + (1 − β₂)·g²
    /// w −= lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)
    /// ```
    Adam {
        /// The learning rate.
        lr: f32,
        /// β₁ and β₂.
        betas: [f32; 2],
        /// Added to the denominator.
        eps: f32,
        /// The share of a parameter that joins its gradient, or is taken off the parameter itself.
        weight_decay: f32,
        /// Whether it is taken off the parameter itself.
        decoupled: bool,
        /// `1 − β₁ᵗ` and `√(1 − β₂ᵗ)` of update `t`, from 1.
        bias_corrections: [f32; 2],
    },
    /// `torch.optim.RMSprop`, not centred:
    ///
    /// ```text
    /// g += weight_decay·w
    /// v = alpha·v + (1 − alpha)·g²
    /// d = g / (√v + eps)                     m = momentum·m + d where momentum > 0, and d becomes m
    /// w −= lr·d
    /// ```
    Rmsprop {
        /// The learning rate.
        lr: f32,
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

impl Update {
    /// PyTorch's names of what is kept, in the order in which it is handed over: `[m, v]`, or what there is of them.
    pub fn buffers(self) -> &'static [&'static str] {
        match self {
            Self::Sgd { momentum: 0.0, .. } => &[],
            Self::Sgd { .. } => &["momentum_buffer"],
            Self::Adam { .. } => &["exp_avg", "exp_avg_sq"],
            Self::Rmsprop { momentum: 0.0, .. } => &["square_avg"],
            Self::Rmsprop { .. } => &["square_avg", "momentum_buffer"],
        }
    }
}
