//! The sizes of the texts of a run, with which perplexities per token become bits per character and per byte.

use rnnlm_vocab::TextSize;
use serde::{Deserialize, Serialize};

/// A number of scored tokens and the size of their text. Perplexities of different tokens, such as words and subwords, cannot
/// be compared; bits per character and bits per byte can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSize {
    /// Number of tokens.
    pub tokens: u64,
    /// Their characters, with separators such as the spaces between words.
    pub characters: u64,
    /// Their bytes in UTF-8.
    pub bytes: u64,
}

impl TokenSize {
    /// `tokens` tokens of a text of this size.
    pub fn new(tokens: u64, size: TextSize) -> Self {
        Self { tokens, characters: size.characters, bytes: size.bytes }
    }

    /// Bits per character at this perplexity per token; `None` if the text has no characters.
    pub fn bits_per_char(&self, perplexity: f64) -> Option<f64> {
        self.bits_per(self.characters, perplexity)
    }

    /// Bits per byte at this perplexity per token; `None` if the text has no bytes.
    pub fn bits_per_byte(&self, perplexity: f64) -> Option<f64> {
        self.bits_per(self.bytes, perplexity)
    }

    fn bits_per(&self, units: u64, perplexity: f64) -> Option<f64> {
        (units > 0).then(|| libm::log2(perplexity) * self.tokens as f64 / units as f64)
    }
}

/// The sizes of a run's texts, in `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSizes {
    /// The whole text.
    pub training: TokenSize,
    /// The validation set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<TokenSize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_all_tokens_divided_by_the_size() {
        // 3 tokens of 2 bits each, for 4 characters and 6 bytes
        let size = TokenSize { tokens: 3, characters: 4, bytes: 6 };
        assert_eq!((size.bits_per_char(4.0), size.bits_per_byte(4.0)), (Some(1.5), Some(1.0)));
        assert_eq!(TokenSize { characters: 0, ..size }.bits_per_char(4.0), None);
    }
}
