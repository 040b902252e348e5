//! Steps that a device has been handed and nobody has asked about yet, beside the walk's stages 3 and 8: the ids of the
//! minibatches to come lie on the device already, and what came of the steps waits there until one question brings all of
//! it. A device whose operations are done when their calls return has a queue of one step.

use rnnlm_rnn::Recurrence;
use rnnlm_tensor::{Tensor, View, ops};
use rnnlm_vocab::{Batches, Minibatch};

use crate::Result;
use crate::trainer::StepReport;

/// The most tokens of minibatches that lie ready: eight megabytes of ids.
const MAX_TOKENS: usize = 1 << 20;
/// The largest mean loss in nats whose perplexity is a finite `f64`.
pub(crate) const LARGEST_LOSS: f32 = 709.782_65;

/// The queue of a trainer.
#[derive(Debug)]
pub(crate) struct Queue<B: Recurrence> {
    /// Steps that it has room for, and steps in it.
    capacity: usize,
    len: usize,
    /// Where one minibatch is cut.
    minibatch: Minibatch,
    /// Inputs and targets of as many minibatches, on the host and on the device.
    ids: [Vec<u32>; 2],
    on_device: [B::Indices; 2],
    /// `[capacity, 2]`: sum of the losses and of the gradients' squares of each step.
    sums: Tensor<B>,
    /// The same on the host.
    read: Vec<f32>,
}

impl<B: Recurrence> Queue<B> {
    /// Room for one step with minibatches of this size.
    pub(crate) fn new(backend: &B, batch_size: usize, num_steps: usize) -> Result<Self> {
        Self::with_capacity(backend, Minibatch::new(batch_size, num_steps), 1)
    }

    fn with_capacity(backend: &B, minibatch: Minibatch, capacity: usize) -> Result<Self> {
        let len = capacity * minibatch.inputs.len();
        Ok(Self {
            capacity,
            len: 0,
            minibatch,
            ids: [vec![0; len], vec![0; len]],
            on_device: [backend.allocate_indices(len)?, backend.allocate_indices(len)?],
            sums: Tensor::zeros(backend, capacity, 2)?,
            read: vec![0.0; 2 * capacity],
        })
    }

    /// Makes room for so many steps, if their ids are not too many to lie ready.
    pub(crate) fn reserve(&mut self, backend: &B, steps: usize) -> Result<()> {
        let capacity = steps.min(MAX_TOKENS / self.minibatch.inputs.len());
        if capacity > self.capacity {
            *self = Self::with_capacity(backend, self.minibatch.clone(), capacity)?;
        }
        Ok(())
    }

    /// Steps in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether it is time to ask.
    pub(crate) fn is_full(&self) -> bool {
        self.len == self.capacity
    }

    /// Inputs and targets of the minibatches to come, of which number [`Queue::len`] is the next. An empty queue is given
    /// those from number `index` of the epoch on.
    pub(crate) fn ids(&mut self, backend: &B, batches: &Batches<'_>, index: usize) -> Result<&[B::Indices; 2]> {
        if self.len == 0 {
            let Self { minibatch, ids: [inputs, targets], .. } = self;
            let rows = minibatch.inputs.len();
            let coming = inputs.chunks_exact_mut(rows).zip(targets.chunks_exact_mut(rows));
            for (number, (inputs, targets)) in (index..batches.num_minibatches()).zip(coming) {
                batches.fill(number, minibatch)?;
                inputs.copy_from_slice(&minibatch.inputs);
                targets.copy_from_slice(&minibatch.targets);
            }
            for (ids, on_device) in self.ids.iter().zip(&mut self.on_device) {
                backend.write_indices(ids, on_device)?;
            }
        }
        Ok(&self.on_device)
    }

    /// Notes what came of a step.
    pub(crate) fn push(&mut self, backend: &B, loss_sum: View<'_, B>, sum_squares: View<'_, B>) -> Result<()> {
        let row = self.len..self.len + 1;
        ops::copy(backend, loss_sum, self.sums.view_mut().rows(row.clone()).cols(0..1))?;
        ops::copy(backend, sum_squares, self.sums.view_mut().rows(row).cols(1..2))?;
        self.len += 1;
        Ok(())
    }

    /// Waits for the steps and empties the queue: each one's report, and whether it is finite.
    pub(crate) fn settle(&mut self, backend: &B) -> Result<impl Iterator<Item = (StepReport, bool)> + use<'_, B>> {
        let len = std::mem::take(&mut self.len);
        let rows = self.minibatch.inputs.len() as f32;
        let read = &mut self.read[..2 * len];
        backend.read(self.sums.view().buffer, 0, read)?;
        Ok(read.chunks_exact(2).map(move |sums| {
            let report = StepReport { loss: sums[0] / rows, gradient_norm: sums[1].sqrt() };
            // as `Backend::skip_nonfinite` decides
            (report, sums[0].abs() <= LARGEST_LOSS * rows && sums[1].is_finite())
        }))
    }
}

#[cfg(test)]
mod tests {
    use rnnlm_tensor::Cpu;
    use rnnlm_vocab::Sampling;

    use super::*;

    #[test]
    fn the_largest_loss_is_the_last_one_with_a_finite_perplexity() {
        assert!(f64::from(LARGEST_LOSS).exp().is_finite());
        assert_eq!(f64::from(LARGEST_LOSS.next_up()).exp(), f64::INFINITY);
    }

    #[test]
    fn reports_come_in_the_order_of_the_steps_and_empty_the_queue() -> Result<()> {
        let cpu = Cpu::new(1)?;
        let mut queue = Queue::with_capacity(&cpu, Minibatch::new(2, 3), 2)?;
        for (loss_sum, sum_squares) in [(12.0, 4.0), (f32::NAN, 9.0)] {
            let [loss_sum, sum_squares] = [loss_sum, sum_squares].map(|sum| Tensor::from_slice(&cpu, 1, 1, &[sum]));
            queue.push(&cpu, loss_sum?.view(), sum_squares?.view())?;
        }
        assert!(queue.is_full());
        let reports: Vec<(StepReport, bool)> = queue.settle(&cpu)?.collect();
        assert_eq!(reports[0], (StepReport { loss: 2.0, gradient_norm: 2.0 }, true));
        assert!(reports[1].0.loss.is_nan() && !reports[1].1);
        assert_eq!((queue.len(), queue.settle(&cpu)?.count()), (0, 0));
        Ok(())
    }

    #[test]
    fn minibatches_to_come_lie_one_behind_the_other() -> Result<()> {
        let (cpu, corpus) = (Cpu::new(1)?, (0..40).collect::<Vec<u32>>());
        let batches = Batches::new(Sampling::Sequential, &corpus, 2, 3, 0, 0)?;
        let mut queue = Queue::with_capacity(&cpu, Minibatch::new(2, 3), 4)?;
        let [inputs, targets] = queue.ids(&cpu, &batches, 1)?;
        let mut expected = Minibatch::new(2, 3);
        for number in 0..4 {
            batches.fill(number + 1, &mut expected)?;
            let here = 6 * number..6 * (number + 1);
            assert_eq!((&inputs[here.clone()], &targets[here]), (&expected.inputs[..], &expected.targets[..]));
        }
        Ok(())
    }
}
