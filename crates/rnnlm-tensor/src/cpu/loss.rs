//! Softmax cross-entropy, row by row: the loss and its gradient in one pass over the logits.

use rayon::prelude::*;

use super::{Cpu, Isa, check_id, math};
use crate::{Result, ViewMut};

/// Rows that one task takes; fixed, so that the split does not follow the number of threads.
const ROWS_PER_TASK: usize = 64;

pub(super) fn softmax_cross_entropy(
    isa: Isa,
    scale: f32,
    targets: &[u32],
    logits: ViewMut<'_, Cpu>,
    losses: ViewMut<'_, Cpu>,
) -> Result<()> {
    let (cols, stride, span) = (logits.layout.cols, logits.layout.stride, logits.layout.span());
    let (loss_stride, loss_span) = (losses.layout.stride, losses.layout.span());
    for &target in targets {
        check_id("softmax_cross_entropy", target, cols)?;
    }
    logits.buffer[span]
        .par_chunks_mut(ROWS_PER_TASK * stride)
        .zip(losses.buffer[loss_span].par_chunks_mut(ROWS_PER_TASK * loss_stride))
        .zip(targets.par_chunks(ROWS_PER_TASK))
        .for_each(|((logits, losses), targets)| {
            let rows = logits.chunks_mut(stride).zip(losses.chunks_mut(loss_stride)).zip(targets);
            for ((logits, loss), &target) in rows {
                loss[0] = softmax_row(isa, scale, target as usize, &mut logits[..cols]);
            }
        });
    Ok(())
}

/// One row: `−ln softmax[target]` is returned, `scale·(softmax − one_hot)` is left behind.
///
/// The largest logit is subtracted first, so that no exponential overflows and the sum is at least 1.
fn softmax_row(isa: Isa, scale: f32, target: usize, logits: &mut [f32]) -> f32 {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |largest, &logit| largest.max(logit));
    let of_target = logits[target] - largest;
    let sum = math::exp_sum(isa, largest, logits);
    let factor = scale / sum;
    for logit in logits.iter_mut() {
        *logit *= factor;
    }
    logits[target] -= scale;
    sum.ln() - of_target
}
