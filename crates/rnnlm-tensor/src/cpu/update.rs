//! Optimizer updates: the equations are in [`Update`].

use ndarray::parallel::prelude::*;
use ndarray::{ArrayView2, ArrayViewMut2, azip};

use super::device::Cpu;
use super::elementwise::{column_blocks, column_blocks_mut};
use crate::{Update, View, ViewMut};

/// Updates `parameters` and `state` with `g = factor·gradients`.
pub(super) fn update(
    rule: Update,
    factor: f32,
    gradients: View<'_, Cpu>,
    [first, second]: [ViewMut<'_, Cpu>; 2],
    parameters: ViewMut<'_, Cpu>,
) {
    let gradients = ArrayView2::from(gradients);
    let mut parameters = ArrayViewMut2::from(parameters);
    let g = column_blocks(&gradients);
    let w = column_blocks_mut(&mut parameters);
    match rule {
        Update::Sgd { lr, momentum: 0.0, weight_decay, .. } => {
            g.zip(w).for_each(|(g, w)| {
                azip!((&g in g, w in w) *w -= lr * (factor * g + weight_decay * *w));
            });
        }
        Update::Sgd { lr, momentum, nesterov, weight_decay } => {
            let mut first = ArrayViewMut2::from(first);
            (g, column_blocks_mut(&mut first), w).into_par_iter().for_each(|(g, m, w)| {
                azip!((&g in g, m in m, w in w) {
                    let g = factor * g + weight_decay * *w;
                    *m = momentum * *m + g;
                    *w -= lr * if nesterov { g + momentum * *m } else { *m };
                });
            });
        }
        Update::Adam { lr, betas, eps, weight_decay, decoupled, bias_corrections } => {
            let (shrink, l2_penalty) = if decoupled { (1.0 - lr * weight_decay, 0.0) } else { (1.0, weight_decay) };
            let step_size = lr / bias_corrections[0];
            let [mut first, mut second] = [first, second].map(ArrayViewMut2::from);
            let [m, v] = [&mut first, &mut second].map(column_blocks_mut);
            (g, m, v, w).into_par_iter().for_each(|(g, m, v, w)| {
                azip!((&g in g, m in m, v in v, w in w) {
                    let g = factor * g + l2_penalty * *w;
                    *m += (1.0 - betas[0]) * (g - *m);
                    *v = betas[1] * *v + (1.0 - betas[1]) * g * g;
                    *w = *w * shrink - step_size * *m / (v.sqrt() / bias_corrections[1] + eps);
                });
            });
        }
        Update::Rmsprop { lr, alpha, eps, weight_decay, momentum: 0.0 } => {
            let mut first = ArrayViewMut2::from(first);
            (g, column_blocks_mut(&mut first), w).into_par_iter().for_each(|(g, v, w)| {
                azip!((&g in g, v in v, w in w) {
                    let g = factor * g + weight_decay * *w;
                    *v = alpha * *v + (1.0 - alpha) * g * g;
                    *w -= lr * g / (v.sqrt() + eps);
                });
            });
        }
        Update::Rmsprop { lr, alpha, eps, weight_decay, momentum } => {
            let [mut first, mut second] = [first, second].map(ArrayViewMut2::from);
            let [v, m] = [&mut first, &mut second].map(column_blocks_mut);
            (g, v, m, w).into_par_iter().for_each(|(g, v, m, w)| {
                azip!((&g in g, v in v, m in m, w in w) {
                    let g = factor * g + weight_decay * *w;
                    *v = alpha * *v + (1.0 - alpha) * g * g;
                    *m = momentum * *m + g / (v.sqrt() + eps);
                    *w -= lr * *m;
                });
            });
        }
    }
}
