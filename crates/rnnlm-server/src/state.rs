//! What the handlers share: settings, models by name, metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rnnlm_model::{LanguageModel, Recurrence};
use rnnlm_vocab::Vocab;
use serde_json::Value;

use crate::config::ServerConfig;
use crate::engine::Engine;
use crate::error::{ApiError, Result};
use crate::metrics::Metrics;

/// A model that is ready to be served.
#[derive(Clone, Debug)]
pub struct ServedModel {
    pub(crate) name: String,
    pub(crate) vocab: Arc<Vocab>,
    pub(crate) engine: Engine,
    pub(crate) info: ModelInfo,
    /// When it was loaded, in seconds since 1970.
    pub(crate) created: u64,
}

/// What a server tells about a model.
#[derive(Clone, Debug, Default)]
pub struct ModelInfo {
    /// SHA-256 of the weights.
    pub digest: String,
    /// Its cell and sizes.
    pub description: String,
    /// Number of parameters.
    pub parameters: u64,
    /// The lines of the run's `metrics.jsonl`, for the learning curve of the page.
    pub metrics: Vec<Value>,
}

/// The models of a server, by name.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// In the order of the command line: the first one is the default.
    pub(crate) models: Vec<ServedModel>,
}

/// Starts engines with the settings of a server, so that models are loaded the same way at the start and later.
#[derive(Clone, Debug)]
pub struct Loader {
    sizes: [usize; 2],
    pub(crate) metrics: Arc<Metrics>,
}

impl Loader {
    /// A loader for a server with these settings.
    pub fn new(config: &ServerConfig) -> Self {
        Self { sizes: [config.max_slots, config.max_queue], metrics: Arc::new(Metrics::new()) }
    }

    /// Starts the decoding thread of a model.
    ///
    /// # Errors
    /// If the model is bidirectional, or the system refuses a thread.
    pub fn load<B: Recurrence>(
        &self,
        name: impl Into<String>,
        model: LanguageModel<B>,
        vocab: Vocab,
        info: ModelInfo,
    ) -> Result<ServedModel> {
        let vocab = Arc::new(vocab);
        let engine = Engine::spawn(model, vocab.clone(), self.sizes, self.metrics.clone())?;
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Ok(ServedModel { name: name.into(), vocab, engine, info, created })
    }
}

impl FromIterator<ServedModel> for Models {
    fn from_iter<I: IntoIterator<Item = ServedModel>>(models: I) -> Self {
        Self { models: models.into_iter().collect() }
    }
}

impl Models {
    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|model| model.name.as_str())
    }
}

/// Shared by all handlers.
#[derive(Debug)]
pub(crate) struct AppState {
    pub(crate) config: ServerConfig,
    pub(crate) metrics: Arc<Metrics>,
    models: RwLock<Models>,
    is_stopping: AtomicBool,
    next_id: AtomicU64,
}

impl AppState {
    pub(crate) fn new(config: ServerConfig, models: Models, metrics: Arc<Metrics>) -> Self {
        Self {
            config,
            metrics,
            models: RwLock::new(models),
            is_stopping: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
        }
    }

    /// The model of a request; without a name, the first one.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<ServedModel, ApiError> {
        if self.is_stopping() {
            return Err(ApiError::stopping());
        }
        let models = self.models();
        let found = match name {
            None => models.models.first(),
            Some(name) => models.models.iter().find(|model| model.name == name),
        };
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = models.names().collect();
            let message = format!("there is no model `{}`; this server has {}", name.unwrap_or(""), names.join(", "));
            ApiError::new(axum::http::StatusCode::NOT_FOUND, message).with_code("model_not_found")
        })
    }

    /// All models.
    pub(crate) fn models(&self) -> Models {
        self.models.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces all models. Requests that have begun keep theirs.
    pub(crate) fn replace_models(&self, models: Models) {
        *self.models.write().unwrap_or_else(PoisonError::into_inner) = models;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Refuses new requests.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// A new id, such as `cmpl-17`.
    pub(crate) fn next_id(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.next_id.fetch_add(1, Ordering::Relaxed))
    }
}
