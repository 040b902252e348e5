//! The losses of a minibatch and their gradients, for each kind of output layer.

use rnnlm_rnn::{ParameterSet, Recurrence};
use rnnlm_tensor::ops;

use super::{InspectLogits, LanguageModel};
use crate::output::{AdaptiveOutput, LinearOutput, OutputLayer, TargetRows};
use crate::shard_order::ShardOrder;
use crate::{Result, Workspace};

impl<B: Recurrence> LanguageModel<B> {
    /// The losses, and the gradients of the output layer and of the layers' output.
    pub(super) fn losses(
        &self,
        workspace: &mut Workspace<B>,
        mut gradients: Option<&mut [ParameterSet<B>]>,
        inspect: Option<&mut InspectLogits<'_, B>>,
    ) -> Result<()> {
        match &self.output {
            OutputLayer::Linear(output) => self.linear_losses(output, workspace, gradients.as_deref_mut(), inspect)?,
            OutputLayer::Adaptive(output) => {
                // its settings allow a single shard
                let gradients = gradients.as_deref_mut().and_then(<[_]>::first_mut);
                self.adaptive_losses(output, workspace, gradients, inspect)?;
            }
        }
        let batch_sizes = [workspace.batch_size, workspace.minibatch_batch_size()];
        let (num_shards, rows_per_shard) = (workspace.num_shards(), workspace.rows() / workspace.num_shards());
        let Workspace { memory, grad_output, regularization, regularized_output, shards, losses, loss_sums, .. } =
            workspace;
        if gradients.is_some() {
            if let Some(shards) = shards {
                shards.scatter(&self.backend, grad_output)?;
            }
            let layers = (&self.stack, &*memory);
            regularized_output.backward(&self.backend, regularization, layers, batch_sizes, grad_output)?;
        }
        for shard in 0..num_shards {
            let losses = losses.view().rows(shard * rows_per_shard..(shard + 1) * rows_per_shard);
            ops::sum(&self.backend, losses, loss_sums.view_mut().rows(shard..shard + 1))?;
        }
        Ok(())
    }

    /// Logits, losses and gradients, chunk by chunk, so that the logits of a large vocabulary are never all in memory.
    fn linear_losses(
        &self,
        output: &LinearOutput,
        workspace: &mut Workspace<B>,
        mut gradients: Option<&mut [ParameterSet<B>]>,
        mut inspect: Option<&mut InspectLogits<'_, B>>,
    ) -> Result<()> {
        let scale = 1.0 / workspace.minibatch_rows() as f32;
        let rows_per_shard = workspace.rows() / workspace.num_shards();
        if let Workspace { shards: Some(shards), memory, regularization, regularized_output, .. } = &mut *workspace {
            shards.gather(&self.backend, regularized_output.view(regularization, &self.stack, memory))?;
        }
        for rows in workspace.chunks() {
            let logits = self.logits(workspace, rows.clone())?;
            if let Some(inspect) = inspect.as_deref_mut() {
                inspect(rows.clone(), logits)?;
            }
            let Workspace {
                targets,
                memory,
                logits,
                losses,
                grad_output,
                regularization,
                regularized_output,
                shards,
                ..
            } = &mut *workspace;
            let by_shard = shards.as_mut().and_then(ShardOrder::copies_mut);
            let chunk = 0..rows.len();
            let losses = losses.view_mut().rows(rows.clone());
            let grad_logits = logits.view_mut().rows(chunk.clone());
            let smoothing = regularization.label_smoothing;
            ops::softmax_cross_entropy(&self.backend, scale, smoothing, targets, rows.clone(), grad_logits, losses)?;
            if let Some(gradients) = gradients.as_deref_mut() {
                let (y, grad_y) = match by_shard {
                    Some([y, grad_y]) => (y.view(), grad_y.view_mut()),
                    None => (regularized_output.view(regularization, &self.stack, memory), grad_output.view_mut()),
                };
                let shard = &mut gradients[rows.start / rows_per_shard];
                let (y, grad_y, grad_logits) = (y.rows(rows.clone()), grad_y.rows(rows), logits.view().rows(chunk));
                output.backward(&self.backend, &self.parameters, y, grad_logits, grad_y, shard)?;
            }
        }
        Ok(())
    }

    /// The losses and gradients of an adaptive softmax. Only `inspect` needs the probabilities of all tokens.
    fn adaptive_losses(
        &self,
        output: &AdaptiveOutput,
        workspace: &mut Workspace<B>,
        gradients: Option<&mut ParameterSet<B>>,
        inspect: Option<&mut InspectLogits<'_, B>>,
    ) -> Result<()> {
        if let Some(inspect) = inspect {
            for rows in workspace.chunks() {
                inspect(rows.clone(), self.logits(workspace, rows)?)?;
            }
        }
        let Workspace { memory, logits, losses, grad_output, clusters, regularization, regularized_output, .. } =
            &mut *workspace;
        let Some(clusters) = clusters else { return Ok(()) };
        let y = regularized_output.view(regularization, &self.stack, memory);
        let targets = TargetRows { clusters, logits, losses: losses.view_mut(), grad_y: grad_output.view_mut() };
        output.losses(&self.backend, &self.parameters, y, targets, gradients)
    }
}
