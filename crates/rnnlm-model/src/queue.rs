//! The steps of an epoch that run on the device ahead of the host.
//!
//! The queue uploads the ids of several minibatches together, and keeps loss and gradient norm of each step on the device
//! until one read returns all of them. A backend whose operations are complete when their calls return has a queue of one
//! step.

use rnnlm_rnn::Recurrence;
use rnnlm_tensor::{Tensor, View, ops};
use rnnlm_vocab::{Batches, Minibatch};

use crate::optimizer::is_finite_step;
use crate::workspace::{LossSum, MinibatchIds};
use crate::{Result, StepReport};

/// The most tokens that are uploaded together: 8 MB of inputs and targets.
const MAX_UPLOADED_TOKENS: usize = 1 << 20;

/// The queue of a trainer.
#[derive(Debug)]
pub(crate) struct Queue<B: Recurrence> {
    /// The most steps that it holds.
    capacity: usize,
    /// Steps that were started and not yet reported.
    len: usize,
    /// The number of targets of each of these steps.
    targets: Vec<usize>,
    /// Scratch memory for sampling.
    minibatch: Minibatch,
    /// Inputs and targets of `capacity` minibatches, on the host and on the device.
    host_ids: [Vec<u32>; 2],
    device_ids: [B::Indices; 2],
    /// `[capacity, 2]`: sum of the losses and sum of the squared gradients of each step.
    sums: Tensor<B>,
    /// `sums` on the host.
    host_sums: Vec<f32>,
}

/// The result of a step of the queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QueuedResult {
    pub(crate) report: StepReport,
    /// Number of targets.
    pub(crate) targets: usize,
    /// Whether loss and gradient norm are finite.
    pub(crate) is_finite: bool,
}

impl<B: Recurrence> Queue<B> {
    /// A queue for one step.
    pub(crate) fn new(backend: &B, batch_size: usize, num_steps: usize) -> Result<Self> {
        Self::with_capacity(backend, Minibatch::new(batch_size, num_steps), 1)
    }

    fn with_capacity(backend: &B, minibatch: Minibatch, capacity: usize) -> Result<Self> {
        let len = capacity * minibatch.inputs.len();
        Ok(Self {
            capacity,
            len: 0,
            targets: vec![0; capacity],
            minibatch,
            host_ids: [vec![0; len], vec![0; len]],
            device_ids: [backend.allocate_indices(len)?, backend.allocate_indices(len)?],
            sums: Tensor::zeros(backend, capacity, 2)?,
            host_sums: vec![0.0; 2 * capacity],
        })
    }

    /// Increases the capacity to `steps`, or to the most minibatches that are uploaded together.
    pub(crate) fn reserve(&mut self, backend: &B, steps: usize) -> Result<()> {
        let capacity = steps.min(MAX_UPLOADED_TOKENS / self.minibatch.inputs.len());
        if capacity > self.capacity {
            *self = Self::with_capacity(backend, self.minibatch.clone(), capacity)?;
        }
        Ok(())
    }

    /// The number of steps in the queue.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == self.capacity
    }

    /// If the queue is empty, uploads the minibatches of the epoch from `index` on, as many as the capacity.
    pub(crate) fn upload_if_empty(&mut self, backend: &B, batches: &Batches<'_>, index: usize) -> Result<()> {
        if self.len > 0 {
            return Ok(());
        }
        let Self { minibatch, host_ids: [inputs, targets], .. } = self;
        let rows = minibatch.inputs.len();
        let slots = inputs.chunks_exact_mut(rows).zip(targets.chunks_exact_mut(rows));
        for (index, (inputs, targets)) in (index..batches.num_minibatches()).zip(slots) {
            batches.fill(index, minibatch)?;
            inputs.copy_from_slice(&minibatch.inputs);
            targets.copy_from_slice(&minibatch.targets);
        }
        for (host, device) in self.host_ids.iter().zip(&mut self.device_ids) {
            backend.write_indices(host, device)?;
        }
        Ok(())
    }

    /// The next of the uploaded minibatches.
    pub(crate) fn next_minibatch(&self) -> MinibatchIds<'_, B> {
        let rows = self.minibatch.inputs.len();
        let host = self.host_ids.each_ref().map(|ids| &ids[self.len * rows..][..rows]);
        MinibatchIds::Device { buffers: self.device_ids.each_ref(), index: self.len, host }
    }

    /// Adds a step with its results.
    pub(crate) fn push(&mut self, backend: &B, loss: LossSum<'_, B>, sum_squares: View<'_, B>) -> Result<()> {
        let row = self.len..self.len + 1;
        self.targets[self.len] = loss.targets;
        ops::copy(backend, loss.sum, self.sums.view_mut().rows(row.clone()).cols(0..1))?;
        ops::copy(backend, sum_squares, self.sums.view_mut().rows(row).cols(1..2))?;
        self.len += 1;
        Ok(())
    }

    /// Waits for all steps and removes them.
    pub(crate) fn drain(&mut self, backend: &B) -> Result<impl Iterator<Item = QueuedResult> + use<'_, B>> {
        let len = std::mem::take(&mut self.len);
        let sums = &mut self.host_sums[..2 * len];
        backend.read(self.sums.view().buffer, 0, sums)?;
        Ok(sums.as_chunks().0.iter().zip(&self.targets).map(|(&[loss_sum, sum_squares], &targets)| QueuedResult {
            report: StepReport { loss: loss_sum / targets as f32, gradient_norm: sum_squares.sqrt() },
            targets,
            is_finite: is_finite_step(loss_sum, targets, sum_squares),
        }))
    }
}

#[cfg(test)]
mod tests {
    use rnnlm_tensor::Cpu;
    use rnnlm_vocab::Sampling;

    use super::*;

    #[test]
    fn drain_reports_steps_in_order_and_empties_the_queue() -> Result<()> {
        let cpu = Cpu::new(1)?;
        let mut queue = Queue::with_capacity(&cpu, Minibatch::new(2, 3), 2)?;
        for (loss_sum, targets, sum_squares) in [(12.0, 6, 4.0), (f32::NAN, 4, 9.0)] {
            let [sum, sum_squares] = [loss_sum, sum_squares].map(|sum| Tensor::from_slice(&cpu, 1, 1, &[sum]));
            queue.push(&cpu, LossSum { sum: sum?.view(), targets }, sum_squares?.view())?;
        }
        assert!(queue.is_full());
        let results: Vec<QueuedResult> = queue.drain(&cpu)?.collect();
        let report = StepReport { loss: 2.0, gradient_norm: 2.0 };
        assert_eq!(results[0], QueuedResult { report, targets: 6, is_finite: true });
        assert!(results[1].report.loss.is_nan() && results[1].targets == 4 && !results[1].is_finite);
        assert_eq!((queue.len(), queue.drain(&cpu)?.count()), (0, 0));
        Ok(())
    }

    #[test]
    fn upload_stores_the_coming_minibatches_in_order() -> Result<()> {
        let (cpu, corpus) = (Cpu::new(1)?, (0..40).collect::<Vec<u32>>());
        let batches = Batches::new(Sampling::Sequential, &corpus, 2, 3, 0, 0)?;
        let mut queue = Queue::with_capacity(&cpu, Minibatch::new(2, 3), 4)?;
        queue.upload_if_empty(&cpu, &batches, 1)?;
        let [inputs, targets] = &queue.device_ids;
        let mut expected = Minibatch::new(2, 3);
        for index in 0..4 {
            batches.fill(index + 1, &mut expected)?;
            let slot = 6 * index..6 * (index + 1);
            assert_eq!((&inputs[slot.clone()], &targets[slot]), (&expected.inputs[..], &expected.targets[..]));
        }
        Ok(())
    }
}
