//! Adds the gradients and losses of all shards, on this rank and on others, along the tree of [`Shards`].

use std::sync::Arc;

use rnnlm_rnn::{ParameterSet, Recurrence};
use rnnlm_tensor::{Tensor, ops};

use crate::shards::{Shards, additions};
use crate::{Collective, Error, Result};

/// Bytes of a value.
const FLOAT: usize = size_of::<f32>();

/// The sums over the shards of a minibatch.
#[derive(Debug)]
pub(crate) struct Reduction {
    collective: Arc<dyn Collective>,
    /// The first local gradients of each subtree that this rank sends.
    own: Vec<usize>,
    /// Additions of this rank's gradients, then of the subtrees of all ranks.
    local_additions: Vec<[usize; 2]>,
    additions: Vec<[usize; 2]>,
    /// The bytes that each rank sends.
    lens: Vec<usize>,
    /// Gradients and loss of one subtree on the host.
    values: Vec<f32>,
    /// Those of this rank's subtrees and of all subtrees, as bytes.
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Reduction {
    /// Memory for `num_parameters` gradients; none for a single rank.
    pub(crate) fn new(collective: Arc<dyn Collective>, shards: Shards, num_parameters: usize) -> Self {
        let (subtrees, first) = (shards.subtrees(), shards.local().start);
        let own = &subtrees[collective.rank()];
        let len = if collective.size() == 1 { 0 } else { num_parameters + 1 };
        let lens: Vec<usize> = subtrees.iter().map(|parts| parts.len() * len * FLOAT).collect();
        Self {
            own: own.iter().map(|part| part.first - first).collect(),
            local_additions: own.iter().flat_map(|part| part.additions()).map(|pair| pair.map(|s| s - first)).collect(),
            additions: additions(&subtrees.concat()),
            values: vec![0.0; len],
            sent: vec![0; lens[collective.rank()]],
            received: vec![0; lens.iter().sum()],
            lens,
            collective,
        }
    }

    /// Adds the gradients and losses of all shards. The sums are in `gradients[0]` and in the first row of `losses`, `[shards,
    /// 1]`; the other shards' values are overwritten. `step` counts from 1.
    pub(crate) fn sum<B: Recurrence>(
        &mut self,
        backend: &B,
        step: u64,
        gradients: &mut [ParameterSet<B>],
        losses: &mut Tensor<B>,
    ) -> Result<()> {
        for &pair in &self.local_additions {
            add(backend, gradients, losses, pair)?;
        }
        let Some(num_parameters) = self.values.len().checked_sub(1) else { return Ok(()) };
        let bytes = FLOAT * self.values.len();
        for (&index, sent) in self.own.iter().zip(self.sent.chunks_exact_mut(bytes)) {
            let (gradient, loss) = self.values.split_at_mut(num_parameters);
            backend.read(gradients[index].flat().buffer, 0, gradient)?;
            backend.read(losses.view().buffer, index, loss)?;
            let values = sent.as_chunks_mut().0.iter_mut().zip(&self.values);
            values.for_each(|(bytes, value)| *bytes = value.to_le_bytes());
        }
        self.collective.begin_step(step);
        let gathered = self.collective.gather(&self.sent, &self.lens, &mut self.received);
        gathered.map_err(|cause| Error::Exchange { step, cause })?;
        for &[a, b] in &self.additions {
            let (head, tail) = self.received.split_at_mut(b * bytes);
            let sums = head[a * bytes..][..bytes].as_chunks_mut().0.iter_mut();
            for (sum, value) in sums.zip(tail.as_chunks().0) {
                *sum = (f32::from_le_bytes(*sum) + f32::from_le_bytes(*value)).to_le_bytes();
            }
        }
        let sums = self.received.as_chunks().0.iter().zip(&mut self.values);
        sums.for_each(|(&bytes, value)| *value = f32::from_le_bytes(bytes));
        let (gradient, loss) = self.values.split_at(num_parameters);
        gradients[0].write(backend, gradient)?;
        Ok(backend.write(loss, losses.view_mut().buffer, 0)?)
    }
}

/// Adds gradients and loss of the local shard `b` to those of `a`.
fn add<B: Recurrence>(
    backend: &B,
    gradients: &mut [ParameterSet<B>],
    losses: &mut Tensor<B>,
    [a, b]: [usize; 2],
) -> Result<()> {
    let (head, tail) = gradients.split_at_mut(b);
    ops::axpy(backend, 1.0, tail[0].flat(), head[a].flat_mut())?;
    let mut value = [0.0; 2];
    for (index, value) in [a, b].into_iter().zip(&mut value) {
        backend.read(losses.view().buffer, index, std::slice::from_mut(value))?;
    }
    Ok(backend.write(&[value[0] + value[1]], losses.view_mut().buffer, a)?)
}
