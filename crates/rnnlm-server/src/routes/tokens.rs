//! `POST /tokenize`, `POST /detokenize` and `GET /tokenizer_info`, as vLLM names them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::json::Body;
use crate::error::{ApiError, ErrorBody};
use crate::state::AppState;

/// A text to tokenize.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct TokenizeRequest {
    model: Option<String>,
    /// The text.
    #[serde(alias = "content", alias = "text")]
    prompt: String,
}

/// The tokens of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenizeResponse {
    /// Ids.
    tokens: Vec<u32>,
    count: usize,
    /// How many of them are `<unk>`.
    unknown: usize,
    /// The largest prompt, in tokens.
    max_model_len: usize,
}

/// Ids to decode.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DetokenizeRequest {
    model: Option<String>,
    /// Ids.
    tokens: Vec<u32>,
}

/// A decoded text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DetokenizeResponse {
    /// The text. Bytes that are not UTF-8 are U+FFFD.
    prompt: String,
}

/// The name of a model.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct ModelQuery {
    /// The name of a model; the first one by default.
    pub(super) model: Option<String>,
}

/// The special tokens of a vocabulary.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenizerInfo {
    tokenizer_class: String,
    vocab_size: usize,
    /// The end of a document, which is also the context of the first token; `null` for a model of a stream.
    eos_token: Option<String>,
    bos_token: Option<String>,
    pad_token: Option<String>,
    unk_token: Option<String>,
    eos_token_id: Option<u32>,
    chat_template: Option<String>,
    /// How texts are divided into documents: `none`, `lines` or `blank-lines`.
    documents: String,
}

/// Tokenizes a text.
#[utoipa::path(
    post, path = "/tokenize", request_body = TokenizeRequest,
    responses(
        (status = 200, body = TokenizeResponse), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn tokenize(
    State(state): State<Arc<AppState>>,
    Body(request): Body<TokenizeRequest>,
) -> Result<Json<TokenizeResponse>, ApiError> {
    let model = state.model(request.model.as_deref())?;
    let encoding = model.vocab.encode_prefix_bytes(request.prompt.as_bytes());
    let encoding = encoding.map_err(|error| ApiError::invalid("prompt", error.to_string()))?;
    Ok(Json(TokenizeResponse {
        count: encoding.ids.len(),
        unknown: encoding.unknown.count(),
        tokens: encoding.ids,
        max_model_len: state.config.max_prompt_tokens,
    }))
}

/// Decodes ids.
#[utoipa::path(
    post, path = "/detokenize", request_body = DetokenizeRequest,
    responses(
        (status = 200, body = DetokenizeResponse), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn detokenize(
    State(state): State<Arc<AppState>>,
    Body(request): Body<DetokenizeRequest>,
) -> Result<Json<DetokenizeResponse>, ApiError> {
    let model = state.model(request.model.as_deref())?;
    let bytes = model.vocab.decode_bytes(&request.tokens);
    let bytes = bytes.map_err(|error| ApiError::invalid("tokens", error.to_string()))?;
    Ok(Json(DetokenizeResponse { prompt: String::from_utf8_lossy(&bytes).into_owned() }))
}

/// The special tokens.
#[utoipa::path(
    get, path = "/tokenizer_info", params(ModelQuery),
    responses(
        (status = 200, body = TokenizerInfo), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn tokenizer_info(
    State(state): State<Arc<AppState>>,
    Query(query): Query<ModelQuery>,
) -> Result<Json<TokenizerInfo>, ApiError> {
    let model = state.model(query.model.as_deref())?;
    let token = |id: Option<u32>| Some(model.vocab.token(id?)?.to_owned());
    let end = model.vocab.end_token();
    Ok(Json(TokenizerInfo {
        tokenizer_class: model.vocab.kind().as_str().to_owned(),
        vocab_size: model.vocab.len(),
        eos_token: token(end),
        bos_token: token(end),
        pad_token: token(end),
        unk_token: token(model.vocab.unknown_id()),
        eos_token_id: end,
        chat_template: None,
        documents: model.vocab.documents().as_str().to_owned(),
    }))
}
