//! Several filters, one after the other.

use std::fmt;
use std::str::FromStr;

use super::{
    Ban, Candidates, Filter, FrequencyPenalty, History, LogitBias, MinP, PresencePenalty, RepetitionPenalty,
    Temperature, TopK, TopP, Typical,
};
use crate::Result;

/// Filters that are applied in order. Without filters, tokens are drawn from the model's distribution.
#[derive(Debug, Default)]
pub struct Chain {
    filters: Vec<Box<dyn Filter>>,
    /// Whether the only filter is a temperature of 0.
    is_greedy: bool,
}

/// The filters whose order can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterName {
    /// [`RepetitionPenalty`].
    RepetitionPenalty,
    /// [`PresencePenalty`].
    PresencePenalty,
    /// [`FrequencyPenalty`].
    FrequencyPenalty,
    /// [`Temperature`].
    Temperature,
    /// [`TopK`].
    TopK,
    /// [`TopP`].
    TopP,
    /// [`MinP`].
    MinP,
    /// [`Typical`].
    Typical,
}

/// The settings of a chain. The default value of each has no effect.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainSettings {
    /// Of [`Temperature`]: 1.
    pub temperature: f64,
    /// Of [`RepetitionPenalty`]: 1.
    pub repetition_penalty: f64,
    /// Of [`PresencePenalty`]: 0.
    pub presence_penalty: f64,
    /// Of [`FrequencyPenalty`]: 0.
    pub frequency_penalty: f64,
    /// Of [`TopK`]: 0, which keeps all tokens.
    pub top_k: usize,
    /// Of [`TopP`]: 1.
    pub top_p: f64,
    /// Of [`MinP`]: 0.
    pub min_p: f64,
    /// Of [`Typical`]: 1.
    pub typical: f64,
    /// Of [`LogitBias`], which is first in the chain: none.
    pub logit_bias: Vec<(u32, f64)>,
    /// Of [`Ban`], which follows the bias: none.
    pub banned: Vec<u32>,
    /// The order of the other filters; those that are not named are left out.
    pub order: Vec<FilterName>,
}

impl Default for ChainSettings {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical: 1.0,
            logit_bias: Vec::new(),
            banned: Vec::new(),
            order: FilterName::DEFAULT_ORDER.to_vec(),
        }
    }
}

impl FilterName {
    /// All filters, in the order of Hugging Face's `generate`.
    pub const DEFAULT_ORDER: [Self; 8] = [
        Self::RepetitionPenalty,
        Self::PresencePenalty,
        Self::FrequencyPenalty,
        Self::Temperature,
        Self::TopK,
        Self::TopP,
        Self::MinP,
        Self::Typical,
    ];

    /// The name on the command line, such as `top-k`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RepetitionPenalty => "repetition-penalty",
            Self::PresencePenalty => "presence-penalty",
            Self::FrequencyPenalty => "frequency-penalty",
            Self::Temperature => "temperature",
            Self::TopK => "top-k",
            Self::TopP => "top-p",
            Self::MinP => "min-p",
            Self::Typical => "typical",
        }
    }
}

impl fmt::Display for FilterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FilterName {
    type Err = String;

    /// The filter with this name; `top_k` is the same as `top-k`.
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.replace('_', "-");
        Self::DEFAULT_ORDER.into_iter().find(|filter| filter.as_str() == name).ok_or_else(|| {
            let names = Self::DEFAULT_ORDER.map(Self::as_str).join(", ");
            format!("`{text}` is no filter; the filters are {names}")
        })
    }
}

impl ChainSettings {
    /// Whether the setting of a filter differs from its default.
    pub fn is_set(&self, name: FilterName) -> bool {
        match name {
            FilterName::RepetitionPenalty => self.repetition_penalty != 1.0,
            FilterName::PresencePenalty => self.presence_penalty != 0.0,
            FilterName::FrequencyPenalty => self.frequency_penalty != 0.0,
            FilterName::Temperature => self.temperature != 1.0,
            FilterName::TopK => self.top_k != 0,
            FilterName::TopP => self.top_p != 1.0,
            FilterName::MinP => self.min_p != 0.0,
            FilterName::Typical => self.typical != 1.0,
        }
    }
}

impl Chain {
    /// A chain without filters.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most probable token, and of equally probable ones the one with the smallest id: a temperature of 0.
    pub fn greedy() -> Self {
        Self { is_greedy: true, ..Self::new().with(Temperature::GREEDY) }
    }

    /// Appends a filter.
    #[must_use]
    pub fn with(mut self, filter: impl Filter + 'static) -> Self {
        self.filters.push(Box::new(filter));
        self.is_greedy = false;
        self
    }

    /// The filters whose settings have an effect: bias, bans, then the others in the order of the settings.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) or [`Error::Temperature`](crate::Error::Temperature) for an invalid value.
    pub fn from_settings(settings: &ChainSettings) -> Result<Self> {
        let mut chain = Self::new();
        if !settings.logit_bias.is_empty() {
            chain = chain.with(LogitBias::new(settings.logit_bias.clone())?);
        }
        if !settings.banned.is_empty() {
            chain = chain.with(Ban::new(settings.banned.clone()));
        }
        for &name in settings.order.iter().filter(|&&name| settings.is_set(name)) {
            chain = match name {
                FilterName::RepetitionPenalty => chain.with(RepetitionPenalty::new(settings.repetition_penalty)?),
                FilterName::PresencePenalty => chain.with(PresencePenalty::new(settings.presence_penalty)?),
                FilterName::FrequencyPenalty => chain.with(FrequencyPenalty::new(settings.frequency_penalty)?),
                FilterName::Temperature => chain.with(Temperature::new(settings.temperature)?),
                FilterName::TopK => chain.with(TopK::new(settings.top_k)?),
                FilterName::TopP => chain.with(TopP::new(settings.top_p)?),
                FilterName::MinP => chain.with(MinP::new(settings.min_p)?),
                FilterName::Typical => chain.with(Typical::new(settings.typical)?),
            };
        }
        let is_greedy = chain.filters.len() == 1 && settings.temperature == 0.0;
        Ok(if is_greedy { Self::greedy() } else { chain })
    }

    /// Whether the chain only selects the most probable token.
    pub(super) fn is_greedy(&self) -> bool {
        self.is_greedy
    }

    /// Applies all filters in order.
    pub fn apply(&self, history: &History, candidates: &mut Candidates) {
        self.filters.iter().for_each(|filter| filter.apply(history, candidates));
    }

    /// Whether a filter reads the history.
    pub fn needs_history(&self) -> bool {
        self.filters.iter().any(|filter| filter.needs_history())
    }

    /// Whether a filter [truncates](Filter::truncates).
    pub fn truncates(&self) -> bool {
        self.filters.iter().any(|filter| filter.truncates())
    }
}
