//! The body of a request as JSON, with errors in OpenAI's form.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// Like [`Json`], with errors in OpenAI's form. The body must be an object: a list is not read as its fields.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let rejected = |rejection: JsonRejection| {
            let status = match &rejection {
                // 422 is what the crate sends; OpenAI sends 400
                JsonRejection::JsonDataError(_) => StatusCode::BAD_REQUEST,
                other => other.status(),
            };
            ApiError::new(status, rejection.body_text())
        };
        let Json(object) = Json::<Map<String, Value>>::from_request(request, state).await.map_err(rejected)?;
        let invalid = |error: serde_json::Error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string());
        serde_json::from_value(Value::Object(object)).map(Self).map_err(invalid)
    }
}
