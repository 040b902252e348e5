//! The training loop: [`Trainer::step`] is the walk from minibatch to update, [`Trainer::epoch`] goes once through the
//! corpus. Timing and perplexity happen around the step; printing, sampling and saving happen around the epoch, outside
//! this crate.

use std::time::{Duration, Instant};

use rnnlm_rnn::{ExecutionPath, ParameterSet, Recurrence, State};
use rnnlm_vocab::{Batches, Minibatch};

use crate::queue::{LARGEST_LOSS, Queue};
use crate::{Error, LanguageModel, ModelConfig, Optimizer, Plateau, Result, Schedule, TrainConfig, Workspace};

/// A model on its way, with everything that training it needs.
#[derive(Debug)]
pub struct Trainer<B: Recurrence> {
    model: LanguageModel<B>,
    config: TrainConfig,
    workspace: Workspace<B>,
    state: State<B>,
    gradients: ParameterSet<B>,
    optimizer: Optimizer<B>,
    queue: Queue<B>,
    max_queued_steps: usize,
    position: Position,
    /// Minibatches and time that this process has spent on the epoch under way, before it was last asked to stop.
    spent: (usize, Duration),
}

/// Where training stands, in numbers. What a training learns about itself on the way and must still know after a restart
/// goes here; a schedule needs no more than `step` and `epoch`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// Epochs finished.
    pub epoch: u64,
    /// Minibatches finished of the epoch under way.
    pub minibatch: usize,
    /// Minibatches finished since the start of training.
    pub step: u64,
    /// Sum over this epoch's minibatches of mean loss, in nats.
    pub loss_sum: f64,
    /// Sum over this epoch's minibatches of the gradient norm before clipping.
    pub gradient_norm_sum: f64,
    /// The best epoch so far on held-out text; epochs since then are what patience counts.
    pub best: Option<Best>,
    /// What a schedule that waits for plateaus has seen.
    pub plateau: Plateau,
}

/// The epoch whose model predicts held-out text best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// From 1.
    pub epoch: u64,
    /// Perplexity on the held-out text.
    pub perplexity: f64,
}

/// A training as it stands, off the device: with its configuration, all that continuing exactly needs. Every buffer of
/// parameters is in the order of [`rnnlm_rnn::ParameterLayout`].
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The parameters.
    pub parameters: Vec<f32>,
    /// `[L·directions·N, H]`: the hidden state that the next minibatch starts from.
    pub hidden: Vec<f32>,
    /// The cell state, as long as `hidden` for an LSTM, else empty.
    pub cell: Vec<f32>,
    /// What the optimizer keeps between updates: PyTorch's name, and a value a parameter.
    pub optimizer: Vec<(String, Vec<f32>)>,
    /// The numbers.
    pub position: Position,
}

/// What one minibatch gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean negative log likelihood, in nats a token, before the update.
    pub loss: f32,
    /// Global norm of the gradients before clipping.
    pub gradient_norm: f32,
}

/// What one pass through the corpus gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochReport {
    /// Which epoch, from 1.
    pub epoch: u64,
    /// `exp` of the mean loss over the epoch's tokens, each minibatch scored before its own update, as the book counts.
    pub perplexity: f64,
    /// Perplexity on held-out text after the epoch, if there is any: [`Trainer::validate`].
    pub val_perplexity: Option<f64>,
    /// Tokens trained on, of an epoch taken up from a file those since then.
    pub tokens: u64,
    /// Mean over the minibatches of the global gradient norm before clipping.
    pub gradient_norm: f64,
    /// Learning rate in force.
    pub lr: f32,
    /// Wall-clock time of these, minibatches included.
    pub duration: Duration,
}

impl EpochReport {
    /// Tokens a second, the book's measure of speed.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.duration.as_secs_f64()
    }
}

impl<B: Recurrence> Trainer<B> {
    /// A freshly drawn model, ready for its first minibatch.
    ///
    /// # Errors
    /// If a setting makes no training or a size no model, or the device has no room.
    pub fn new(backend: &B, model: &ModelConfig, config: &TrainConfig, path: ExecutionPath) -> Result<Self> {
        config.validate()?;
        let mut model = LanguageModel::new(backend, model, path)?;
        model.initialize(config.init, config.seed)?;
        Ok(Self {
            workspace: model.workspace(config.num_steps, config.batch_size)?,
            state: model.zero_state(config.batch_size)?,
            gradients: ParameterSet::zeros(backend, model.parameters().layout())?,
            optimizer: Optimizer::new(backend, config, model.parameters().layout().len())?,
            queue: Queue::new(backend, config.batch_size, config.num_steps)?,
            max_queued_steps: backend.max_queued_steps(),
            config: config.clone(),
            position: Position::default(),
            spent: Default::default(),
            model,
        })
    }

    /// Hands over so many steps of an epoch at the most before it asks what came of them, instead of as many as the device
    /// likes. No number that training gives depends on it.
    #[must_use]
    pub fn with_max_queued_steps(self, max_queued_steps: usize) -> Self {
        Self { max_queued_steps, ..self }
    }

    /// The model as it stands.
    pub fn model(&self) -> &LanguageModel<B> {
        &self.model
    }

    /// The model as it stands, to write: given initial weights instead of drawn ones.
    pub fn model_mut(&mut self) -> &mut LanguageModel<B> {
        &mut self.model
    }

    /// The settings.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// How far training has come.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The carried state.
    pub fn state(&self) -> &State<B> {
        &self.state
    }

    /// The gradients of the last step; before clipping by the norm, after clipping by value.
    pub fn gradients(&self) -> &ParameterSet<B> {
        &self.gradients
    }

    /// Whether the recurrent layers run on the device's own path.
    pub fn path(&self) -> ExecutionPath {
        self.workspace.memory().path()
    }

    /// All of the training that its configuration does not say.
    ///
    /// # Errors
    /// If the device fails.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let backend = self.model.backend();
        let buffers = self.optimizer.buffers().into_iter();
        Ok(Snapshot {
            parameters: self.model.parameters().to_vec(backend)?,
            hidden: self.state.hidden.to_vec(backend)?,
            cell: self.state.cell.to_vec(backend)?,
            optimizer: buffers
                .map(|(name, buffer)| Ok((name.to_owned(), buffer.to_vec(backend)?)))
                .collect::<Result<_>>()?,
            position: self.position,
        })
    }

    /// Puts a trainer of the same configuration where another one stood.
    ///
    /// # Errors
    /// If a length differs from this trainer's, a buffer of the optimizer is missing, or the device fails.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        let backend = self.model.backend().clone();
        self.model.parameters_mut().write(&backend, &snapshot.parameters)?;
        self.state.hidden.write(&backend, &snapshot.hidden)?;
        self.state.cell.write(&backend, &snapshot.cell)?;
        for (name, buffer) in self.optimizer.buffers_mut() {
            let stored = snapshot.optimizer.iter().find(|(stored, _)| stored == name);
            let (_, values) = stored.ok_or(Error::OptimizerState { name })?;
            buffer.write(&backend, values)?;
        }
        self.position = snapshot.position;
        self.spent = Default::default();
        Ok(())
    }

    /// Bytes that saving it takes on a disk: `trainer.safetensors` and `model.safetensors`, but for a few kilobytes.
    pub fn checkpoint_bytes(&self) -> u64 {
        let layout = self.model.parameters().layout();
        let parameters = 2 * layout.stored_len() + self.optimizer.buffers().len() * layout.len();
        let states = [self.state.hidden.shape(), self.state.cell.shape()].map(|[rows, cols]| rows * cols);
        4 * (parameters + states[0] + states[1]) as u64
    }

    /// The names of what the optimizer keeps between updates.
    pub fn optimizer_buffers(&self) -> Vec<&'static str> {
        self.optimizer.buffers().into_iter().map(|(name, _)| name).collect()
    }

    /// Forgets the carried state, as at the start of an epoch.
    ///
    /// # Errors
    /// If the device fails.
    pub fn reset_state(&mut self) -> Result<()> {
        Ok(self.state.reset(self.model.backend())?)
    }

    /// Stages 3 to 8: one minibatch, one update.
    ///
    /// # Errors
    /// [`Error::Diverged`] instead of the update if loss, perplexity or gradient norm is not finite; else if an id is outside
    /// the vocabulary or the device fails.
    pub fn step(&mut self, minibatch: &Minibatch) -> Result<StepReport> {
        self.workspace.load(self.model.backend(), minibatch)?; //                 3 minibatch
        self.walk()?;
        self.settle()
    }

    /// Stages 4 to 8 of the loaded minibatch. Nothing here waits for the device: what came of the step is in the queue, and a
    /// step that is not finite holds its update back, and those of all that follow.
    fn walk(&mut self) -> Result<()> {
        let Self { model, workspace, state, gradients, optimizer, queue, .. } = self;
        let backend = model.backend().clone();
        let (lr, step) = (self.config.lr_at(&self.position), self.position.step + queue.len() as u64);
        workspace.drop_out(&backend, self.config.mask_at(step))?;
        if self.config.resets_state() {
            state.reset(&backend)?;
        }
        model.forward(workspace, state)?; //                                      4 input, 5 layers
        model.leave_loss(workspace, gradients)?; //                               6 output, loss
        model.backward(workspace, gradients)?; //                                 7 gradients
        optimizer.measure(&backend, gradients)?;
        optimizer.hold(&backend, LARGEST_LOSS * workspace.rows() as f32, workspace.loss_sum())?;
        optimizer.update(&backend, (lr, step + 1), gradients, model.parameters_mut())?; // 8 update
        queue.push(&backend, workspace.loss_sum(), optimizer.sum_squares())
    }

    /// Waits for the steps in the queue and takes them into account, in their order, up to the first that is not finite; the
    /// report of the last one.
    fn settle(&mut self) -> Result<StepReport> {
        let backend = self.model.backend().clone();
        let lr = self.config.lr_at(&self.position);
        let mut last = StepReport { loss: 0.0, gradient_norm: 0.0 };
        for (report, is_finite) in self.queue.settle(&backend)? {
            if !is_finite {
                self.optimizer.release(&backend)?;
                let (StepReport { loss, gradient_norm }, Position { epoch, step, .. }) = (report, self.position);
                return Err(Error::Diverged { epoch: epoch + 1, step: step + 1, loss, gradient_norm, lr });
            }
            self.position.count(report);
            last = report;
        }
        Ok(last)
    }

    /// Goes once through the corpus, or through what is left of an epoch begun earlier. `stop` is asked after every step;
    /// when it says yes, `None` is returned and the next call goes on with the next minibatch. What came of the steps is asked
    /// for as seldom as the device likes: on a GPU once an epoch, so that a step that is not finite is reported at its end.
    ///
    /// # Errors
    /// As [`Trainer::step`]; and if the corpus is too short for one minibatch.
    pub fn epoch(&mut self, corpus: &[u32], stop: &(dyn Fn() -> bool + Sync)) -> Result<Option<EpochReport>> {
        let backend = self.model.backend().clone();
        backend.run(|| self.epoch_in_place(corpus, stop))
    }

    fn epoch_in_place(&mut self, corpus: &[u32], stop: &(dyn Fn() -> bool + Sync)) -> Result<Option<EpochReport>> {
        let start = Instant::now();
        let TrainConfig { sampling, batch_size, num_steps, seed, .. } = self.config;
        let batches = Batches::new(sampling, corpus, batch_size, num_steps, seed, self.position.epoch)?;
        if self.position.minibatch == 0 {
            self.reset_state()?;
        }
        let (first, end) = (self.position.minibatch, batches.num_minibatches());
        self.queue.reserve(self.model.backend(), end.saturating_sub(first).min(self.max_queued_steps))?;
        for index in first..end {
            let mut step = self.step_of(&batches, index);
            let stopped = step.is_ok() && stop();
            if stopped {
                step = self.settle().map(drop);
            }
            if step.is_err() || (stopped && index + 1 < end) {
                self.spent = (self.spent.0 + index + 1 - first, self.spent.1 + start.elapsed());
                return step.map(|()| None);
            }
        }
        let rows = self.workspace.rows();
        let (before, spent) = std::mem::take(&mut self.spent);
        let trained = before + end.saturating_sub(first);
        let duration = spent + start.elapsed();
        let lr = self.config.lr_at(&self.position);
        Ok(Some(self.position.finish_epoch(lr, (trained * rows) as u64, duration)))
    }

    /// Stages 3 to 8 of a minibatch of the epoch; asks what came of it and of those before when the queue is full, and at the
    /// end.
    fn step_of(&mut self, batches: &Batches<'_>, index: usize) -> Result<()> {
        let Self { model, workspace, queue, .. } = self;
        let next = queue.len();
        let ids = queue.ids(model.backend(), batches, index)?;
        let walked = workspace.take(model.backend(), ids, next).and_then(|()| self.walk()); // 3 minibatch
        if walked.is_err() || self.queue.is_full() || index + 1 == batches.num_minibatches() {
            // what came before a failure counts
            return self.settle().and(walked);
        }
        walked
    }

    /// Scores held-out text after an epoch, as [`LanguageModel::evaluate`] does, if there is any, and tells the schedule how the
    /// epoch went. Says whether the model is the best so far on that text.
    ///
    /// # Errors
    /// If the text cannot be scored, or the device fails.
    pub fn validate(&mut self, held_out: Option<&[u32]>, report: &mut EpochReport) -> Result<bool> {
        report.val_perplexity =
            held_out.map(|ids| Ok::<_, Error>(self.model.evaluate(ids)?.perplexity())).transpose()?;
        if let Schedule::Plateau { patience, .. } = self.config.schedule {
            self.position.plateau.observe(report.val_perplexity.unwrap_or(report.perplexity), patience);
        }
        let Some(perplexity) = report.val_perplexity else { return Ok(false) };
        let is_best = self.position.best.is_none_or(|best| perplexity < best.perplexity);
        if is_best {
            self.position.best = Some(Best { epoch: report.epoch, perplexity });
        }
        Ok(is_best)
    }

    /// Whether held-out text has not been predicted better for as many epochs as the configuration has patience for.
    pub fn is_out_of_patience(&self) -> bool {
        let since = self.position.best.map(|best| self.position.epoch - best.epoch);
        self.config.patience > 0 && since.is_some_and(|since| since >= self.config.patience)
    }
}

impl Position {
    /// Takes a minibatch into account.
    fn count(&mut self, StepReport { loss, gradient_norm }: StepReport) {
        self.minibatch += 1;
        self.step += 1;
        self.loss_sum += f64::from(loss);
        self.gradient_norm_sum += f64::from(gradient_norm);
    }

    /// Closes the epoch. Minibatches are of one size, so the mean of their means is the mean over all tokens.
    fn finish_epoch(&mut self, lr: f32, tokens: u64, duration: Duration) -> EpochReport {
        let minibatches = self.minibatch as f64;
        let report = EpochReport {
            epoch: self.epoch + 1,
            perplexity: (self.loss_sum / minibatches).exp(),
            val_perplexity: None,
            tokens,
            gradient_norm: self.gradient_norm_sum / minibatches,
            lr,
            duration,
        };
        let Self { epoch, step, best, plateau, .. } = *self;
        *self = Self { epoch: epoch + 1, step, best, plateau, ..Self::default() };
        report
    }
}
