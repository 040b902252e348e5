//! What the server tells about itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{ApiError, ErrorBody};
use crate::state::{AppState, ServedModel};

/// The models.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelList {
    /// `list`.
    object: &'static str,
    data: Vec<ModelObject>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelObject {
    id: String,
    /// `model`.
    object: &'static str,
    /// When it was loaded, in seconds since 1970.
    created: u64,
    owned_by: &'static str,
    /// Its cell and sizes.
    description: String,
    parameters: u64,
    /// SHA-256 of the weights.
    digest: String,
    vocab_size: usize,
}

/// Whether the server accepts requests.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`.
    status: &'static str,
}

impl ModelObject {
    fn new(model: &ServedModel) -> Self {
        Self {
            id: model.name.clone(),
            object: "model",
            created: model.created,
            owned_by: "rnnlm",
            description: model.info.description.clone(),
            parameters: model.info.parameters,
            digest: model.info.digest.clone(),
            vocab_size: model.vocab.len(),
        }
    }
}

/// Lists the models.
#[utoipa::path(get, path = "/v1/models", responses(
    (status = 200, body = ModelList), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
))]
pub(super) async fn models(State(state): State<Arc<AppState>>) -> Json<ModelList> {
    let data = state.models().models.iter().map(ModelObject::new).collect();
    Json(ModelList { object: "list", data })
}

/// Describes a model.
#[utoipa::path(get, path = "/v1/models/{model}", params(("model" = String, Path, description = "Its name")), responses(
    (status = 200, body = ModelObject), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(super) async fn model(
    State(state): State<Arc<AppState>>,
    Path(name): Path<String>,
) -> Result<Json<ModelObject>, ApiError> {
    Ok(Json(ModelObject::new(&state.model(Some(&name))?)))
}

/// Whether the server accepts requests.
#[utoipa::path(get, path = "/health", responses(
    (status = 200, body = Health), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(super) async fn health(State(state): State<Arc<AppState>>) -> Result<Json<Health>, ApiError> {
    if state.is_stopping() { Err(ApiError::stopping()) } else { Ok(Json(Health { status: "ok" })) }
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, body = String, content_type = "application/openmetrics-text"), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody),
))]
pub(super) async fn metrics(State(state): State<Arc<AppState>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], state.metrics.to_text()).into_response()
}

/// A text that is JSON already.
pub(super) fn json_text(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_owned()).into_response()
}
