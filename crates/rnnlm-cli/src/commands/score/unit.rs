//! The unit of a score: the base of the logarithm, and what the score is divided by.

use std::f64::consts::{LN_2, LN_10};

use clap::ValueEnum;
use rnnlm_vocab::TextSize;

/// The value of `--base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Base {
    /// Natural logarithms: nats.
    E,
    /// Logarithms to base 2: bits.
    #[value(name = "2")]
    Two,
    /// Logarithms to base 10.
    #[value(name = "10")]
    Ten,
}

/// The value of `--normalize-by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum NormalizeBy {
    /// The sum over the document.
    None,
    /// The mean over the scored tokens.
    Token,
    /// Divided by the number of characters.
    Char,
    /// Divided by the number of bytes.
    Byte,
}

/// What a score is divided by: the scored tokens of a document with their size in the text, the end token included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) tokens: u64,
    pub(super) size: TextSize,
}

/// The unit of a log-probability or a surprisal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) base: Base,
    pub(super) normalize_by: NormalizeBy,
}

impl Base {
    /// The natural logarithm of the base.
    fn ln(self) -> f64 {
        match self {
            Self::E => 1.0,
            Self::Two => LN_2,
            Self::Ten => LN_10,
        }
    }

    /// A natural logarithm in this base.
    pub(super) fn convert(self, nats: f64) -> f64 {
        // dividing by 1 changes no bit
        nats / self.ln()
    }

    /// The name of a column with logarithms in this base.
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::E => "logprob_e",
            Self::Two => "logprob_2",
            Self::Ten => "logprob_10",
        }
    }

    /// The base of a column with this name.
    pub(super) fn of_column(name: &str) -> Option<Self> {
        [Self::E, Self::Two, Self::Ten].into_iter().find(|base| base.column() == name)
    }

    /// A logarithm in this base as a natural one.
    pub(super) fn to_nats(self, logarithm: f64) -> f64 {
        logarithm * self.ln()
    }
}

impl Unit {
    /// Bits per character.
    pub(super) const BITS_PER_CHAR: Self = Self { base: Base::Two, normalize_by: NormalizeBy::Char };
    /// Bits per byte.
    pub(super) const BITS_PER_BYTE: Self = Self { base: Base::Two, normalize_by: NormalizeBy::Byte };

    /// A log-probability in this unit; not a number if there is nothing to divide by.
    pub(super) fn convert(self, nats: f64, counts: &Counts) -> f64 {
        let value = self.base.convert(nats);
        match self.normalize_by {
            NormalizeBy::None => value,
            NormalizeBy::Token => value / counts.tokens as f64,
            NormalizeBy::Char => value / counts.size.characters as f64,
            NormalizeBy::Byte => value / counts.size.bytes as f64,
        }
    }

    /// The surprisal in this unit: the negative log-probability.
    pub(super) fn surprisal(self, nats: f64, counts: &Counts) -> f64 {
        // not a negation, which would turn 0 into −0
        self.convert(0.0 - nats, counts)
    }

    /// The name of a column with log-probabilities in this unit: `logprob_e`, `logprob_10_per_token`.
    pub(super) fn column(self) -> String {
        let per = match self.normalize_by {
            NormalizeBy::None => "",
            NormalizeBy::Token => "_per_token",
            NormalizeBy::Char => "_per_char",
            NormalizeBy::Byte => "_per_byte",
        };
        format!("{}{per}", self.base.column())
    }

    /// The unit of a surprisal in words: `bits per char`.
    pub(super) fn words(self) -> String {
        let base = match self.base {
            Base::E => "nats",
            Base::Two => "bits",
            Base::Ten => "hartleys",
        };
        let per = match self.normalize_by {
            NormalizeBy::None => "",
            NormalizeBy::Token => " per token",
            NormalizeBy::Char => " per char",
            NormalizeBy::Byte => " per byte",
        };
        format!("{base}{per}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_converted_and_divided() {
        let counts = Counts { tokens: 4, size: TextSize { characters: 8, bytes: 16 } };
        let nats = -8.0 * LN_2;
        let unit = |base, normalize_by| Unit { base, normalize_by };
        assert_eq!(unit(Base::E, NormalizeBy::None).convert(nats, &counts), nats);
        assert_eq!(unit(Base::Two, NormalizeBy::None).convert(nats, &counts), -8.0);
        assert_eq!(unit(Base::Two, NormalizeBy::Token).convert(nats, &counts), -2.0);
        assert_eq!(Unit::BITS_PER_CHAR.surprisal(nats, &counts), 1.0);
        assert_eq!(Unit::BITS_PER_BYTE.surprisal(nats, &counts), 0.5);
        assert!((unit(Base::Ten, NormalizeBy::None).convert(-LN_10, &counts) + 1.0).abs() < 1e-15);
        assert_eq!(unit(Base::Ten, NormalizeBy::Token).column(), "logprob_10_per_token");
        assert_eq!(Unit::BITS_PER_CHAR.words(), "bits per char");
        assert!(Unit::BITS_PER_CHAR.surprisal(0.0, &Counts::default()).is_nan());
        assert_eq!(Unit { base: Base::E, normalize_by: NormalizeBy::None }.surprisal(0.0, &counts).to_string(), "0");
    }
}
