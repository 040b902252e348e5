//! The Elman cell's fused step on the CPU.

use rnnlm_tensor::Activation;
use rnnlm_tensor::cpu::{Isa, Kernel, Lanes, math};

use crate::recurrence::cpu::{BackwardStep, ForwardStep, FusedCell};

/// The fused Elman cell.
#[derive(Debug)]
pub(crate) struct Elman {
    pub(crate) activation: Activation,
}

impl FusedCell for Elman {
    fn forward(&self, step: ForwardStep<'_>) {
        let ForwardStep { context, hidden_before, hidden, .. } = step;
        context.pre_activations(0, hidden_before, hidden, context.strides.state);
        activate(context.isa, self.activation, hidden);
    }

    fn backward(&self, step: BackwardStep<'_>) {
        let BackwardStep { context, gates, hidden, grad_hidden, .. } = step;
        context.isa.run(Backward { activation: self.activation, h: hidden, dh: grad_hidden, dz: gates });
        context.hidden_gradient(0, gates, context.strides.state, grad_hidden, false);
    }
}

/// `h = φ(h)` in place.
fn activate(isa: Isa, activation: Activation, h: &mut [f32]) {
    match activation {
        Activation::Tanh => math::tanh(isa, h),
        Activation::Sigmoid => math::sigmoid(isa, h),
        // `f32::max` would turn NaN into 0 and hide a divergence
        Activation::Relu => h.iter_mut().for_each(|h| *h = if *h <= 0.0 { 0.0 } else { *h }),
    }
}

/// `∂z = ∂h ∘ φ′(h)`.
struct Backward<'a> {
    activation: Activation,
    /// Hidden state after the step, `[m, H]`.
    h: &'a [f32],
    /// `[m, H]`.
    dh: &'a [f32],
    /// `[m, H]`.
    dz: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let units = self.dz.iter_mut().zip(self.h.iter().zip(self.dh));
        match self.activation {
            Activation::Tanh => units.for_each(|(dz, (h, dh))| *dz = dh * (1.0 - h * h)),
            Activation::Sigmoid => units.for_each(|(dz, (h, dh))| *dz = dh * (h * (1.0 - h))),
            Activation::Relu => units.for_each(|(dz, (h, dh))| *dz = if *h <= 0.0 { 0.0 } else { *dh }),
        }
    }
}
