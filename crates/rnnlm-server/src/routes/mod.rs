//! The routes, and what every request passes: security, limits, metrics and the log.

mod completion;
mod completion_types;
mod json;
mod page;
mod sampling;
mod scoring;
mod system;
#[cfg(test)]
mod tests;
mod texts;
mod tokens;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, Result};
use crate::metrics::RequestLabels;
use crate::security;
use crate::state::AppState;

/// The description of the API, to which the routes are added.
#[derive(OpenApi)]
#[openapi(info(
    title = "rnnlm",
    description = "Completions, scores and tokens of recurrent language models, in the form of OpenAI's API."
))]
struct ApiDoc;

/// The whole application.
pub(crate) fn app(state: Arc<AppState>) -> Result<Router> {
    let cors = security::cors(&state.config.cors_origins)?;
    let (router, description) = OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(routes!(completion::completions))
        .routes(routes!(scoring::score))
        .routes(routes!(tokens::tokenize))
        .routes(routes!(tokens::detokenize))
        .routes(routes!(tokens::tokenizer_info))
        .routes(routes!(system::models))
        .routes(routes!(system::model))
        .routes(routes!(system::health))
        .routes(routes!(system::metrics))
        .split_for_parts();
    let description: Arc<str> = description.to_json().map_or_else(|_| "{}".into(), Into::into);
    let router = router
        .route("/openapi.json", get(move || async move { system::json_text(&description) }))
        .route("/", get(page::page))
        .route("/curve", get(page::curve))
        .route("/v1/chat/completions", axum::routing::post(no_chat))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(state.config.max_body_bytes))
        .layer(middleware::from_fn_with_state(state.clone(), security::check))
        .layer(cors)
        .layer(middleware::from_fn_with_state(state.clone(), count))
        .with_state(state);
    Ok(router)
}

/// Counts a request when its response begins, and writes a line without texts to the log.
async fn count(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let path = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let seconds = start.elapsed().as_secs_f64();
    let status = response.status().as_u16();
    state.metrics.request_seconds.observe(seconds);
    if let Some(log) = state.config.log {
        log(&format!("{method} {path} {status} {:.1} ms", 1000.0 * seconds));
    }
    state.metrics.requests.get_or_create(&RequestLabels { path, status }).inc();
    response
}

async fn no_chat() -> ApiError {
    let message = "there is no chat endpoint, because these models continue texts and were not trained on dialogues; use \
                   POST /v1/completions";
    ApiError::new(StatusCode::NOT_FOUND, message).with_code("no_chat_model")
}

async fn not_found(request: Request) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Response {
    let message = format!("{} does not accept {}", request.uri().path(), request.method());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message).into_response()
}
