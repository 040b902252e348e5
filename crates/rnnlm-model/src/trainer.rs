//! The training loop: [`Trainer::step`] trains on one minibatch, [`Trainer::epoch`] on the whole corpus. Printing, sampling
//! and saving happen between epochs, outside this module.

mod accumulation;
mod progress;
mod ranks;
mod state;
mod updates;
mod validation;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rnnlm_rnn::{ExecutionPath, ParameterSet, Recurrence, State};
use rnnlm_vocab::{Batches, Minibatch};

use self::accumulation::Accumulation;
use crate::average::AveragedModel;
use crate::gradient_ranges::GradientRanges;
use crate::queue::{Queue, QueuedResult};
use crate::reduction::Reduction;
use crate::shards::Shards;
use crate::workspace::MinibatchIds;
use crate::{
    Collective, EpochProgress, EpochReport, Error, LOG_MINIBATCHES, LanguageModel, ModelConfig, Optimizer, Position,
    Result, Single, StepReport, TextIds, TrainConfig, Workspace,
};

/// A model in training: parameters, carried state, gradients, optimizer and progress.
#[derive(Debug)]
pub struct Trainer<B: Recurrence> {
    model: LanguageModel<B>,
    config: TrainConfig,
    workspace: Workspace<B>,
    state: State<B>,
    /// One set for each shard of this rank; after a step, the first has the sums over all shards.
    gradients: Vec<ParameterSet<B>>,
    /// Where the sums may differ from zero.
    gradient_ranges: GradientRanges,
    collective: Arc<dyn Collective>,
    shards: Shards,
    reduction: Reduction,
    optimizer: Optimizer<B>,
    /// `None` for a gradient of a single minibatch.
    accumulation: Option<Accumulation<B>>,
    /// `None` without averaging.
    average: Option<AveragedModel<B>>,
    queue: Queue<B>,
    max_queued_steps: usize,
    position: Position,
    /// The part of the current epoch that this process trained before it was stopped.
    partial_epoch: PartialEpoch,
    /// Memory for minibatches of documents and of different lengths, allocated by the first one.
    minibatch: Option<Minibatch>,
}

/// What a call of [`Trainer::epoch`] calls after each step with the progress so far. It returns whether to stop.
pub type AfterStep<'a> = dyn FnMut(&EpochProgress) -> bool + Send + 'a;

/// The longest time for which the results of queued steps stay unknown.
const MAX_TIME_WITHOUT_RESULTS: Duration = Duration::from_secs(1);

/// Steps that this process trained in the current epoch, each of **N** tokens, and the time that they took.
#[derive(Clone, Copy, Debug, Default)]
struct PartialEpoch {
    num_steps: usize,
    duration: Duration,
    /// Minibatches of the whole epoch; 0 before its first step.
    num_minibatches: usize,
}

impl<B: Recurrence> Trainer<B> {
    /// A trainer for a newly initialized model.
    ///
    /// # Errors
    /// If a setting is invalid, or the device has not enough memory.
    pub fn new(backend: &B, model: &ModelConfig, config: &TrainConfig, path: ExecutionPath) -> Result<Self> {
        Self::with_collective(backend, model, config, path, Arc::new(Single))
    }

    /// A trainer for a newly initialized model that all ranks of `collective` train together: each computes the rows of its
    /// shards. Every rank calls the same methods in the same order, on minibatches of the same text. Parameters, reports and
    /// snapshots have the bits of a single process with the same number of shards ([`TrainConfig::shards`]), on CPUs.
    ///
    /// # Errors
    /// As [`Trainer::new`], or if there are fewer shards than ranks.
    pub fn with_collective(
        backend: &B,
        model: &ModelConfig,
        config: &TrainConfig,
        path: ExecutionPath,
        collective: Arc<dyn Collective>,
    ) -> Result<Self> {
        config.validate()?;
        config.validate_for(model)?;
        let shards = Shards::new(config, &*collective)?;
        let mut model = LanguageModel::new(backend, model, path)?;
        model.initialize(config.init, config.seed)?;
        let layout = model.parameters().layout();
        // ranks compare their progress after every step, so none runs ahead
        let max_queued_steps = if collective.size() == 1 { backend.max_queued_steps() } else { 1 };
        Ok(Self {
            workspace: model.sharded_workspace(config.max_num_steps(), shards)?,
            state: model.zero_state(shards.rows().len())?,
            gradients: shards.local().map(|_| ParameterSet::zeros(backend, layout)).collect::<Result<_, _>>()?,
            gradient_ranges: model.gradient_ranges(config),
            reduction: Reduction::new(collective.clone(), shards, layout.len()),
            optimizer: Optimizer::new(backend, config, layout)?,
            accumulation: Accumulation::new(backend, config, layout)?,
            average: AveragedModel::new(&model, config.average)?,
            queue: Queue::new(backend, config.batch_size, config.num_steps)?,
            collective,
            shards,
            max_queued_steps,
            config: config.clone(),
            position: Position::default(),
            partial_epoch: PartialEpoch::default(),
            minibatch: None,
            model,
        })
    }

    /// Limits the steps of an epoch that run ahead of the host, instead of [`Backend::max_queued_steps`]. The limit does not
    /// affect results.
    ///
    /// [`Backend::max_queued_steps`]: crate::Backend::max_queued_steps
    #[must_use]
    pub fn with_max_queued_steps(self, max_queued_steps: usize) -> Self {
        Self { max_queued_steps, ..self }
    }

    /// The model with its current parameters.
    pub fn model(&self) -> &LanguageModel<B> {
        &self.model
    }

    /// The model that is evaluated and saved: the average of the parameters once averaging has begun, else the model with its
    /// current parameters.
    pub fn evaluated_model(&self) -> &LanguageModel<B> {
        match &self.average {
            Some(average) if self.position.averaged_updates(self.config.average) > 0 => average.model(),
            _ => &self.model,
        }
    }

    /// The model, mutable: to start from given parameters instead of initial ones.
    pub fn model_mut(&mut self) -> &mut LanguageModel<B> {
        &mut self.model
    }

    /// The settings.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The progress.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The carried state of this rank's rows.
    pub fn state(&self) -> &State<B> {
        &self.state
    }

    /// The gradients of the last step. They are not yet clipped by norm, but are clipped by value.
    pub fn gradients(&self) -> &ParameterSet<B> {
        &self.gradients[0]
    }

    /// The path on which the recurrent layers run: `Fused` or `Reference`.
    pub fn path(&self) -> ExecutionPath {
        self.workspace.memory().path()
    }

    /// Sets the carried state to zero, as at the start of an epoch.
    ///
    /// # Errors
    /// If the device fails.
    pub fn reset_state(&mut self) -> Result<()> {
        Ok(self.state.reset(self.model.backend())?)
    }

    /// Trains on one minibatch: stages 3 to 8.
    ///
    /// # Errors
    /// [`Error::Diverged`] if loss, perplexity or gradient norm is not finite, in which case the update is skipped; otherwise
    /// if an id is not below **V**, or the device fails.
    pub fn step(&mut self, minibatch: &Minibatch) -> Result<StepReport> {
        self.run_stages(Some(minibatch), None)?;
        self.drain()
    }

    /// Stages 3 to 8 on the given minibatch, or on the next one in the queue. The corpus did stages 1, text, and 2, tokens.
    ///
    /// Nothing here waits for the device. The queue keeps the results until [`Trainer::drain`]. If they are not finite, the
    /// optimizer skips this update and all following ones.
    fn run_stages(&mut self, minibatch: Option<&Minibatch>, end_token: Option<u32>) -> Result<()> {
        let step = self.position.step + self.queue.len() as u64;
        let num_steps = minibatch.map_or(self.config.num_steps, |minibatch| minibatch.num_steps);
        // 1 for a minibatch of T steps
        let lr = self.lr_of_step(self.queue.len()) * self.length(num_steps) as f32;
        let (updates, in_group) = self.updates_before(self.queue.len());
        let is_update = self.is_update(self.position.minibatch + self.queue.len());
        let averaged = Position { updates: updates + 1, ..self.position }.averaged_updates(self.config.average);
        let Self { model, config, workspace, state, gradients, gradient_ranges, reduction, .. } = self;
        let Self { optimizer, queue, accumulation, average, .. } = self;
        let backend = &model.backend().clone();
        let ids = minibatch.map_or_else(|| queue.next_minibatch(), MinibatchIds::Host);
        let [inputs, _] = ids.host();

        workspace.begin_step(backend, ids, end_token, config, step, state)?; // 3 minibatch
        model.embed(workspace)?; //                                 4 input
        model.run_layers(workspace, state)?; //                     5 layers
        gradient_ranges.clear(backend, inputs, gradients)?;
        model.add_output_and_loss(workspace, gradients)?; //        6 output and loss
        model.backward_by_shard(workspace, gradients)?; //          7 gradients
        reduction.sum(backend, step + 1, gradients, &mut workspace.loss_sums)?;
        let gradients = &mut gradients[0];
        if let Some(accumulation) = accumulation {
            optimizer.check(backend, workspace.loss(), gradient_ranges, gradients)?;
            accumulation.add(backend, gradients, is_update.then_some(in_group + 1))?;
        }
        if is_update {
            let (loss, parameters) = (workspace.loss(), model.parameters_mut());
            optimizer.step(backend, lr, updates + 1, loss, gradient_ranges, gradients, parameters)?; // 8 update
            if let Some(average) = average.as_mut().filter(|_| averaged > 0) {
                average.update(backend, averaged, optimizer, workspace.loss(), model.parameters())?;
            }
        }

        queue.push(backend, workspace.loss(), optimizer.sum_squares())
    }

    /// A number of steps in units of **T**.
    fn length(&self, num_steps: usize) -> f64 {
        num_steps as f64 / self.config.num_steps as f64
    }

    /// The learning rate of the step after `queued` more steps.
    fn lr_of_step(&self, queued: usize) -> f32 {
        let Position { minibatch, step, .. } = self.position;
        let position = Position { minibatch: minibatch + queued, step: step + queued as u64, ..self.position };
        self.config.lr_at(&position, self.partial_epoch.num_minibatches)
    }

    /// The learning rate of the last step.
    fn last_lr(&self, partial: &PartialEpoch) -> f32 {
        let Position { minibatch, step, .. } = self.position;
        let position =
            Position { minibatch: minibatch.saturating_sub(1), step: step.saturating_sub(1), ..self.position };
        self.config.lr_at(&position, partial.num_minibatches)
    }

    /// Waits for the steps in the queue and counts them, up to the first that is not finite. Returns the last report.
    fn drain(&mut self) -> Result<StepReport> {
        let backend = self.model.backend().clone();
        let lr = self.lr_of_step(0);
        let mut last = StepReport { loss: 0.0, gradient_norm: 0.0 };
        for QueuedResult { report, targets, is_finite } in self.queue.drain(&backend)? {
            if !is_finite {
                self.optimizer.resume_updates(&backend)?;
                let (StepReport { loss, gradient_norm }, Position { epoch, step, .. }) = (report, self.position);
                return Err(Error::Diverged { epoch: epoch + 1, step: step + 1, loss, gradient_norm, lr });
            }
            let num_minibatches = self.partial_epoch.num_minibatches;
            let is_update = accumulation::is_update(self.config.accumulate, self.position.minibatch, num_minibatches);
            // `self.length`, while the queue is borrowed
            let length = (targets / self.config.batch_size) as f64 / self.config.num_steps as f64;
            self.position.count_step(report, length, is_update);
            last = report;
        }
        Ok(last)
    }

    /// Trains on the corpus once, or on the rest of it if an epoch was stopped before. Returns `None` if `stop`, which is
    /// called after every step, returns `true`; the next call continues with the next minibatch.
    ///
    /// # Errors
    /// As [`Trainer::step`], or if the corpus is too short for one minibatch.
    pub fn epoch<'t>(
        &mut self,
        text: impl Into<TextIds<'t>>,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<EpochReport>> {
        self.epoch_with_progress(text, &mut |_| stop())
    }

    /// Like [`Trainer::epoch`]; `after_step` is called with the progress so far, and stops the epoch if it returns `true`.
    ///
    /// A GPU runs ahead of the host, and its results are read about once a second. A step that is not finite is reported
    /// then.
    ///
    /// # Errors
    /// As [`Trainer::epoch`].
    pub fn epoch_with_progress<'t>(
        &mut self,
        text: impl Into<TextIds<'t>>,
        after_step: &mut AfterStep<'_>,
    ) -> Result<Option<EpochReport>> {
        let (backend, text) = (self.model.backend().clone(), text.into());
        backend.run(|| self.run_epoch(text, after_step))
    }

    fn run_epoch(&mut self, text: TextIds<'_>, after_step: &mut AfterStep<'_>) -> Result<Option<EpochReport>> {
        let start = Instant::now();
        let batches = self.config.batches(text, self.position.epoch)?;
        if self.position.minibatch == 0 {
            self.reset_state()?;
        }
        let before = PartialEpoch { num_minibatches: batches.num_minibatches(), ..self.partial_epoch };
        self.partial_epoch = before;
        let (first, end) = (self.position.minibatch, batches.num_minibatches());
        self.queue.reserve(self.model.backend(), end.saturating_sub(first).min(self.max_queued_steps))?;
        let mut last_results = start;
        for index in first..end {
            let known = self.position.minibatch;
            let mut outcome = self.epoch_step(&batches, index, text.end_token(), last_results);
            if self.queue.len() == 0 {
                last_results = Instant::now();
            }
            self.partial_epoch = PartialEpoch {
                num_steps: before.num_steps + batches.steps(first..self.position.minibatch),
                duration: before.duration + start.elapsed(),
                ..before
            };
            let stopped = outcome.is_ok() && after_step(&self.progress_since(known));
            if stopped {
                outcome = self.drain().map(drop);
                self.partial_epoch.num_steps = before.num_steps + batches.steps(first..self.position.minibatch);
            }
            if outcome.is_err() || (stopped && index + 1 < end) {
                self.partial_epoch.duration = before.duration + start.elapsed();
                return outcome.map(|()| None);
            }
        }
        let partial = std::mem::take(&mut self.partial_epoch);
        let tokens = (partial.num_steps * self.config.batch_size) as u64;
        let lr = self.last_lr(&partial);
        Ok(Some(self.position.finish_epoch(lr, tokens, before.duration + start.elapsed())))
    }

    /// Trains on minibatch `index` of an epoch. Waits for the results if the queue is full, if the last ones are from before
    /// [`MAX_TIME_WITHOUT_RESULTS`], where a line of the metrics is due, and at the end of the epoch.
    fn epoch_step(
        &mut self,
        batches: &Batches<'_>,
        index: usize,
        end_token: Option<u32>,
        last_results: Instant,
    ) -> Result<()> {
        let outcome = match end_token {
            None if self.shards.count == 1 && !self.config.variable_bptt => {
                self.queue.upload_if_empty(self.model.backend(), batches, index)?;
                self.run_stages(None, None)
            }
            // the host needs the ids to find the starts of documents and the rows of each shard, and minibatches of different
            // lengths are uploaded singly
            _ => {
                let new = || Minibatch::new(self.config.batch_size, self.config.max_num_steps());
                let mut minibatch = self.minibatch.take().unwrap_or_else(new);
                minibatch.set_num_steps(batches.steps(index..index + 1));
                let outcome = batches.fill(index, &mut minibatch).map_err(Error::from);
                let outcome = outcome.and_then(|()| self.run_stages(Some(&minibatch), end_token));
                self.minibatch = Some(minibatch);
                outcome
            }
        };
        let done = index + 1;
        let is_due = done.is_multiple_of(LOG_MINIBATCHES) || done == batches.num_minibatches();
        if outcome.is_err() || is_due || self.queue.is_full() || last_results.elapsed() >= MAX_TIME_WITHOUT_RESULTS {
            // the steps before a failed one are complete and count
            return self.drain().and(outcome);
        }
        outcome
    }
}
