//! `POST /score`: log-probabilities of documents, with the objects of `rnnlm score --format jsonl`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rnnlm_model::TokenScore;
use rnnlm_vocab::Vocab;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::json::Body;
use crate::engine::{Command, ScoreJob};
use crate::error::{ApiError, ErrorBody};
use crate::state::AppState;

/// Documents to score.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ScoreRequest {
    model: Option<String>,
    /// The documents, each without its end.
    documents: Vec<String>,
    /// Whether each token is reported.
    #[serde(default)]
    tokens: bool,
}

/// The scores of documents.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ScoreResponse {
    model: String,
    /// SHA-256 of the weights.
    digest: String,
    /// The token from which the first token is predicted: `end-token`, `line-end` or `most-frequent-token`.
    context: String,
    results: Vec<DocumentResult>,
}

/// The score of a document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DocumentResult {
    index: usize,
    /// Scored tokens, with the end.
    tokens: usize,
    /// Tokens that are not in the vocabulary.
    unknown: usize,
    /// The natural logarithm of the probability.
    logprob: f64,
    bits_per_char: Option<f64>,
    bits_per_byte: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<Vec<TokenResult>>,
}

/// The score of a token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenResult {
    id: u32,
    token: String,
    logprob: f64,
    rank: Option<u32>,
    /// The entropy of the prediction, in bits.
    entropy: Option<f64>,
}

/// Scores documents.
#[utoipa::path(
    post, path = "/score", request_body = ScoreRequest,
    responses(
        (status = 200, body = ScoreResponse), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 429, body = ErrorBody), (status = 500, body = ErrorBody),
        (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn score(
    State(state): State<Arc<AppState>>,
    Body(request): Body<ScoreRequest>,
) -> Result<Json<ScoreResponse>, ApiError> {
    let model = state.model(request.model.as_deref())?;
    let frame = model.vocab.document_frame();
    let invalid = |error: rnnlm_vocab::Error| ApiError::invalid("documents", error.to_string());
    let encode = |document: &String| frame.encode(&model.vocab, document.as_bytes()).map_err(invalid);
    let encodings = request.documents.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
    let total: usize = encodings.iter().map(|encoding| encoding.ids.len()).sum();
    let limit = state.config.max_prompt_tokens;
    if total > limit {
        let message = format!("documents have {total} tokens, at most {limit} are accepted");
        return Err(ApiError::invalid("documents", message));
    }
    let ticket = model.engine.ticket()?;
    let (reply, scores) = oneshot::channel();
    let documents = encodings.iter().map(|encoding| encoding.ids.clone()).collect();
    let job = ScoreJob { documents, context: frame.context, has_details: request.tokens, reply, ticket };
    model.engine.send(Command::Score(job))?;
    let scores = scores.await.map_err(|_| ApiError::stopping())?.map_err(ApiError::internal)?;
    let results = encodings.iter().zip(&scores).enumerate().map(|(index, (encoding, scores))| {
        let logprob: f64 = scores.iter().map(|score| f64::from(score.log_probability)).sum();
        let size = model.vocab.text_size(encoding);
        let bits = |units: u64| (units > 0).then(|| -logprob / std::f64::consts::LN_2 / units as f64);
        DocumentResult {
            index,
            tokens: scores.len(),
            unknown: encoding.unknown.count(),
            logprob,
            bits_per_char: bits(size.characters),
            bits_per_byte: bits(size.bytes),
            scores: request.tokens.then(|| scores.iter().map(|score| TokenResult::new(&model.vocab, score)).collect()),
        }
    });
    Ok(Json(ScoreResponse {
        model: model.name.clone(),
        digest: model.info.digest.clone(),
        context: frame.kind.as_str().to_owned(),
        results: results.collect(),
    }))
}

impl TokenResult {
    fn new(vocab: &Vocab, score: &TokenScore) -> Self {
        Self {
            id: score.id,
            token: vocab.token(score.id).unwrap_or_default().to_owned(),
            logprob: f64::from(score.log_probability),
            rank: score.details.map(|details| details.rank),
            entropy: score.details.map(|details| details.entropy / std::f64::consts::LN_2),
        }
    }
}
