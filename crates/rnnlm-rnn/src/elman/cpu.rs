//! The Elman cell's part of the CPU's fused path: what happens to some rows between two products.

use rnnlm_tensor::Activation;
use rnnlm_tensor::cpu::{Isa, Kernel, Lanes, math};

/// `h = φ(h)` in place.
pub(crate) fn forward(isa: Isa, activation: Activation, h: &mut [f32]) {
    match activation {
        Activation::Tanh => math::tanh(isa, h),
        Activation::Sigmoid => math::sigmoid(isa, h),
        // `f32::max` would turn NaN into 0 and hide a divergence
        Activation::Relu => h.iter_mut().for_each(|h| *h = if *h <= 0.0 { 0.0 } else { *h }),
    }
}

/// `∂z = ∂h ∘ φ′(h)`.
pub(crate) struct Backward<'a> {
    pub(crate) activation: Activation,
    /// Hidden state after the step, `[m, H]`.
    pub(crate) h: &'a [f32],
    /// `[m, H]`.
    pub(crate) dh: &'a [f32],
    /// `[m, H]`.
    pub(crate) dz: &'a mut [f32],
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
