//! `POST /v1/completions`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use rnnlm_vocab::Vocab;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use super::completion_types::{CompletionRequest, CompletionResponse, Prompt, StreamEvent, Usage};
use super::json::Body;
use super::sampling::{Plan, range};
use super::texts::GrowingText;
use crate::engine::{Command, TextEvent, TextJob};
use crate::error::{ApiError, ErrorBody};
use crate::state::{AppState, ServedModel};

/// Events of a stream that are buffered; a slow reader then delays its own stream only.
const STREAM_BUFFER: usize = 16;

/// A prompt as ids and as the text that `echo` returns.
#[derive(Clone, Debug)]
struct EncodedPrompt {
    ids: Arc<[u32]>,
    text: String,
}

/// A request whose texts are being generated.
struct Generation {
    id: String,
    created: u64,
    model: ServedModel,
    prompts: Vec<EncodedPrompt>,
    plan: Plan,
    events: mpsc::UnboundedReceiver<TextEvent>,
    start: Instant,
}

/// Completes prompts.
#[utoipa::path(
    post,
    path = "/v1/completions",
    request_body = CompletionRequest,
    responses(
        (status = 200, description = "Completions, or with `stream` events that have parts of them",
            content((CompletionResponse = "application/json"), (StreamEvent = "text/event-stream"))),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 500, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn completions(
    State(state): State<Arc<AppState>>,
    Body(request): Body<CompletionRequest>,
) -> Result<Response, ApiError> {
    let is_stream = request.stream.unwrap_or(false);
    let includes_usage = request.stream_options.unwrap_or_default().include_usage;
    // encoding and regular expressions take time, which other requests must not wait for
    let of_task = state.clone();
    let generation = tokio::task::spawn_blocking(move || start(&of_task, &request)).await;
    let generation = generation.map_err(|error| ApiError::internal(error.to_string()))??;
    if is_stream {
        let stream = stream(state, generation, includes_usage);
        return Ok(Sse::new(stream).keep_alive(KeepAlive::default()).into_response());
    }
    Ok(Json(collect(&state, generation).await?).into_response())
}

/// Checks a request and sends its texts to the engine.
fn start(state: &AppState, request: &CompletionRequest) -> Result<Generation, ApiError> {
    let start = Instant::now();
    let model = state.model(request.model.as_deref())?;
    let plan = Plan::new(request, &model.vocab, &state.config)?;
    let prompts = encode(request.prompt.as_ref(), &model.vocab, state.config.max_prompt_tokens)?;
    let num_texts = prompts.len() * plan.samples_per_prompt;
    range("n", num_texts as u64, 1..=state.config.max_texts as u64)?;
    let ticket = model.engine.ticket()?;
    let (sender, events) = mpsc::unbounded_channel();
    let deadline = start + state.config.request_timeout;
    let jobs = (0..num_texts).map(|index| {
        let [prompt, sample] = [index / plan.samples_per_prompt, index % plan.samples_per_prompt];
        TextJob {
            index,
            prompt: prompts[prompt].ids.clone(),
            scores_prompt: plan.echo && plan.logprobs.is_some() && !prompts[prompt].ids.is_empty(),
            sampler: plan.sampler(prompt, sample),
            logprobs: plan.logprobs,
            stop: plan.stop.clone(),
            deadline,
            events: sender.clone(),
            ticket: ticket.clone(),
        }
    });
    model.engine.send(Command::Generate(jobs.collect()))?;
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Ok(Generation { id: state.next_id("cmpl"), created, model, prompts, plan, events, start })
}

fn encode(prompt: Option<&Prompt>, vocab: &Vocab, max_tokens: usize) -> Result<Vec<EncodedPrompt>, ApiError> {
    let of_text = |text: &String| {
        let encoding = vocab.encode_prefix_bytes(text.as_bytes());
        let ids = encoding.map_err(|error| ApiError::invalid("prompt", error.to_string()))?.ids;
        Ok(EncodedPrompt { ids: ids.into(), text: text.clone() })
    };
    let of_ids = |ids: &Vec<u32>| {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab.len()) {
            let message = format!("prompt has the id {id}, ids are from 0 to {}", vocab.len() - 1);
            return Err(ApiError::invalid("prompt", message));
        }
        let bytes = vocab.decode_bytes(ids).map_err(|error| ApiError::invalid("prompt", error.to_string()))?;
        Ok(EncodedPrompt { ids: ids.as_slice().into(), text: String::from_utf8_lossy(&bytes).into_owned() })
    };
    let prompts: Vec<EncodedPrompt> = match prompt {
        None => vec![of_text(&String::new())?],
        Some(Prompt::Text(text)) => vec![of_text(text)?],
        Some(Prompt::Texts(texts)) => texts.iter().map(of_text).collect::<Result<_, _>>()?,
        Some(Prompt::Ids(ids)) => vec![of_ids(ids)?],
        Some(Prompt::IdLists(lists)) => lists.iter().map(of_ids).collect::<Result<_, _>>()?,
    };
    if prompts.is_empty() {
        return Err(ApiError::invalid("prompt", "prompt is an empty list"));
    }
    let total: usize = prompts.iter().map(|prompt| prompt.ids.len()).sum();
    if total > max_tokens {
        return Err(ApiError::invalid(
            "prompt",
            format!("prompt has {total} tokens, at most {max_tokens} are accepted"),
        ));
    }
    Ok(prompts)
}

impl Generation {
    /// The texts, which begin with the prompts if they are echoed.
    fn texts(&self) -> Vec<GrowingText<'_>> {
        let num_texts = self.prompts.len() * self.plan.samples_per_prompt;
        let has_logprobs = self.plan.logprobs.is_some();
        let new = |_| GrowingText::new(&self.model.vocab, has_logprobs);
        let mut texts: Vec<GrowingText<'_>> = (0..num_texts).map(new).collect();
        if self.plan.echo {
            for (index, text) in texts.iter_mut().enumerate() {
                // its tokens follow when they are scored
                text.echo(&self.prompt(index).text, &[]);
            }
        }
        texts
    }

    fn prompt(&self, index: usize) -> &EncodedPrompt {
        &self.prompts[index / self.plan.samples_per_prompt]
    }

    fn response(&self, choices: Vec<super::completion_types::Choice>, usage: Option<Usage>) -> CompletionResponse {
        CompletionResponse {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.model.name.clone(),
            choices,
            usage,
        }
    }

    fn usage(&self, texts: &[GrowingText<'_>]) -> Usage {
        let prompt_tokens = self.prompts.iter().map(|prompt| prompt.ids.len()).sum();
        let completion_tokens = texts.iter().map(|text| text.num_tokens).sum();
        Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// Applies an event, and returns the number of its text; an error if the model failed.
fn apply(texts: &mut [GrowingText<'_>], event: TextEvent) -> Result<usize, ApiError> {
    match event {
        TextEvent::Prompt { index, tokens } => {
            texts[index].echo("", &tokens);
            Ok(index)
        }
        TextEvent::Token { index, token, text } => {
            texts[index].num_tokens += 1;
            texts[index].push_token(&token);
            texts[index].push_text(&text);
            Ok(index)
        }
        TextEvent::Finished { index, text, num_tokens, reason } => {
            texts[index].push_text(&text);
            texts[index].num_tokens = num_tokens;
            texts[index].finish = Some(reason);
            Ok(index)
        }
        TextEvent::Failed { message } => Err(ApiError::internal(message)),
    }
}

/// Waits for all texts.
async fn collect(state: &AppState, mut generation: Generation) -> Result<CompletionResponse, ApiError> {
    let (_, mut events) = mpsc::unbounded_channel();
    std::mem::swap(&mut events, &mut generation.events);
    let mut texts = generation.texts();
    let mut is_first = true;
    while texts.iter().any(|text| text.finish.is_none()) {
        let Some(event) = events.recv().await else { return Err(ApiError::stopping()) };
        if std::mem::take(&mut is_first) {
            state.metrics.first_token_seconds.observe(generation.start.elapsed().as_secs_f64());
        }
        apply(&mut texts, event)?;
    }
    let usage = generation.usage(&texts);
    let choices = texts.iter_mut().enumerate().map(|(index, text)| text.take(index)).collect();
    Ok(generation.response(choices, Some(usage)))
}

/// Sends parts as they are generated. The task ends when the client is gone, which ends its texts.
fn stream(
    state: Arc<AppState>,
    mut generation: Generation,
    includes_usage: bool,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
    tokio::spawn(async move {
        let (_, mut events) = mpsc::unbounded_channel();
        std::mem::swap(&mut events, &mut generation.events);
        let mut texts = generation.texts();
        let mut is_first = true;
        while texts.iter().any(|text| text.finish.is_none()) {
            let event = tokio::select! {
                event = events.recv() => event,
                () = sender.closed() => return,
            };
            let Some(event) = event else { break };
            if std::mem::take(&mut is_first) {
                state.metrics.first_token_seconds.observe(generation.start.elapsed().as_secs_f64());
            }
            let part = match apply(&mut texts, event) {
                Ok(index) => {
                    let choice = texts[index].take(index);
                    let is_empty = choice.text.is_empty()
                        && choice.finish_reason.is_none()
                        && choice.logprobs.as_ref().is_none_or(|logprobs| logprobs.tokens.is_empty());
                    if is_empty {
                        continue;
                    }
                    StreamEvent::json(&generation.response(vec![choice], None))
                }
                Err(error) => {
                    let _ = sender.send(Ok(StreamEvent::json(&error.body()).into())).await;
                    return;
                }
            };
            if sender.send(Ok(part.into())).await.is_err() {
                return;
            }
        }
        if includes_usage {
            let usage = generation.response(Vec::new(), Some(generation.usage(&texts)));
            let _ = sender.send(Ok(StreamEvent::json(&usage).into())).await;
        }
        let _ = sender.send(Ok(StreamEvent::done().into())).await;
    });
    ReceiverStream::new(receiver)
}
