//! Softmax cross-entropy, row by row: the loss and its gradient in one pass over the logits.

use rayon::prelude::*;

use super::{Cpu, Isa, Kernel, Lanes, check_id, math};
use crate::{Layout, Result, ViewMut};

/// Rows that one task takes; fixed, so that the split does not follow the number of threads.
const ROWS_PER_TASK: usize = 64;
/// Logits of several rows whose exponentials are taken in one go: the rows of a small vocabulary are shorter than what the
/// CPU works on at a time.
const TOGETHER: usize = 1 << 11;

pub(super) fn softmax_cross_entropy(
    isa: Isa,
    scale: f32,
    targets: &[u32],
    logits: ViewMut<'_, Cpu>,
    losses: ViewMut<'_, Cpu>,
) -> Result<()> {
    let (Layout { cols, stride, padding, .. }, span) = (logits.layout, logits.layout.span());
    let (loss_stride, loss_span) = (losses.layout.stride, losses.layout.span());
    for &target in targets {
        check_id("softmax_cross_entropy", target, cols)?;
    }
    logits.buffer[span]
        .par_chunks_mut(ROWS_PER_TASK * stride)
        .zip(losses.buffer[loss_span].par_chunks_mut(ROWS_PER_TASK * loss_stride))
        .zip(targets.par_chunks(ROWS_PER_TASK))
        .for_each(|((logits, losses), targets)| {
            let gaps = stride > cols + padding;
            isa.run(SoftmaxRows { scale, targets, logits, stride, cols, gaps, losses, loss_stride });
        });
    Ok(())
}

/// Some rows: `−ln softmax[target]` goes to `losses`, `scale·(softmax − one_hot)` is left behind.
struct SoftmaxRows<'a> {
    scale: f32,
    targets: &'a [u32],
    logits: &'a mut [f32],
    stride: usize,
    cols: usize,
    /// Whether something else stands between two rows.
    gaps: bool,
    losses: &'a mut [f32],
    loss_stride: usize,
}

impl Kernel for SoftmaxRows<'_> {
    type Output = ();
    /// The largest logit is subtracted first, so that no exponential overflows and their sum is at least 1.
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { scale, targets, logits, stride, cols, gaps, losses, loss_stride } = self;
        let together = if gaps { 1 } else { (TOGETHER / stride).max(1) };
        let blocks = logits.chunks_mut(together * stride).zip(losses.chunks_mut(together * loss_stride));
        for ((logits, losses), targets) in blocks.zip(targets.chunks(together)) {
            for ((logits, loss), &target) in rows(logits, stride, losses, loss_stride).zip(targets) {
                let logits = &mut logits[..cols];
                let largest = math::largest(logits);
                logits.iter_mut().for_each(|logit| *logit -= largest);
                *loss = logits[target as usize];
            }
            math::exp_each::<L>(&mut logits[..(targets.len() - 1) * stride + cols]);
            for ((logits, loss), &target) in rows(logits, stride, losses, loss_stride).zip(targets) {
                let logits = &mut logits[..cols];
                let sum = math::sum(logits);
                let factor = scale / sum;
                logits.iter_mut().for_each(|logit| *logit *= factor);
                logits[target as usize] -= scale;
                *loss = sum.ln() - *loss;
            }
        }
    }
}

/// Rows of logits, each with the place of its loss.
#[inline(always)]
fn rows<'a>(
    logits: &'a mut [f32],
    stride: usize,
    losses: &'a mut [f32],
    loss_stride: usize,
) -> impl Iterator<Item = (&'a mut [f32], &'a mut f32)> {
    logits.chunks_mut(stride).zip(losses.iter_mut().step_by(loss_stride))
}
