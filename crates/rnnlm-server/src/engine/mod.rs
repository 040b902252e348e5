//! The decoding thread of a model: it owns the model, and steps all texts as one batch.
//!
//! ```text
//! HTTP threads ── commands ──→ queue ──→ slots ── one step of all ──→ events ──→ HTTP threads
//! ```
//!
//! HTTP threads never compute. A request consists of texts; each takes a slot of the decoder as one becomes free. A text's
//! tokens depend on its own sampler only, so they do not depend on what else is in the batch. A text whose receiver is gone
//! ends at the next step.

mod job;
mod prompt;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use rnnlm_model::{LanguageModel, Recurrence};
use rnnlm_vocab::Vocab;

pub(crate) use self::job::{Command, ScoreJob, TextEvent, TextJob, Ticket};
use crate::error::{ApiError, Error, Result};
use crate::metrics::Metrics;

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
            Ok(_) => Ok(Arc::new(Ticket::new(self.in_system.clone(), self.metrics.clone()))),
            Err(waiting) => Err(ApiError::busy(waiting)),
        }
    }

    /// Sends a command; 503 if the thread has ended.
    pub(crate) fn send(&self, command: Command) -> Result<(), ApiError> {
        self.commands.send(command).map_err(|_| ApiError::stopping())
    }
}
