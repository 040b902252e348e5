//! What HTTP threads and the decoding thread tell each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rnnlm_model::{DecodedToken, Finish, Sampler, StopConditions, TokenScore};
use tokio::sync::{mpsc as async_mpsc, oneshot};

use crate::error::Result;
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

impl Ticket {
    /// A place that is counted in `in_system` already.
    pub(super) fn new(in_system: Arc<AtomicUsize>, metrics: Arc<Metrics>) -> Self {
        metrics.requests_in_system.inc();
        Self { in_system, metrics }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.in_system.fetch_sub(1, Ordering::AcqRel);
        self.metrics.requests_in_system.dec();
    }
}
