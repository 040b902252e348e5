//! Optimizer updates: the equations and names of `torch.optim`. `rnnlm-model` chooses the settings.

/// One update of every parameter `w` by its gradient `g`, which is already multiplied by the clipping factor. `m` and `v` are
/// state buffers, zero before the first update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// `torch.optim.SGD`, without dampening:
    ///
    /// ```text
    /// g += weight_decay·w
    /// m = momentum·m + g                     if momentum > 0
    /// g = m, or g + momentum·m if nesterov   if momentum > 0
    /// w −= lr·g
    /// ```
    Sgd {
        /// The learning rate.
        lr: f32,
        /// The momentum factor; with 0 there is no state.
        momentum: f32,
        /// Whether to use Nesterov momentum.
        nesterov: bool,
        /// The L2 penalty: this fraction of a parameter is added to its gradient.
        weight_decay: f32,
    },
    /// `torch.optim.Adam`, or `torch.optim.AdamW` if `decoupled`:
    ///
    /// ```text
    /// g += weight_decay·w                    or, if decoupled, w −= lr·weight_decay·w
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
        /// The weight decay: added to the gradient, or subtracted from the parameter if `decoupled`.
        weight_decay: f32,
        /// Whether the weight decay is decoupled from the gradient (AdamW).
        decoupled: bool,
        /// `1 − β₁ᵗ` and `√(1 − β₂ᵗ)`, where `t` counts updates from 1.
        bias_corrections: [f32; 2],
    },
    /// `torch.optim.RMSprop` with `centered=False`:
    ///
    /// ```text
    /// g += weight_decay·w
    /// v = alpha·v + (1 − alpha)·g²
    /// d = g / (√v + eps)
    /// m = momentum·m + d                     and then d = m, if momentum > 0
    /// w −= lr·d
    /// ```
    Rmsprop {
        /// The learning rate.
        lr: f32,
        /// The smoothing constant of the mean of squares.
        alpha: f32,
        /// Added to the denominator.
        eps: f32,
        /// The L2 penalty: this fraction of a parameter is added to its gradient.
        weight_decay: f32,
        /// The momentum factor; with 0 there is no `m`.
        momentum: f32,
    },
}

impl Update {
    /// PyTorch's names of the state buffers, in the order of [`Backend::update`](crate::Backend::update)'s `state`.
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
