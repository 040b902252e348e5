//! How parameters move, element by element: the equations are in [`Update`].

use rayon::prelude::*;

use super::elementwise::PART;
use super::{Cpu, row, row_mut};
use crate::{Update, View, ViewMut};

/// `w` moves by `factor·g`.
pub(super) fn update(
    rule: Update,
    factor: f32,
    gradients: View<'_, Cpu>,
    [first, second]: [ViewMut<'_, Cpu>; 2],
    parameters: ViewMut<'_, Cpu>,
) {
    match rule {
        Update::Sgd { lr, momentum: 0.0, weight_decay, .. } => {
            each(gradients, parameters, |g, w| *w -= lr * (factor * g + weight_decay * *w));
        }
        Update::Sgd { lr, momentum, nesterov, weight_decay } => {
            each_with(gradients, first, parameters, |g, m, w| {
                let g = factor * g + weight_decay * *w;
                *m = momentum * *m + g;
                *w -= lr * if nesterov { g + momentum * *m } else { *m };
            });
        }
        Update::Adam { lr, betas, eps, weight_decay, decoupled, bias_corrections } => {
            let (shrunk, joined) = if decoupled { (1.0 - lr * weight_decay, 0.0) } else { (1.0, weight_decay) };
            let (rate, root) = (lr / bias_corrections[0], bias_corrections[1]);
            each_with_both(gradients, [first, second], parameters, |g, m, v, w| {
                let g = factor * g + joined * *w;
                *m += (1.0 - betas[0]) * (g - *m);
                *v = betas[1] * *v + (1.0 - betas[1]) * g * g;
                *w = *w * shrunk - rate * *m / (v.sqrt() / root + eps);
            });
        }
        Update::Rmsprop { lr, alpha, eps, weight_decay, momentum: 0.0 } => {
            each_with(gradients, first, parameters, |g, v, w| {
                let g = factor * g + weight_decay * *w;
                *v = alpha * *v + (1.0 - alpha) * g * g;
                *w -= lr * g / (v.sqrt() + eps);
            });
        }
        Update::Rmsprop { lr, alpha, eps, weight_decay, momentum } => {
            each_with_both(gradients, [first, second], parameters, |g, v, m, w| {
                let g = factor * g + weight_decay * *w;
                *v = alpha * *v + (1.0 - alpha) * g * g;
                *m = momentum * *m + g / (v.sqrt() + eps);
                *w -= lr * *m;
            });
        }
    }
}

fn each(g: View<'_, Cpu>, mut w: ViewMut<'_, Cpu>, f: impl Fn(f32, &mut f32) + Sync) {
    for r in 0..g.layout.rows {
        let parts = row(&g, r).par_chunks(PART).zip(row_mut(&mut w, r).par_chunks_mut(PART));
        parts.for_each(|(g, w)| g.iter().zip(w).for_each(|(&g, w)| f(g, w)));
    }
}

fn each_with(
    g: View<'_, Cpu>,
    mut a: ViewMut<'_, Cpu>,
    mut w: ViewMut<'_, Cpu>,
    f: impl Fn(f32, &mut f32, &mut f32) + Sync,
) {
    for r in 0..g.layout.rows {
        let moved = row_mut(&mut a, r).par_chunks_mut(PART).zip(row_mut(&mut w, r).par_chunks_mut(PART));
        row(&g, r).par_chunks(PART).zip(moved).for_each(|(g, (a, w))| {
            g.iter().zip(a.iter_mut().zip(w)).for_each(|(&g, (a, w))| f(g, a, w));
        });
    }
}

fn each_with_both(
    g: View<'_, Cpu>,
    [mut a, mut b]: [ViewMut<'_, Cpu>; 2],
    mut w: ViewMut<'_, Cpu>,
    f: impl Fn(f32, &mut f32, &mut f32, &mut f32) + Sync,
) {
    for r in 0..g.layout.rows {
        let states = row_mut(&mut a, r).par_chunks_mut(PART).zip(row_mut(&mut b, r).par_chunks_mut(PART));
        let moved = states.zip(row_mut(&mut w, r).par_chunks_mut(PART));
        row(&g, r).par_chunks(PART).zip(moved).for_each(|(g, ((a, b), w))| {
            g.iter().zip(a.iter_mut().zip(b).zip(w)).for_each(|(&g, ((a, b), w))| f(g, a, b, w));
        });
    }
}
