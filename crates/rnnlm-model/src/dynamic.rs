//! Dynamic evaluation: the parameters adapt to a text while it is scored.
//!
//! ```text
//! segment i   T tokens, scored with θ_{i−1}; then g_i = ∂(their mean loss)/∂θ
//! SGD         θ_i = θ_{i−1} − lr·g_i + decay·(θ_0 − θ_{i−1})
//! RMS         θ_i = θ_{i−1} − lr·g_i / (√MS + eps) + decay·RMS_norm ∘ (θ_0 − θ_{i−1})
//!
//! θ_0         the trained parameters
//! MS          mean of g² over minibatches of the training text, at θ_0
//! RMS_norm    √MS / mean of √MS over all parameters, at most 1/decay
//! ```
//!
//! Every token is scored before the parameters have learned from it, so the result is a perplexity. The state is carried from
//! one segment to the next, and gradients end at the start of a segment.
//!
//! Source: Krause, Kahembwe, Murray, Renals, *Dynamic Evaluation of Neural Sequence Models*, 2018, arXiv 1709.07432.

use rnnlm_rnn::{ParameterSet, Recurrence};
use rnnlm_tensor::{Tensor, Update, ops};
use rnnlm_vocab::{Batches, Minibatch};

use crate::{Error, LanguageModel, Result, State, TextIds, TokenScore, Workspace};

/// The most sequences of a minibatch for [`DynamicEvaluator::collect`], as in the code of the paper.
const STATISTICS_BATCH_SIZE: usize = 100;

/// The rule by which dynamic evaluation updates the parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DynamicRule {
    /// Stochastic gradient descent.
    Sgd,
    /// Each gradient is divided by its root mean square over the training text.
    Rms {
        /// Added to the root mean square.
        eps: f32,
    },
}

/// The settings of dynamic evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DynamicConfig {
    /// The rule.
    pub rule: DynamicRule,
    /// **T**: tokens of a segment.
    pub num_steps: usize,
    /// The learning rate.
    pub lr: f32,
    /// How far each update moves a parameter back to its trained value: 0 for not at all, 1 for all the way.
    pub decay: f32,
}

impl DynamicConfig {
    /// Checks that every setting has a valid value.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first invalid setting.
    pub fn validate(&self) -> Result<()> {
        let eps = match self.rule {
            DynamicRule::Sgd => 1.0,
            DynamicRule::Rms { eps } => eps,
        };
        let checks = [
            ("num_steps", self.num_steps.to_string(), self.num_steps > 0, "at least 1"),
            ("lr", self.lr.to_string(), self.lr.is_finite() && self.lr >= 0.0, "a finite number, at least 0"),
            ("decay", self.decay.to_string(), (0.0..=1.0).contains(&self.decay), "from 0 to 1"),
            ("eps", eps.to_string(), eps.is_finite() && eps > 0.0, "a finite number above 0"),
        ];
        match checks.into_iter().find(|(_, _, valid, _)| !valid) {
            Some((name, value, _, needed)) => Err(Error::Setting { name, value, needed }),
            None => Ok(()),
        }
    }
}

/// Scores texts with a model that adapts to them.
///
/// ```
/// use rnnlm_model::{Cpu, DynamicConfig, DynamicEvaluator, DynamicRule, Evaluation, ExecutionPath, Init, LanguageModel};
/// use rnnlm_model::ModelConfig;
///
/// let mut model = LanguageModel::new(&Cpu::new(1)?, &ModelConfig::book(5), ExecutionPath::Auto)?;
/// model.initialize(Init::Uniform, 0)?;
/// let text = [0, 3, 1, 4].repeat(50);
/// let fixed = model.evaluate(&text)?;
/// let config = DynamicConfig { rule: DynamicRule::Sgd, num_steps: 10, lr: 0.5, decay: 0.0 };
/// let mut adapted = Evaluation::default();
/// DynamicEvaluator::new(model, config)?.score(text[0], &[&text[1..]], &mut |_, score| adapted.add(score.log_probability))?;
/// assert!(adapted.perplexity() < fixed.perplexity());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DynamicEvaluator<B: Recurrence> {
    model: LanguageModel<B>,
    config: DynamicConfig,
    /// θ_0.
    trained: ParameterSet<B>,
    gradients: ParameterSet<B>,
    /// θ_0 − θ.
    difference: ParameterSet<B>,
    /// `[1, parameters]`: MS. No columns for SGD.
    mean_square: Tensor<B>,
    /// `[1, parameters]`: decay·RMS_norm. No columns for SGD.
    decays: Tensor<B>,
    /// Whether `mean_square` and `decays` are those of a training text.
    has_statistics: bool,
    /// `[1, 1]`: 1, the factor of the gradients.
    one: Tensor<B>,
    /// The second buffer of an optimizer, which neither rule has.
    none: Tensor<B>,
}

impl<B: Recurrence> DynamicEvaluator<B> {
    /// An evaluator that starts from the parameters of `model`. The rule RMS needs [`DynamicEvaluator::collect`] before a text
    /// is scored.
    ///
    /// # Errors
    /// [`Error::BidirectionalScoring`] for a bidirectional model; if a setting is invalid, or the device has not enough memory.
    pub fn new(model: LanguageModel<B>, config: DynamicConfig) -> Result<Self> {
        config.validate()?;
        if model.config().bidirectional {
            return Err(Error::BidirectionalScoring);
        }
        let (backend, layout) = (model.backend(), model.parameters().layout());
        let statistics = if config.rule == DynamicRule::Sgd { 0 } else { layout.len() };
        let mut trained = ParameterSet::zeros(backend, layout)?;
        ops::copy(backend, model.parameters().flat(), trained.flat_mut())?;
        Ok(Self {
            config,
            trained,
            gradients: ParameterSet::zeros(backend, layout)?,
            difference: ParameterSet::zeros(backend, layout)?,
            mean_square: Tensor::zeros(backend, 1, statistics)?,
            decays: Tensor::zeros(backend, 1, statistics)?,
            has_statistics: false,
            one: Tensor::from_slice(backend, 1, 1, &[1.0])?,
            none: Tensor::zeros(backend, 1, 0)?,
            model,
        })
    }

    /// The model with its current parameters.
    pub fn model(&self) -> &LanguageModel<B> {
        &self.model
    }

    /// Collects the gradient statistics of the training text, MS, with the trained parameters.
    ///
    /// # Errors
    /// If the text is too short for one minibatch, an id is not below **V**, or the device fails.
    pub fn collect<'t>(&mut self, training: impl Into<TextIds<'t>>) -> Result<()> {
        let (backend, text) = (self.model.backend().clone(), training.into());
        self.reset()?;
        backend.run(|| self.collect_statistics(text))
    }

    fn collect_statistics(&mut self, text: TextIds<'_>) -> Result<()> {
        let DynamicRule::Rms { eps } = self.config.rule else { return Ok(()) };
        let num_steps = self.config.num_steps;
        // at least one minibatch: N rows of T tokens, an offset of up to T, and the target of the last token
        let rows = text.num_tokens().saturating_sub(num_steps + 1) / num_steps;
        let batch_size = rows.clamp(1, STATISTICS_BATCH_SIZE);
        let (batches, end_token) = match text {
            TextIds::Stream(ids) => (Batches::sequential(ids, batch_size, num_steps, 0, 0)?, None),
            TextIds::Documents(documents) => {
                (Batches::documents(documents, batch_size, num_steps, 0, 0, false)?, text.end_token())
            }
        };
        let backend = self.model.backend().clone();
        let mut minibatch = Minibatch::new(batch_size, num_steps);
        let mut segment = Segment::new(&self.model, [num_steps, batch_size])?;
        for index in 0..batches.num_minibatches() {
            batches.fill(index, &mut minibatch)?;
            let starts: Vec<bool> = minibatch.inputs.iter().map(|&id| Some(id) == end_token).collect();
            segment.gradients(&self.model, &minibatch, &starts, &mut self.gradients)?;
            // RMSprop's mean of squares, here of all minibatches so far; its update of the difference is not used
            let alpha = (index as f64 / (index + 1) as f64) as f32;
            let rule = Update::Rmsprop { lr: 0.0, alpha, eps, weight_decay: 0.0, momentum: 0.0 };
            let Self { gradients, difference, mean_square, none, one, .. } = self;
            let state = [mean_square.view_mut(), none.view_mut()];
            ops::update(&backend, rule, one.view(), gradients.flat(), state, difference.flat_mut())?;
        }
        self.has_statistics = true;
        let squares = self.mean_square.to_vec(&backend)?;
        let roots: Vec<f64> = squares.iter().map(|&square| f64::from(square).sqrt()).collect();
        let mean = roots.iter().sum::<f64>() / roots.len() as f64;
        let decay = f64::from(self.config.decay);
        // RMS_norm is at most 1/decay, so its product with decay is at most 1
        let scale = if mean > 0.0 { decay / mean } else { 0.0 };
        let decays: Vec<f32> = roots.iter().map(|root| (scale * root).min(1.0) as f32).collect();
        Ok(self.decays.write(&backend, &decays)?)
    }

    /// Returns to the trained parameters, as before another text.
    ///
    /// # Errors
    /// If the device fails.
    pub fn reset(&mut self) -> Result<()> {
        let backend = self.model.backend().clone();
        Ok(ops::copy(&backend, self.trained.flat(), self.model.parameters_mut().flat_mut())?)
    }

    /// Scores all tokens of `documents` in order, and adapts the parameters after every **T** tokens. Each document is
    /// predicted from the zero state and the token `context`; the parameters are carried from one to the next. Calls `emit`
    /// with the index of a document and the score of its next token.
    ///
    /// # Errors
    /// [`Error::NoGradientStatistics`] if the rule needs [`DynamicEvaluator::collect`] first; if an id is not below **V**, or
    /// the device fails.
    pub fn score(
        &mut self,
        context: u32,
        documents: &[&[u32]],
        emit: &mut (dyn FnMut(usize, TokenScore) + Send),
    ) -> Result<()> {
        if matches!(self.config.rule, DynamicRule::Rms { .. }) && !self.has_statistics {
            return Err(Error::NoGradientStatistics);
        }
        let backend = self.model.backend().clone();
        backend.run(|| self.score_segments(context, documents, emit))
    }

    fn score_segments(
        &mut self,
        context: u32,
        documents: &[&[u32]],
        emit: &mut dyn FnMut(usize, TokenScore),
    ) -> Result<()> {
        let num_steps = self.config.num_steps;
        let mut segment = Segment::new(&self.model, [num_steps, 1])?;
        let mut minibatch = Minibatch { inputs: Vec::new(), targets: Vec::new(), num_steps: 0, batch_size: 1 };
        let (mut starts, mut sources) = (Vec::new(), Vec::new());
        let tokens = documents.iter().enumerate().flat_map(|(document, ids)| {
            let inputs = std::iter::once(&context).chain(*ids);
            inputs.zip(*ids).enumerate().map(move |(index, (&input, &target))| (document, index == 0, input, target))
        });
        let mut tokens = tokens.peekable();
        // the state is zero before the first token anyway, and some devices are faster without starts
        let mut is_first = true;
        while let Some((document, is_start, input, target)) = tokens.next() {
            minibatch.inputs.push(input);
            minibatch.targets.push(target);
            starts.push(is_start && !std::mem::take(&mut is_first));
            sources.push(document);
            if sources.len() < num_steps && tokens.peek().is_some() {
                continue;
            }
            minibatch.num_steps = sources.len();
            segment.gradients(&self.model, &minibatch, &starts, &mut self.gradients)?;
            for ((&document, &id), loss) in sources.iter().zip(&minibatch.targets).zip(&segment.losses) {
                emit(document, TokenScore { id, log_probability: -loss, details: None });
            }
            self.adapt()?;
            minibatch.inputs.clear();
            minibatch.targets.clear();
            starts.clear();
            sources.clear();
        }
        Ok(())
    }

    /// The update after a segment.
    fn adapt(&mut self) -> Result<()> {
        let backend = self.model.backend().clone();
        let Self { model, config, trained, gradients, difference, mean_square, decays, one, none, .. } = self;
        let DynamicConfig { rule, lr, decay, .. } = *config;
        ops::copy(&backend, trained.flat(), difference.flat_mut())?;
        ops::axpy(&backend, -1.0, model.parameters().flat(), difference.flat_mut())?;
        let update = match rule {
            DynamicRule::Sgd => Update::Sgd { lr, momentum: 0.0, nesterov: false, weight_decay: 0.0 },
            // with alpha 1, RMSprop does not change its mean of squares
            DynamicRule::Rms { eps } => Update::Rmsprop { lr, alpha: 1.0, eps, weight_decay: 0.0, momentum: 0.0 },
        };
        let parameters = model.parameters_mut();
        let state = [mean_square.view_mut(), none.view_mut()];
        ops::update(&backend, update, one.view(), gradients.flat(), state, parameters.flat_mut())?;
        match rule {
            DynamicRule::Sgd => Ok(ops::axpy(&backend, decay, difference.flat(), parameters.flat_mut())?),
            DynamicRule::Rms { .. } => {
                Ok(ops::multiply(&backend, decays.view(), difference.flat(), true, parameters.flat_mut())?)
            }
        }
    }
}

/// Memory for the gradients of a segment, and the carried state.
struct Segment<B: Recurrence> {
    workspace: Workspace<B>,
    state: State<B>,
    /// The loss of each target of the last segment.
    losses: Vec<f32>,
}

impl<B: Recurrence> Segment<B> {
    /// For at most `num_steps` steps of `batch_size` rows.
    fn new(model: &LanguageModel<B>, [num_steps, batch_size]: [usize; 2]) -> Result<Self> {
        let workspace = model.workspace(num_steps, batch_size)?;
        Ok(Self { workspace, state: model.zero_state(batch_size)?, losses: Vec::new() })
    }

    /// Scores a minibatch from the carried state, and computes the gradients of its mean loss.
    fn gradients(
        &mut self,
        model: &LanguageModel<B>,
        minibatch: &Minibatch,
        starts: &[bool],
        gradients: &mut ParameterSet<B>,
    ) -> Result<()> {
        let Self { workspace, state, losses } = self;
        let backend = model.backend();
        workspace.set_num_steps(backend, minibatch.num_steps);
        workspace.set_starts(backend, starts.contains(&true).then_some(starts))?;
        workspace.load(backend, minibatch)?;
        model.forward(workspace, state)?;
        model.output_and_loss(workspace, gradients)?;
        losses.resize(minibatch.targets.len(), 0.0);
        backend.read(workspace.losses.view().buffer, 0, losses)?;
        model.backward(workspace, gradients)
    }
}
