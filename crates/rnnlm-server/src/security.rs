//! Who may call the server: API keys, the `Host` header, and origins of pages.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::error::{ApiError, Error, Result};
use crate::state::AppState;

/// Paths that need no key: they reveal nothing about texts or models.
const OPEN_PATHS: [&str; 4] = ["/", "/health", "/favicon.ico", "/openapi.json"];

/// Refuses requests without a valid key, and requests for other hosts.
///
/// A page of another site can make a browser send requests to this machine under a name that the site's DNS server maps to
/// 127.0.0.1 (DNS rebinding). Such requests have that name in the `Host` header.
pub(crate) async fn check(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let config = &state.config;
    if !is_own_host(request.headers().get(header::HOST), request.uri(), config.host, &config.allowed_hosts) {
        let message = "the Host header names another server; --allowed-host adds a name";
        return ApiError::new(StatusCode::FORBIDDEN, message).with_code("unknown_host").into_response();
    }
    let is_open = OPEN_PATHS.contains(&request.uri().path()) || request.method() == Method::OPTIONS;
    if !is_open
        && !config.api_keys.is_empty()
        && !has_key(request.headers().get(header::AUTHORIZATION), &config.api_keys)
    {
        let error = ApiError::new(StatusCode::UNAUTHORIZED, "a valid key is needed: `Authorization: Bearer KEY`");
        let mut response = error.with_code("invalid_api_key").into_response();
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    next.run(request).await
}

/// Whether the request is for this server. A server that listens on an address of a network is known under names that it
/// cannot know, so it accepts all unless some are listed.
fn is_own_host(host: Option<&HeaderValue>, uri: &Uri, listening: IpAddr, allowed: &[String]) -> bool {
    if !listening.is_loopback() && allowed.is_empty() {
        return true;
    }
    let header = host.and_then(|host| host.to_str().ok()).or(uri.host());
    // HTTP/1.0 has no such header, and no browser speaks it
    let Some(header) = header else { return true };
    let name = match header.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => header,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_this_machine = name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || address == listening);
    is_this_machine || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

/// Whether the header has one of the keys.
fn has_key(header: Option<&HeaderValue>, keys: &[String]) -> bool {
    let Some(value) = header.and_then(|value| value.to_str().ok()) else { return false };
    let Some((scheme, given)) = value.split_once(' ') else { return false };
    let is_equal = |key: &String| {
        // the time must not depend on where the first difference is
        let differences = key.bytes().zip(given.bytes()).fold(0, |differences, (a, b)| differences | (a ^ b));
        key.len() == given.len() && differences == 0
    };
    scheme.eq_ignore_ascii_case("bearer") && keys.iter().fold(false, |found, key| found | is_equal(key))
}

/// The headers that let pages of other origins call the server.
pub(crate) fn cors(origins: &[String]) -> Result<CorsLayer> {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION]);
    if origins.iter().any(|origin| origin == "*") {
        return Ok(layer.allow_origin(AllowOrigin::any()));
    }
    let parse = |origin: &String| {
        let is_origin = origin.parse::<Uri>().is_ok_and(|uri| {
            uri.scheme().is_some() && uri.host().is_some() && uri.path().trim_end_matches('/').is_empty()
        });
        let value = HeaderValue::from_str(origin.trim_end_matches('/')).ok().filter(|_| is_origin);
        value.ok_or_else(|| Error::Origin(origin.clone()))
    };
    Ok(layer.allow_origin(AllowOrigin::list(origins.iter().map(parse).collect::<Result<Vec<_>>>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own(host: &str, listening: &str, allowed: &[&str]) -> bool {
        let allowed: Vec<String> = allowed.iter().map(|&name| name.to_owned()).collect();
        let header = HeaderValue::from_str(host).expect("a header");
        is_own_host(Some(&header), &Uri::from_static("/"), listening.parse().expect("an address"), &allowed)
    }

    #[test]
    fn only_names_of_this_machine_are_accepted_on_loopback() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.0.0.1", "[::1]:8080"] {
            assert!(is_own(host, "127.0.0.1", &[]), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", ""] {
            assert!(!is_own(host, "127.0.0.1", &[]), "{host}");
        }
        assert!(is_own("models.example:80", "127.0.0.1", &["models.example"]));
        assert!(is_own("anything.example", "0.0.0.0", &[]));
        assert!(!is_own("anything.example", "0.0.0.0", &["models.example"]));
    }

    #[test]
    fn a_key_must_be_equal_and_a_bearer_token() {
        let keys = ["secret".to_owned(), "other".to_owned()];
        let has = |value: &'static str| has_key(Some(&HeaderValue::from_static(value)), &keys);
        assert!(has("Bearer secret") && has("bearer other"));
        assert!(!has("Bearer secre") && !has("Bearer secrets") && !has("Basic secret") && !has("secret"));
        assert!(!has_key(None, &keys));
    }

    #[test]
    fn an_origin_has_a_scheme_and_a_host() {
        assert!(cors(&["https://example.org".to_owned(), "http://localhost:3000/".to_owned()]).is_ok());
        for origin in ["example.org", "https://example.org/page", ""] {
            assert!(matches!(cors(&[origin.to_owned()]), Err(Error::Origin(_))), "{origin}");
        }
    }
}
