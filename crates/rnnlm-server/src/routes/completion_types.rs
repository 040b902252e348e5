//! The bodies of `POST /v1/completions`: OpenAI's, with the extensions of llama.cpp and vLLM.

use std::collections::BTreeMap;

use axum::response::sse::Event;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to complete. A parameter that is not listed is ignored.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct CompletionRequest {
    /// The name of a model; the first one by default.
    pub(super) model: Option<String>,
    /// A text, texts, ids, or lists of ids. By default, the start of a document.
    pub(super) prompt: Option<Prompt>,
    /// The limit of tokens of each text: 16 by default; 0 only with `echo`.
    pub(super) max_tokens: Option<u64>,
    /// 1 by default; 0 takes the most probable token.
    pub(super) temperature: Option<f64>,
    /// Keeps the most probable tokens whose probabilities sum up to this.
    pub(super) top_p: Option<f64>,
    /// Keeps this many most probable tokens; 0 keeps all.
    pub(super) top_k: Option<u64>,
    /// Keeps tokens that are at least this probable, relative to the most probable one.
    pub(super) min_p: Option<f64>,
    /// Keeps the tokens whose surprisal is closest to the entropy and whose probabilities sum up to this.
    pub(super) typical_p: Option<f64>,
    /// Divides positive and multiplies negative logits of tokens that occurred; 1 by default.
    pub(super) repetition_penalty: Option<f64>,
    /// Subtracted from the logits of tokens that occurred: -2 to 2.
    pub(super) presence_penalty: Option<f64>,
    /// Subtracted from the logits for each occurrence of the token: -2 to 2.
    pub(super) frequency_penalty: Option<f64>,
    /// Added to the logits of tokens, by id.
    pub(super) logit_bias: Option<BTreeMap<String, f64>>,
    /// Texts for each prompt.
    pub(super) n: Option<u64>,
    /// Only the value of `n` is accepted.
    pub(super) best_of: Option<u64>,
    /// Texts before which the completion ends.
    pub(super) stop: Option<Stop>,
    /// The same seed and request give the same texts.
    pub(super) seed: Option<i64>,
    /// The number of alternatives of each token: 0 to 20. Reports log-probabilities.
    pub(super) logprobs: Option<u64>,
    /// Whether the prompt is a part of the result.
    pub(super) echo: Option<bool>,
    /// A regular expression that the whole text matches.
    pub(super) regex: Option<String>,
    /// Whether a document may be followed by another one.
    pub(super) ignore_eos: Option<bool>,
    /// Not supported.
    pub(super) suffix: Option<String>,
    /// Whether tokens are sent as server-sent events.
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
}

/// A prompt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Prompt {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    IdLists(Vec<Vec<u32>>),
}

/// Stop texts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Stop {
    One(String),
    Many(Vec<String>),
}

/// Options of a stream.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct StreamOptions {
    /// Whether the last event has the numbers of tokens.
    pub(super) include_usage: bool,
}

/// Completions, or a part of them in a stream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct CompletionResponse {
    pub(super) id: String,
    /// `text_completion`.
    pub(super) object: &'static str,
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Usage>,
}

/// A server-sent event of a stream.
#[derive(Clone, Debug, ToSchema)]
pub(super) struct StreamEvent {
    /// A completion response as JSON with a part of a text, an error body, or `[DONE]` at the end.
    data: String,
}

impl StreamEvent {
    /// The last event.
    pub(super) fn done() -> Self {
        Self { data: "[DONE]".to_owned() }
    }

    /// The event of a body.
    pub(super) fn json(body: &impl Serialize) -> Self {
        Self { data: serde_json::to_string(body).unwrap_or_default() }
    }
}

impl From<StreamEvent> for Event {
    fn from(event: StreamEvent) -> Self {
        Self::default().data(event.data)
    }
}

/// One text.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Choice {
    pub(super) text: String,
    /// The number of the text: prompts in order, and for each prompt `n` texts.
    pub(super) index: usize,
    pub(super) logprobs: Option<Logprobs>,
    /// `stop` at a stop text or the end of a document, `length` at a limit; `null` while the text grows.
    pub(super) finish_reason: Option<&'static str>,
}

/// The log-probabilities of tokens, natural logarithms.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(super) struct Logprobs {
    pub(super) tokens: Vec<String>,
    /// The first token of a prompt has none.
    pub(super) token_logprobs: Vec<Option<f64>>,
    pub(super) top_logprobs: Vec<Option<BTreeMap<String, f64>>>,
    /// The character of the text at which each token starts.
    pub(super) text_offset: Vec<usize>,
}

/// Numbers of tokens.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(super) struct Usage {
    pub(super) prompt_tokens: usize,
    pub(super) completion_tokens: usize,
    pub(super) total_tokens: usize,
}
