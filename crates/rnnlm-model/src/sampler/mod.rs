//! Choosing the next token: a chain of filters changes the logits, then a token is drawn from their softmax.
//!
//! ```text
//! logits → bias, bans → penalties → temperature → top-k → top-p → min-p → typical → softmax → draw
//! ```
//!
//! This is the order of Hugging Face's `generate`, and each [`Filter`] computes what its logits processor of the same name
//! computes. Where two tokens are equal, the one with the smaller id is kept. All arithmetic is in double precision with
//! `exp` and `ln` of the crate `libm`, so the same seed gives the same tokens on every platform.
//!
//! ```
//! use rnnlm_model::SplitMix64;
//! use rnnlm_model::sampler::{Chain, ChainSettings, Sampler, Temperature, TopK};
//!
//! // from settings, in the default order
//! let settings = ChainSettings { temperature: 0.8, top_p: 0.9, ..ChainSettings::default() };
//! let mut sampler = Sampler::from_chain(Chain::from_settings(&settings)?, SplitMix64::new(0));
//! assert!(sampler.choose(&[1.0, 3.0, 2.0])? < 3);
//!
//! // filter by filter
//! let chain = Chain::new().with(TopK::new(2)?).with(Temperature::new(1.0)?);
//! let mut sampler = Sampler::from_chain(chain, SplitMix64::new(0));
//! let probabilities = sampler.distribution(&[0.0, 9.0, 9.0]);
//! assert_eq!(probabilities, [0.0, 0.5, 0.5]);
//! # Ok::<(), rnnlm_model::Error>(())
//! ```

mod bias;
mod candidates;
mod chain;
mod filter;
mod history;
mod log_probabilities;
mod penalties;
mod sample;
mod temperature;
mod truncation;
mod typical;

pub use bias::{Ban, LogitBias};
pub use candidates::Candidates;
pub use chain::{Chain, ChainSettings, FilterName};
pub use filter::Filter;
pub use history::{History, Occurrences};
pub use log_probabilities::LogProbabilities;
pub use penalties::{FrequencyPenalty, PresencePenalty, RepetitionPenalty};
pub use sample::Sampler;
pub use temperature::Temperature;
pub use truncation::{MinP, TopK, TopP};
pub use typical::Typical;
