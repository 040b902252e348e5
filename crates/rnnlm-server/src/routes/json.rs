//! The body of a request as JSON, with errors in OpenAI's form.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// Like [`Json`], with errors in OpenAI's form.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => {
                let status = match &rejection {
                    // 422 is what the crate sends; OpenAI sends 400
                    JsonRejection::JsonDataError(_) => axum::http::StatusCode::BAD_REQUEST,
                    other => other.status(),
                };
                Err(ApiError::new(status, rejection.body_text()))
            }
        }
    }
}
