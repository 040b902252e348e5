//! Requests against the whole application, without a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use rnnlm_model::{
    Corpus, CorpusOptions, Cpu, Documents, ExecutionPath, Init, LanguageModel, ModelConfig, Normalization,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::app;
use crate::engine::Command;
use crate::state::{AppState, Loader, ModelInfo};
use crate::{Models, ServerConfig};

/// A server with a small random model of the documents `ab`, `bca` and `c`.
fn server(config: ServerConfig) -> (Router, Arc<AppState>) {
    let options =
        CorpusOptions { documents: Documents::Lines, normalization: Normalization::None, ..CorpusOptions::default() };
    let vocab = Corpus::from_bytes(b"ab\nbca\nc\n", &options).expect("three documents").vocab;
    let cpu = Cpu::new(1).expect("a thread");
    let size = ModelConfig { hidden_size: 8, ..ModelConfig::book(vocab.len()) };
    let mut model = LanguageModel::new(&cpu, &size, ExecutionPath::Auto).expect("a small model");
    model.initialize(Init::Uniform, 3).expect("a CPU");
    let loader = Loader::new(&config);
    let info = ModelInfo { digest: "d".to_owned(), ..ModelInfo::default() };
    let models: Models = [loader.load("small", model, vocab, info).expect("an engine")].into_iter().collect();
    let state = Arc::new(AppState::new(config, models, loader.metrics));
    (app(state.clone()).expect("no origins"), state)
}

async fn send(app: &Router, path: &str, body: Option<Value>) -> Response {
    let request = Request::builder().uri(path).header(header::HOST, "localhost:8080");
    let request = match body {
        Some(body) => {
            request.method("POST").header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))
        }
        None => request.body(Body::empty()),
    };
    app.clone().oneshot(request.expect("a request")).await.expect("a response")
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

async fn post(app: &Router, path: &str, body: Value) -> (StatusCode, Value) {
    let response = send(app, path, Some(body)).await;
    let status = response.status();
    let text = text(response).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// The choices of a completion that succeeds.
async fn choices(app: &Router, body: Value) -> Value {
    let (status, mut response) = post(app, "/v1/completions", body).await;
    assert_eq!(status, StatusCode::OK, "{response}");
    response["choices"].take()
}

fn request(seed: u64) -> Value {
    json!({ "prompt": "b", "max_tokens": 40, "seed": seed, "n": 2, "logprobs": 2, "ignore_eos": true })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_has_the_same_bits_alone_and_among_other_requests() {
    let (app, _) = server(ServerConfig::default());
    let mut alone = Vec::new();
    for seed in 0..12 {
        alone.push(choices(&app, request(seed)).await);
    }
    assert_ne!(alone[0], alone[1], "the seed matters");
    assert_ne!(alone[0][0]["text"], alone[0][1]["text"], "the number of the sample matters");
    let handles: Vec<_> = (0..12)
        .map(|seed| {
            let app = app.clone();
            tokio::spawn(async move { choices(&app, request(seed)).await })
        })
        .collect();
    for (handle, alone) in handles.into_iter().zip(&alone) {
        assert_eq!(handle.await.expect("a response"), *alone);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_reports_the_scores_of_the_prompt() {
    let (app, _) = server(ServerConfig::default());
    let body = json!({ "prompt": "bca", "max_tokens": 1, "temperature": 0, "echo": true, "logprobs": 1 });
    let choice = choices(&app, body).await[0].take();
    let logprobs = &choice["logprobs"];
    assert_eq!(logprobs["tokens"].as_array().map(Vec::len), Some(4), "{choice}");
    assert_eq!(logprobs["text_offset"], json!([0, 1, 2, 3]));
    assert!(logprobs["token_logprobs"][0].is_null() && logprobs["top_logprobs"][0].is_null());
    let (_, scores) = post(&app, "/score", json!({ "documents": ["bca"], "tokens": true })).await;
    let result = &scores["results"][0];
    assert_eq!((result["tokens"].as_u64(), result["unknown"].as_u64()), (Some(4), Some(0)));
    let number = |value: &Value| value.as_f64().expect("a number");
    for position in 1..3 {
        let expected = number(&result["scores"][position]["logprob"]);
        // one comes from float32 losses, the other from float32 logits in double precision
        assert!((number(&logprobs["token_logprobs"][position]) - expected).abs() < 1e-6);
        let top = logprobs["top_logprobs"][position].as_object().expect("alternatives");
        let best = top.values().map(number).fold(f64::NEG_INFINITY, f64::max);
        assert!(best >= number(&logprobs["token_logprobs"][position]), "comparable with the token's own value");
    }
    let total: f64 = result["scores"].as_array().expect("tokens").iter().map(|token| number(&token["logprob"])).sum();
    assert_eq!(number(&result["logprob"]), total);
    let bits = -total / std::f64::consts::LN_2 / 4.0;
    assert!((number(&result["bits_per_char"]) - bits).abs() < 1e-12, "three letters and the line end");
    // ids are the same prompt, and a prompt alone is scored without a token
    let (_, tokens) = post(&app, "/tokenize", json!({ "prompt": "bca" })).await;
    let body = json!({ "prompt": tokens["tokens"], "max_tokens": 0, "echo": true, "logprobs": 1 });
    let alone = choices(&app, body).await[0].take();
    assert_eq!(alone["text"], "bca");
    assert_eq!(alone["logprobs"]["token_logprobs"][2], logprobs["token_logprobs"][2]);
    let (_, decoded) = post(&app, "/detokenize", json!({ "tokens": tokens["tokens"] })).await;
    assert_eq!(decoded["prompt"], "bca");
}

/// The events of a stream, without `[DONE]`, which must be the last one.
async fn events(app: &Router, body: Value) -> Vec<Value> {
    let response = send(app, "/v1/completions", Some(body)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let text = text(response).await;
    let mut events: Vec<&str> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(events.pop(), Some("[DONE]"), "{text}");
    events.iter().map(|event| serde_json::from_str(event).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_the_text_of_the_whole_response() {
    let (app, _) = server(ServerConfig::default());
    let mut body = request(5);
    let whole = choices(&app, body.clone()).await;
    body["stream"] = true.into();
    body["stream_options"] = json!({ "include_usage": true });
    let events = events(&app, body).await;
    assert_eq!(events.last().expect("usage")["usage"]["completion_tokens"], 80);
    for index in 0..2 {
        let parts = events.iter().filter_map(|event| event["choices"].get(0)).filter(|choice| choice["index"] == index);
        let parts: Vec<&Value> = parts.collect();
        let text: String = parts.iter().map(|part| part["text"].as_str().expect("a text")).collect();
        assert_eq!(text, whole[index]["text"].as_str().expect("a text"));
        let tokens: Vec<&Value> =
            parts.iter().flat_map(|part| part["logprobs"]["token_logprobs"].as_array().expect("a list")).collect();
        assert_eq!(json!(tokens), whole[index]["logprobs"]["token_logprobs"]);
        assert_eq!(parts.last().expect("parts")["finish_reason"], "length");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_has_both_forms_of_a_completion() {
    let (app, _) = server(ServerConfig::default());
    let schema: Value = serde_json::from_str(&text(send(&app, "/openapi.json", None).await).await).expect("JSON");
    let content = &schema["paths"]["/v1/completions"]["post"]["responses"]["200"]["content"];
    assert_eq!(content["application/json"]["schema"]["$ref"], "#/components/schemas/CompletionResponse");
    assert_eq!(content["text/event-stream"]["schema"]["$ref"], "#/components/schemas/StreamEvent");
    assert_eq!(schema["components"]["schemas"]["StreamEvent"]["properties"]["data"]["type"], "string");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_end_at_stop_texts_document_ends_and_limits_and_match_expressions() {
    let (app, _) = server(ServerConfig::default());
    let body = json!({ "prompt": ["", "a"], "max_tokens": 30, "seed": 1, "n": 20 });
    for choice in choices(&app, body).await.as_array().expect("a list") {
        let text = choice["text"].as_str().expect("a text");
        let is_whole = choice["finish_reason"] == "stop";
        assert!(!text.contains('\n') && (is_whole || text.len() == 30), "{choice}");
    }
    let body =
        json!({ "prompt": "a", "max_tokens": 200, "seed": 1, "n": 10, "ignore_eos": true, "stop": ["ca", "\n"] });
    for choice in choices(&app, body).await.as_array().expect("a list") {
        let text = choice["text"].as_str().expect("a text");
        assert!(choice["finish_reason"] == "stop" && !text.contains("ca") && !text.contains('\n'), "{choice}");
    }
    let body = json!({ "prompt": "", "max_tokens": 4, "seed": 1, "n": 30, "regex": "a(b|c)+a" });
    for choice in choices(&app, body).await.as_array().expect("a list") {
        let text = choice["text"].as_str().expect("a text");
        let inner = text.strip_prefix('a').and_then(|text| text.strip_suffix('a')).expect("a match");
        assert!((1..=2).contains(&inner.len()) && inner.chars().all(|c| "bc".contains(c)), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_value_is_an_error_that_names_the_parameter() {
    let (app, _) = server(ServerConfig { max_tokens: 100, max_prompt_tokens: 10, ..ServerConfig::default() });
    for (field, value, param) in [
        ("temperature", json!(-1), "temperature"),
        ("top_p", json!(0), "top_p"),
        ("min_p", json!(2), "min_p"),
        ("max_tokens", json!(101), "max_tokens"),
        ("max_tokens", json!(0), "max_tokens"),
        ("n", json!(0), "n"),
        ("n", json!(1000), "n"),
        ("best_of", json!(3), "best_of"),
        ("suffix", json!("x"), "suffix"),
        ("logprobs", json!(21), "logprobs"),
        ("logit_bias", json!({ "99": 1 }), "logit_bias"),
        ("logit_bias", json!({ "1": 1000 }), "logit_bias"),
        ("presence_penalty", json!(3), "presence_penalty"),
        ("regex", json!("("), "regex"),
        ("regex", json!("x"), "regex"),
        ("prompt", json!([]), "prompt"),
        ("prompt", json!([99]), "prompt"),
        ("prompt", json!("abcabcabcabc"), "prompt"),
    ] {
        let mut body = json!({ "prompt": "a" });
        body[field] = value.clone();
        let (status, response) = post(&app, "/v1/completions", body).await;
        assert_eq!(
            (status, response["error"]["param"].as_str()),
            (StatusCode::BAD_REQUEST, Some(param)),
            "{field} {value}"
        );
        assert_eq!(response["error"]["type"], "invalid_request_error");
    }
    let (status, response) = post(&app, "/v1/completions", json!({ "prompt": { "a": 1 } })).await;
    assert_eq!((status, response["error"]["type"].as_str()), (StatusCode::BAD_REQUEST, Some("invalid_request_error")));
    let (status, _) = post(&app, "/v1/completions", json!([null, "a"])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "a list is not an object");
    let (status, response) = post(&app, "/v1/completions", json!({ "prompt": "a", "model": "other" })).await;
    assert_eq!((status, response["error"]["code"].as_str()), (StatusCode::NOT_FOUND, Some("model_not_found")));
    let (status, _) = post(&app, "/v1/completions", json!({ "prompt": "a", "unknown_field": [1, 2] })).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_served_says_why() {
    let (app, state) =
        server(ServerConfig { api_keys: vec!["secret".to_owned()], max_body_bytes: 100, ..ServerConfig::default() });
    assert_eq!(send(&app, "/health", None).await.status(), StatusCode::OK);
    assert_eq!(send(&app, "/", None).await.status(), StatusCode::OK);
    let response = send(&app, "/v1/models", None).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    let with = |path: &str, host: &str, method: &str, body: String| {
        let request = Request::builder().uri(path).method(method).header(header::HOST, host);
        let request = request.header(header::AUTHORIZATION, "Bearer secret");
        app.clone().oneshot(
            request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).expect("a request"),
        )
    };
    let status = |response: Result<Response, std::convert::Infallible>| response.expect("a response").status();
    let local = "127.0.0.1";
    assert_eq!(status(with("/v1/models", local, "GET", String::new()).await), StatusCode::OK);
    assert_eq!(status(with("/v1/models", "evil.example", "GET", String::new()).await), StatusCode::FORBIDDEN);
    assert_eq!(status(with("/v1/models", local, "DELETE", String::new()).await), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(status(with("/v1/models/other", local, "GET", String::new()).await), StatusCode::NOT_FOUND);
    assert_eq!(status(with("/nothing", local, "GET", String::new()).await), StatusCode::NOT_FOUND);
    let long = json!({ "prompt": "a".repeat(200) }).to_string();
    assert_eq!(status(with("/v1/completions", local, "POST", long).await), StatusCode::PAYLOAD_TOO_LARGE);
    let chat = with("/v1/chat/completions", local, "POST", "{}".to_owned()).await.expect("a response");
    assert_eq!(chat.status(), StatusCode::NOT_FOUND);
    assert!(text(chat).await.contains("there is no chat endpoint, because these models continue texts"));
    let metrics = text(with("/metrics", local, "GET", String::new()).await.expect("a response")).await;
    assert!(metrics.contains("rnnlm_requests_total{path=\"/v1/models\",status=\"200\"} 1\n"), "{metrics}");
    state.stop();
    assert_eq!(send(&app, "/health", None).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// Waits until no request is in the system.
async fn wait_until_idle(state: &AppState) {
    for _ in 0..500 {
        if state.metrics.requests_in_system.get() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a request did not leave the system");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_and_a_client_that_leaves_frees_its_place() {
    let config = ServerConfig { max_slots: 1, max_queue: 1, max_tokens: usize::MAX >> 8, ..ServerConfig::default() };
    let (app, state) = server(config);
    let endless = json!({ "prompt": "a", "max_tokens": 1_u64 << 40, "ignore_eos": true, "stream": true });
    let first = send(&app, "/v1/completions", Some(endless.clone())).await;
    let second = send(&app, "/v1/completions", Some(endless)).await;
    let refused = send(&app, "/v1/completions", Some(json!({ "prompt": "a" }))).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    drop((first, second));
    wait_until_idle(&state).await;
    let (status, _) = post(&app, "/v1/completions", json!({ "prompt": "a" })).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_that_are_ended_have_a_finish_reason() {
    let config = ServerConfig { max_slots: 1, max_tokens: usize::MAX >> 8, ..ServerConfig::default() };
    let (app, state) = server(config);
    let endless = json!({ "prompt": "a", "max_tokens": 1_u64 << 40, "ignore_eos": true, "n": 3, "seed": 1 });
    let of_task = app.clone();
    let waiting = tokio::spawn(async move { choices(&of_task, endless).await });
    while state.metrics.tokens_predicted.get() < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let model = state.model(None).expect("it is not stopping");
    model.engine.send(Command::End).expect("the thread is alive");
    let choices = waiting.await.expect("a response");
    assert!(choices[0]["text"].as_str().expect("a text").len() >= 100, "{choices}");
    for choice in choices.as_array().expect("three") {
        assert_eq!(choice["finish_reason"], "length");
    }
    // a request with a time limit ends by itself
    let config = ServerConfig {
        request_timeout: Duration::from_millis(50),
        max_tokens: usize::MAX >> 8,
        ..ServerConfig::default()
    };
    let (app, _) = server(config);
    let (status, response) =
        post(&app, "/v1/completions", json!({ "prompt": "a", "max_tokens": 1_u64 << 40, "ignore_eos": true })).await;
    assert_eq!((status, response["choices"][0]["finish_reason"].as_str()), (StatusCode::OK, Some("length")));
}
