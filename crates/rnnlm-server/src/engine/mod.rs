//! The decoding thread of a model: it owns the model, and steps all texts as one batch.
//!
//! ```text
//! HTTP threads ── commands ──→ queue ──→ slots ── one step of all ──→ events ──→ HTTP threads
//! ```
//!
//! HTTP threads never compute. A request consists of texts; each takes a slot of the decoder as one becomes free. A text's
//! tokens depend on its own sampler only, so they do not depend on what else is in the batch. A text whose receiver is gone
//! ends at the next step.

mod prompt;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use rnnlm_model::{DecodedToken, Finish, LanguageModel, Recurrence, Sampler, StopConditions, TokenScore};
use rnnlm_vocab::Vocab;
use tokio::sync::{mpsc as async_mpsc, oneshot};

use crate::error::{ApiError, Error, Result};
use crate::metrics::Metrics;

/// A text to generate.
#[derive(Debug)]
pub(crate) struct TextJob {
    /// The number of the text in its request.
    pub(crate) index: usize,
    /// The ids of the prompt.
    pub(crate) prompt: Arc<[u32]>,
    /// Whether the log-probabilities of the prompt are reported.
    pub(crate) scores_prompt: bool,
    pub(crate) sampler: Sampler,
    /// The number of alternatives that are reported for each token; `None` reports no log-probabilities.
    pub(crate) logprobs: Option<usize>,
    pub(crate) stop: StopConditions,
    /// When the text ends with what it has.
    pub(crate) deadline: Instant,
    pub(crate) events: async_mpsc::UnboundedSender<TextEvent>,
    /// Counts the request in the queue until its last text ends.
    #[expect(dead_code, reason = "its drop frees the place")]
    pub(crate) ticket: Arc<Ticket>,
}

/// What the engine reports of a text.
#[derive(Debug)]
pub(crate) enum TextEvent {
    /// The tokens of the prompt; the first has no log-probability.
    Prompt { index: usize, tokens: Vec<DecodedToken> },
    /// A token, and the text that is certain since the last event.
    Token { index: usize, token: DecodedToken, text: Vec<u8> },
    /// The end of a text, with the rest of its text, and the number of tokens that belong to it.
    Finished { index: usize, text: Vec<u8>, num_tokens: usize, reason: Finish },
    /// The model failed.
    Failed { message: String },
}

/// Documents to score.
#[derive(Debug)]
pub(crate) struct ScoreJob {
    /// The tokens of each document, with its end.
    pub(crate) documents: Vec<Vec<u32>>,
    pub(crate) context: u32,
    /// Whether ranks and entropies are needed.
    pub(crate) has_details: bool,
    pub(crate) reply: oneshot::Sender<Result<Vec<Vec<TokenScore>>, String>>,
    pub(crate) ticket: Arc<Ticket>,
}

/// What an HTTP thread asks the engine to do.
#[derive(Debug)]
pub(crate) enum Command {
    Generate(Vec<TextJob>),
    Score(ScoreJob),
    /// Ends every text now.
    End,
}

/// A place in the queue, which its drop frees.
#[derive(Debug)]
pub(crate) struct Ticket {
    in_system: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.in_system.fetch_sub(1, Ordering::AcqRel);
        self.metrics.requests_in_system.dec();
    }
}

/// The engine of a model. The thread ends when all handles are gone and its texts have ended.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    commands: mpsc::Sender<Command>,
    in_system: Arc<AtomicUsize>,
    max_in_system: usize,
    metrics: Arc<Metrics>,
}

impl Engine {
    /// Starts the thread.
    pub(crate) fn spawn<B: Recurrence>(
        model: LanguageModel<B>,
        vocab: Arc<Vocab>,
        [max_slots, max_queue]: [usize; 2],
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        if model.config().bidirectional {
            return Err(Error::Model(rnnlm_model::Error::BidirectionalGeneration));
        }
        let (commands, receiver) = mpsc::channel();
        let in_system = Arc::new(AtomicUsize::new(0));
        let of_thread = metrics.clone();
        std::thread::Builder::new()
            .name("rnnlm-decode".to_owned())
            .spawn(move || thread::run(&model, &vocab, max_slots, &receiver, &of_thread))?;
        Ok(Self { commands, in_system, max_in_system: max_slots + max_queue, metrics })
    }

    /// A place in the queue, or 429 if it is full.
    pub(crate) fn ticket(&self) -> Result<Arc<Ticket>, ApiError> {
        let is_free = |in_system: usize| (in_system < self.max_in_system).then_some(in_system + 1);
        match self.in_system.fetch_update(Ordering::AcqRel, Ordering::Acquire, is_free) {
            Ok(_) => {
                self.metrics.requests_in_system.inc();
                Ok(Arc::new(Ticket { in_system: self.in_system.clone(), metrics: self.metrics.clone() }))
            }
            Err(waiting) => Err(ApiError::busy(waiting)),
        }
    }

    /// Sends a command; 503 if the thread has ended.
    pub(crate) fn send(&self, command: Command) -> Result<(), ApiError> {
        self.commands.send(command).map_err(|_| ApiError::stopping())
    }
}
