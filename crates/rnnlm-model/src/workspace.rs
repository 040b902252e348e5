//! The device memory of a training step.

use std::ops::Range;

use rnnlm_rnn::{Recurrence, StackMemory, State};
use rnnlm_tensor::{Backend, Tensor, View};
use rnnlm_vocab::Minibatch;

use crate::embedding::Embedded;
use crate::output::ClusterRows;
use crate::regularization::RegularizedOutput;
use crate::shard_order::ShardOrder;
use crate::{Regularization, Result, TrainConfig};

/// The intermediate values of a minibatch of one size. They are allocated once, and every step overwrites them.
#[derive(Debug)]
pub struct Workspace<B: Recurrence> {
    pub(crate) num_steps: usize,
    pub(crate) batch_size: usize,
    pub(crate) inputs: B::Indices,
    pub(crate) targets: B::Indices,
    /// The output of the embedding; `None` for one-hot input.
    pub(crate) embedded: Option<Embedded<B>>,
    pub(crate) memory: StackMemory<B>,
    /// `[chunk, V]`: the logits of one chunk of rows, and after the loss their gradient. An adaptive softmax also has the
    /// logits of the head and of each cluster there.
    pub(crate) logits: Tensor<B>,
    /// The packed weight of the output layer.
    pub(crate) output_cache: B::LinearCache,
    /// The rows of the minibatch by cluster of an adaptive softmax; `None` for a linear output layer.
    pub(crate) clusters: Option<ClusterRows<B>>,
    /// `[T·N, 1]`: negative log likelihood of each target.
    pub(crate) losses: Tensor<B>,
    /// `[T·N, directions·H]`: gradient of the recurrent layers' output.
    pub(crate) grad_output: Tensor<B>,
    /// `[shards, 1]`: sums of `losses` over the rows of each shard, and in the first row over all of them.
    pub(crate) loss_sums: Tensor<B>,
    /// `None` if all rows of a minibatch are in one shard.
    pub(crate) shards: Option<ShardOrder<B>>,
    /// The rows of the minibatch that start a document; empty for a stream.
    pub(crate) starts: Vec<bool>,
    pub(crate) regularization: Regularization,
    pub(crate) regularized_output: RegularizedOutput<B>,
}

/// The ids of a minibatch.
#[derive(Debug)]
pub(crate) enum MinibatchIds<'a, B: Backend> {
    /// On the host.
    Host(&'a Minibatch),
    /// On both: minibatch `index` in buffers of inputs and targets on the device, and its inputs and targets on the host.
    Device { buffers: [&'a B::Indices; 2], index: usize, host: [&'a [u32]; 2] },
}

impl<'a, B: Backend> MinibatchIds<'a, B> {
    /// Inputs and targets, on the host.
    pub(crate) fn host(&self) -> [&'a [u32]; 2] {
        match self {
            Self::Host(minibatch) => [&minibatch.inputs, &minibatch.targets],
            Self::Device { host, .. } => *host,
        }
    }
}

/// The loss of a minibatch, on the device.
#[derive(Debug)]
pub(crate) struct LossSum<'a, B: Backend> {
    /// `[1, 1]`: sum over the targets, in nats.
    pub(crate) sum: View<'a, B>,
    /// Number of targets.
    pub(crate) targets: usize,
}

impl<B: Recurrence> Workspace<B> {
    /// Stage 3: copies the ids of a minibatch to the device.
    ///
    /// # Errors
    /// If the minibatch has another size than this workspace, or the device fails.
    pub fn load(&mut self, backend: &B, minibatch: &Minibatch) -> Result<()> {
        self.load_ids(backend, &MinibatchIds::Host(minibatch))
    }

    /// Stage 3 of training step `step`: loads the ids, sets the regularization of the step, and resets `state` if `config`
    /// does not carry it from one minibatch to the next. A document starts wherever `end_token` is the input.
    pub(crate) fn begin_step(
        &mut self,
        backend: &B,
        ids: MinibatchIds<'_, B>,
        end_token: Option<u32>,
        config: &TrainConfig,
        step: u64,
        state: &mut State<B>,
    ) -> Result<()> {
        if let MinibatchIds::Host(minibatch) = &ids
            && config.variable_bptt
            && (1..=config.max_num_steps()).contains(&minibatch.num_steps)
        {
            self.set_num_steps(backend, minibatch.num_steps);
        }
        self.starts.clear();
        self.load_ids(backend, &ids)?;
        if let (MinibatchIds::Host(minibatch), Some(end_token)) = (&ids, end_token) {
            let inputs = self.shards.as_ref().map_or(&minibatch.inputs[..], ShardOrder::inputs);
            self.starts.extend(inputs.iter().map(|&id| id == end_token));
        }
        let has_starts = self.starts.contains(&true);
        self.memory.set_starts(backend, has_starts.then_some(&self.starts))?;
        let regularization = config.regularization(step);
        let regularization = match &self.shards {
            Some(shards) => regularization.of_rows(shards.shards().mask_rows()),
            None => regularization,
        };
        self.set_regularization(backend, &regularization)?;
        if config.resets_state() {
            state.reset(backend)?;
        }
        Ok(())
    }

    /// Changes the number of steps **T** of the following passes, at most those that the workspace was made for. Nothing is
    /// allocated.
    ///
    /// # Panics
    /// If the workspace was made for fewer steps, or `num_steps` is 0.
    pub fn set_num_steps(&mut self, backend: &B, num_steps: usize) {
        self.num_steps = num_steps;
        let rows = self.rows();
        for ids in [&mut self.inputs, &mut self.targets] {
            backend.set_indices_len(ids, rows);
        }
        if let Some(embedded) = &mut self.embedded {
            embedded.x.set_rows(rows);
            embedded.grad_x.set_rows(rows);
        }
        self.memory.set_num_steps(backend, num_steps);
        self.losses.set_rows(rows);
        self.grad_output.set_rows(rows);
        self.regularized_output.set_rows(rows);
        if let Some(clusters) = &mut self.clusters {
            clusters.set_rows(backend, rows);
        }
    }

    fn load_ids(&mut self, backend: &B, ids: &MinibatchIds<'_, B>) -> Result<()> {
        let [_, targets] = ids.host();
        match ids {
            MinibatchIds::Host(minibatch) => match &mut self.shards {
                None => {
                    backend.write_indices(&minibatch.inputs, &mut self.inputs)?;
                    backend.write_indices(&minibatch.targets, &mut self.targets)?;
                }
                Some(shards) => {
                    shards.select(minibatch);
                    let [inputs, targets] = shards.shard_ids();
                    backend.write_indices(shards.inputs(), &mut self.inputs)?;
                    backend.write_indices(targets, &mut self.targets)?;
                    self.memory.set_shard_ids(backend, inputs)?;
                }
            },
            MinibatchIds::Device { buffers: [inputs, device_targets], index, .. } => {
                let offset = index * self.rows();
                backend.copy_indices(inputs, offset, &mut self.inputs)?;
                backend.copy_indices(device_targets, offset, &mut self.targets)?;
            }
        }
        // after the lengths were checked
        match &mut self.clusters {
            Some(clusters) => clusters.group(backend, targets),
            None => Ok(()),
        }
    }

    /// Sets the regularization of the following passes; the default, as initially, has none.
    ///
    /// # Errors
    /// If there is weight drop and the cell has no recurrent weight, or the device has not enough memory.
    pub fn set_regularization(&mut self, backend: &B, regularization: &Regularization) -> Result<()> {
        self.memory.set_dropout_mask(backend, regularization.between_layers)?;
        self.memory.set_weight_mask(backend, regularization.weight_drop)?;
        self.regularized_output.reserve(backend, regularization, &self.grad_output)?;
        self.regularization = *regularization;
        Ok(())
    }

    /// Sets the rows of the minibatch that start a document, `T·N` flags step by step: their state is zero, and no gradient
    /// flows to the step before. `None`, as initially, starts none.
    ///
    /// # Errors
    /// If the model is bidirectional, the number of flags is not `T·N`, or the device fails.
    pub fn set_starts(&mut self, backend: &B, starts: Option<&[bool]>) -> Result<()> {
        Ok(self.memory.set_starts(backend, starts)?)
    }

    /// The number of rows of a whole minibatch, of which other ranks have a part.
    pub(crate) fn minibatch_rows(&self) -> usize {
        self.num_steps * self.minibatch_batch_size()
    }

    /// **N** of a whole minibatch.
    pub(crate) fn minibatch_batch_size(&self) -> usize {
        self.shards.as_ref().map_or(self.batch_size, |shards| shards.shards().batch_size)
    }

    /// The number of shards of this rank.
    pub(crate) fn num_shards(&self) -> usize {
        self.shards.as_ref().map_or(1, ShardOrder::count)
    }

    /// The number of rows of a minibatch, `T·N`.
    pub fn rows(&self) -> usize {
        self.num_steps * self.batch_size
    }

    /// The tapes and gradients of the recurrent layers.
    pub fn memory(&self) -> &StackMemory<B> {
        &self.memory
    }

    /// `[chunk, V]`: the logits that [`LanguageModel::logits`](crate::LanguageModel::logits) wrote, or after the loss the
    /// gradient of the last chunk, unless the output layer is an adaptive softmax. A chunk is the whole minibatch unless the
    /// vocabulary is large.
    pub fn logits(&self) -> View<'_, B> {
        self.logits.view()
    }

    /// `[1, 1]`: the sum of the negative log likelihoods of the targets, in nats.
    pub fn loss_sum(&self) -> View<'_, B> {
        self.loss_sums.view().rows(0..1)
    }

    /// [`Workspace::loss_sum`] with the number of targets.
    pub(crate) fn loss(&self) -> LossSum<'_, B> {
        LossSum { sum: self.loss_sum(), targets: self.minibatch_rows() }
    }

    /// The ranges of rows whose logits are computed together. No range has rows of two shards.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<B> {
        let per_shard = self.rows() / self.num_shards();
        let [chunk, _] = self.logits.shape();
        let shards = (0..self.num_shards()).map(move |shard| shard * per_shard);
        shards.flat_map(move |start| {
            let end = start + per_shard;
            (start..end).step_by(chunk).map(move |first| first..end.min(first + chunk))
        })
    }
}
