//! The playground page, one file without external requests.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};

use super::tokens::ModelQuery;
use crate::error::ApiError;
use crate::state::AppState;

const PAGE: &str = include_str!("page.html");
/// The page loads nothing from elsewhere and cannot be framed.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-cache")], Html(PAGE)).into_response()
}

/// The learning curve of a run, for the page.
pub(super) async fn curve(
    State(state): State<Arc<AppState>>,
    Query(query): Query<ModelQuery>,
) -> Result<Json<Value>, ApiError> {
    let model = state.model(query.model.as_deref())?;
    Ok(Json(json!({ "model": model.name, "metrics": model.info.metrics })))
}
