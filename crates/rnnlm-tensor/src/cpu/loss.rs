//! Softmax cross-entropy, the losses and their gradient in one pass over the logits; and the logarithm of the softmax.

use rayon::prelude::*;

use super::device::Cpu;
use super::isa::{Isa, Kernel, Lanes};
use super::math;
use super::rows::row;
use crate::error::check_ids;
use crate::{Layout, Result, View, ViewMut};

/// The most rows of a task, and logits of a task with fewer rows. No result depends on them.
const MAX_ROWS_PER_TASK: usize = 64;
const LOGITS_PER_TASK: usize = 1 << 16;
/// Logits whose exponentials are computed in one call. Several short rows together fill the pipeline better than one.
const LOGITS_PER_BLOCK: usize = 1 << 11;

/// Rows are slices rather than arrays, because the exponentials of several rows, and of the padding between them, are
/// computed in one vectorised call.
pub(super) fn softmax_cross_entropy(
    isa: Isa,
    [scale, smoothing]: [f32; 2],
    targets: &[u32],
    logits: ViewMut<'_, Cpu>,
    losses: ViewMut<'_, Cpu>,
) -> Result<()> {
    let Layout { cols, padding, .. } = logits.layout;
    let stride = logits.layout.stride.max(1);
    let loss_stride = losses.layout.stride;
    check_ids("softmax_cross_entropy", targets, cols)?;
    let rows_per_task = rows_per_task(stride);
    logits.buffer[logits.layout.span()]
        .par_chunks_mut(rows_per_task * stride)
        .zip(losses.buffer[losses.layout.span()].par_chunks_mut(rows_per_task * loss_stride))
        .zip(targets.par_chunks(rows_per_task))
        .for_each(|((logits, losses), targets)| {
            isa.run(SoftmaxRows {
                scale,
                smoothing,
                targets,
                logits,
                stride,
                cols,
                only_padding_between: stride <= cols + padding,
                losses,
                loss_stride,
            });
        });
    Ok(())
}

fn rows_per_task(stride: usize) -> usize {
    (LOGITS_PER_TASK / stride).clamp(1, MAX_ROWS_PER_TASK)
}

/// The rows of one task: `losses = −ln softmax[target]`, `logits = scale·(softmax − (1 − ε)·one_hot(target) − ε/V)`.
struct SoftmaxRows<'a> {
    scale: f32,
    /// ε.
    smoothing: f32,
    targets: &'a [u32],
    logits: &'a mut [f32],
    stride: usize,
    cols: usize,
    /// Whether the elements between two rows are padding, which may be overwritten.
    only_padding_between: bool,
    losses: &'a mut [f32],
    loss_stride: usize,
}

impl Kernel for SoftmaxRows<'_> {
    type Output = ();
    /// The maximum is subtracted first, so that no exponential overflows and their sum is at least 1.
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { scale, smoothing, targets, logits, stride, cols, only_padding_between, losses, loss_stride } = self;
        let of_target = scale * (1.0 - smoothing);
        let of_each = scale * smoothing / cols as f32;
        let block_rows = if only_padding_between { (LOGITS_PER_BLOCK / stride).max(1) } else { 1 };
        let blocks = logits.chunks_mut(block_rows * stride).zip(losses.chunks_mut(block_rows * loss_stride));
        for ((logits, losses), targets) in blocks.zip(targets.chunks(block_rows)) {
            for ((logits, loss), &target) in rows(logits, stride, losses, loss_stride).zip(targets) {
                let logits = &mut logits[..cols];
                let max = math::max(logits);
                logits.iter_mut().for_each(|logit| *logit -= max);
                *loss = logits[target as usize];
            }
            math::exp_each::<L>(&mut logits[..(targets.len() - 1) * stride + cols]);
            for ((logits, loss), &target) in rows(logits, stride, losses, loss_stride).zip(targets) {
                let logits = &mut logits[..cols];
                let sum = math::sum(logits);
                let factor = scale / sum;
                logits.iter_mut().for_each(|logit| *logit *= factor);
                if smoothing > 0.0 {
                    logits.iter_mut().for_each(|logit| *logit -= of_each);
                }
                logits[target as usize] -= of_target;
                *loss = libm::logf(sum) - *loss;
            }
        }
    }
}

/// `out[r, :] = ln softmax(out[r, :]) + shift[r]`.
pub(super) fn log_softmax(isa: Isa, shift: Option<View<'_, Cpu>>, out: ViewMut<'_, Cpu>) {
    let Layout { cols, .. } = out.layout;
    let stride = out.layout.stride.max(1);
    let rows_per_task = rows_per_task(stride);
    let tasks = out.buffer[out.layout.span()].par_chunks_mut(rows_per_task * stride).enumerate();
    tasks.for_each(|(task, out)| {
        for (index, out) in out.chunks_mut(stride).enumerate() {
            let shift = shift.map_or(0.0, |shift| row(&shift, task * rows_per_task + index)[0]);
            isa.run(LogSoftmaxRow { shift, out: &mut out[..cols] });
        }
    });
}

/// One row of [`log_softmax`].
struct LogSoftmaxRow<'a> {
    shift: f32,
    out: &'a mut [f32],
}

impl Kernel for LogSoftmaxRow<'_> {
    type Output = ();
    /// The maximum is subtracted first, so that no exponential overflows and their sum is at least 1.
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { shift, out } = self;
        let max = math::max(out);
        let mut sum = 0.0;
        for logits in out.chunks(LOGITS_PER_BLOCK) {
            let mut exponentials = [0.0; LOGITS_PER_BLOCK];
            let exponentials = &mut exponentials[..logits.len()];
            exponentials.iter_mut().zip(logits).for_each(|(exponential, logit)| *exponential = logit - max);
            math::exp_each::<L>(exponentials);
            sum += math::sum(exponentials);
        }
        let offset = shift - libm::logf(sum);
        out.iter_mut().for_each(|logit| *logit = (*logit - max) + offset);
    }
}

/// The rows of the logits and their losses.
#[inline(always)]
fn rows<'a>(
    logits: &'a mut [f32],
    stride: usize,
    losses: &'a mut [f32],
    loss_stride: usize,
) -> impl Iterator<Item = (&'a mut [f32], &'a mut f32)> {
    logits.chunks_mut(stride).zip(losses.iter_mut().step_by(loss_stride))
}
