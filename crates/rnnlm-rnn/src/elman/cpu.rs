//! The Elman cell's part of the CPU's fused path: what happens to some rows between two products.

use rnnlm_tensor::Activation;
use rnnlm_tensor::cpu::{Isa, math};

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
pub(crate) fn backward(activation: Activation, h: &[f32], dh: &[f32], dz: &mut [f32]) {
    let pairs = h.iter().zip(dh);
    match activation {
        Activation::Tanh => dz.iter_mut().zip(pairs).for_each(|(dz, (h, dh))| *dz = dh * (1.0 - h * h)),
        Activation::Sigmoid => dz.iter_mut().zip(pairs).for_each(|(dz, (h, dh))| *dz = dh * (h * (1.0 - h))),
        Activation::Relu => dz.iter_mut().zip(pairs).for_each(|(dz, (h, dh))| *dz = if *h <= 0.0 { 0.0 } else { *dh }),
    }
}
