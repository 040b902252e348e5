//! From the parameters of a request to samplers and stop conditions, with every check.

use std::sync::Arc;

use rnnlm_model::sampler::{Chain, ChainSettings};
use rnnlm_model::{Sampler, SplitMix64, StopConditions, TokenRegex};
use rnnlm_vocab::Vocab;

use super::completion_types::{CompletionRequest, Stop};
use crate::config::ServerConfig;
use crate::error::ApiError;

/// OpenAI's default.
const DEFAULT_MAX_TOKENS: u64 = 16;
/// The most alternatives of a token.
const MAX_LOGPROBS: u64 = 20;
/// The most stop texts, and the most bytes of one.
const MAX_STOPS: [usize; 2] = [16, 1024];
/// The longest regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 4096;

/// How the texts of a request are generated.
#[derive(Debug)]
pub(super) struct Plan {
    chain: Arc<Chain>,
    regex: Option<Arc<TokenRegex>>,
    seed: u64,
    banned: Option<u32>,
    pub(super) stop: StopConditions,
    pub(super) samples_per_prompt: usize,
    pub(super) logprobs: Option<usize>,
    pub(super) echo: bool,
}

impl Plan {
    /// Checks every parameter.
    pub(super) fn new(request: &CompletionRequest, vocab: &Vocab, config: &ServerConfig) -> Result<Self, ApiError> {
        let echo = request.echo.unwrap_or(false);
        let max_tokens = max_tokens(request, echo, config)?;
        let samples_per_prompt = range("n", request.n.unwrap_or(1), 1..=config.max_texts as u64)? as usize;
        if request.best_of.is_some_and(|best_of| best_of != samples_per_prompt as u64) {
            let message = "best_of is not supported; it may only have the value of n";
            return Err(ApiError::invalid("best_of", message));
        }
        if request.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
            return Err(ApiError::invalid(
                "suffix",
                "these models do not read what follows, so a suffix is not supported",
            ));
        }
        let logprobs = request.logprobs.map(|count| range("logprobs", count, 0..=MAX_LOGPROBS)).transpose()?;
        let settings = settings(request, vocab)?;
        let chain =
            Chain::from_settings(&settings).map_err(|error| ApiError::invalid("temperature", error.to_string()))?;
        let regex = request.regex.as_deref().map(|pattern| regex(pattern, vocab, max_tokens)).transpose()?;
        let end_token = vocab.end_token().filter(|_| !request.ignore_eos.unwrap_or(false));
        Ok(Self {
            chain: Arc::new(chain),
            regex,
            seed: request.seed.map_or_else(random_seed, i64::cast_unsigned),
            banned: vocab.unknown_id().filter(|_| vocab.len() > 1),
            stop: StopConditions { stop: stops(request)?, end_token, max_tokens },
            samples_per_prompt,
            logprobs: logprobs.map(|count| count as usize),
            echo,
        })
    }

    /// The sampler of a text. It depends on nothing but the seed and the numbers of prompt and sample.
    pub(super) fn sampler(&self, prompt: usize, sample: usize) -> Sampler {
        let rng = SplitMix64::of_sample(self.seed, prompt as u64, sample as u64);
        let constraint = self.regex.as_ref().map(|regex| regex.constraint(self.stop.max_tokens));
        Sampler::from_chain(self.chain.clone(), rng).without(self.banned).with_constraint(constraint)
    }
}

fn max_tokens(request: &CompletionRequest, echo: bool, config: &ServerConfig) -> Result<usize, ApiError> {
    let limit = config.max_tokens as u64;
    let max_tokens = range("max_tokens", request.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS.min(limit)), 0..=limit)?;
    if max_tokens == 0 && !echo {
        return Err(ApiError::invalid("max_tokens", "max_tokens 0 needs echo, because nothing would be returned"));
    }
    Ok(max_tokens as usize)
}

/// The settings of the chain of filters.
fn settings(request: &CompletionRequest, vocab: &Vocab) -> Result<ChainSettings, ApiError> {
    let number = |param: &'static str, value: Option<f64>, default: f64, range: std::ops::RangeInclusive<f64>| {
        let value = value.unwrap_or(default);
        if range.contains(&value) {
            return Ok(value);
        }
        let (low, high) = (range.start(), range.end());
        Err(ApiError::invalid(param, format!("{param} is {value}, it must be from {low} to {high}")))
    };
    let positive = |param: &'static str, value: Option<f64>| match value {
        Some(value) if !(value > 0.0 && value <= 1.0) => {
            Err(ApiError::invalid(param, format!("{param} is {value}, it must be above 0 and at most 1")))
        }
        value => Ok(value.unwrap_or(1.0)),
    };
    let repetition_penalty = number("repetition_penalty", request.repetition_penalty, 1.0, 0.01..=100.0)?;
    Ok(ChainSettings {
        temperature: number("temperature", request.temperature, 1.0, 0.0..=100.0)?,
        repetition_penalty,
        presence_penalty: number("presence_penalty", request.presence_penalty, 0.0, -2.0..=2.0)?,
        frequency_penalty: number("frequency_penalty", request.frequency_penalty, 0.0, -2.0..=2.0)?,
        top_k: usize::try_from(request.top_k.unwrap_or(0)).unwrap_or(usize::MAX),
        top_p: positive("top_p", request.top_p)?,
        min_p: number("min_p", request.min_p, 0.0, 0.0..=1.0)?,
        typical: positive("typical_p", request.typical_p)?,
        logit_bias: logit_bias(request, vocab)?,
        ..ChainSettings::default()
    })
}

fn logit_bias(request: &CompletionRequest, vocab: &Vocab) -> Result<Vec<(u32, f64)>, ApiError> {
    let Some(biases) = &request.logit_bias else { return Ok(Vec::new()) };
    let check = |(id, &bias): (&String, &f64)| {
        let number = id.parse::<u32>().ok().filter(|&number| (number as usize) < vocab.len());
        let Some(number) = number else {
            let message = format!("logit_bias has the id `{id}`, ids are from 0 to {}", vocab.len() - 1);
            return Err(ApiError::invalid("logit_bias", message));
        };
        if !(-100.0..=100.0).contains(&bias) {
            let message = format!("logit_bias of {id} is {bias}, it must be from -100 to 100");
            return Err(ApiError::invalid("logit_bias", message));
        }
        Ok((number, bias))
    };
    biases.iter().map(check).collect()
}

fn stops(request: &CompletionRequest) -> Result<Vec<Vec<u8>>, ApiError> {
    let [max_stops, max_bytes] = MAX_STOPS;
    let stops = match &request.stop {
        None => Vec::new(),
        Some(Stop::One(stop)) => vec![stop.clone()],
        Some(Stop::Many(stops)) => stops.clone(),
    };
    if stops.len() > max_stops || stops.iter().any(|stop| stop.len() > max_bytes) {
        let message = format!("stop may have {max_stops} texts of {max_bytes} bytes");
        return Err(ApiError::invalid("stop", message));
    }
    Ok(stops.into_iter().filter(|stop| !stop.is_empty()).map(String::into_bytes).collect())
}

fn regex(pattern: &str, vocab: &Vocab, max_tokens: usize) -> Result<Arc<TokenRegex>, ApiError> {
    if pattern.len() > MAX_REGEX_BYTES {
        let message = format!("regex has {} bytes, at most {MAX_REGEX_BYTES} are accepted", pattern.len());
        return Err(ApiError::invalid("regex", message));
    }
    let invalid = |error: rnnlm_model::Error| ApiError::invalid("regex", error.to_string());
    let regex = TokenRegex::new(pattern, vocab, vocab.unknown_id().as_slice()).map_err(invalid)?;
    if regex.min_tokens() > max_tokens {
        let message = format!("a match of regex needs {} tokens, max_tokens is {max_tokens}", regex.min_tokens());
        return Err(ApiError::invalid("regex", message));
    }
    Ok(Arc::new(regex))
}

/// A value within a range, or an error with both.
pub(super) fn range(param: &'static str, value: u64, range: std::ops::RangeInclusive<u64>) -> Result<u64, ApiError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (low, high) = (range.start(), range.end());
    Err(ApiError::invalid(param, format!("{param} is {value}, it must be from {low} to {high}")))
}

/// A seed from the system's source of randomness, which the hash maps of the standard library use.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
