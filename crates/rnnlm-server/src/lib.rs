//! An HTTP server for recurrent language models: OpenAI's completions API, scoring, and a playground page.
//!
//! HTTP threads never compute. Each model has one decoding thread, which steps all active texts as one batch
//! and admits and releases texts at every step. A text depends on its own seed only, not on other requests.
//!
//! ```no_run
//! use rnnlm_model::{Cpu, ExecutionPath, Run};
//! use rnnlm_server::{Loader, ModelInfo, Models, ServerConfig, serve};
//!
//! let config = ServerConfig::default();
//! let loader = Loader::new(&config);
//! let run = Run::open("runs/names".as_ref())?;
//! let model = run.load(&Cpu::new(0)?, ExecutionPath::Auto)?;
//! let models: Models = [loader.load("names", model, run.vocab().clone(), ModelInfo::default())?].into_iter().collect();
//! serve(config, &loader, models, |address| println!("http://{address}"), || None)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | path | what it does |
//! |---|---|
//! | `POST /v1/completions` | generates text, or scores a prompt with `echo` and `logprobs` |
//! | `POST /score` | log-probabilities of documents |
//! | `POST /tokenize`, `POST /detokenize`, `GET /tokenizer_info` | tokens and ids |
//! | `GET /v1/models`, `GET /health`, `GET /metrics`, `GET /openapi.json` | about the server |
//! | `GET /` | the playground page |

mod config;
mod engine;
mod error;
mod metrics;
mod routes;
mod security;
mod serve;
mod state;

pub use config::ServerConfig;
pub use error::{Error, Result};
pub use serve::serve;
pub use state::{Loader, ModelInfo, Models, ServedModel};

/// Runs the examples of the crate's README as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
