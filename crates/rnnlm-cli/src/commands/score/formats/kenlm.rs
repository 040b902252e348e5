//! The output of kenlm's `query`: each token with its id and its log-probability to base 10, and sums.

use rnnlm_vocab::Vocab;

use super::super::document::ScoredDocument;
use super::super::format::Format;
use super::super::sink::Sink;
use super::super::unit::Base;
use super::surface::surface;
use crate::failure::Result;

/// Prints `TOKEN=ID 0 LOG10`, where 0 is in place of the length of the n-gram that kenlm matched. The end token is `</s>`, and
/// it counts as a token.
pub(crate) struct Kenlm<'a> {
    vocab: &'a Vocab,
    total: f64,
    total_of_unknown: f64,
    tokens: u64,
    /// Unknown tokens, scored or not.
    unknown: u64,
    scored_unknown: u64,
}

impl<'a> Kenlm<'a> {
    pub(crate) fn new(vocab: &'a Vocab) -> Self {
        Self { vocab, total: 0.0, total_of_unknown: 0.0, tokens: 0, unknown: 0, scored_unknown: 0 }
    }
}

impl Format for Kenlm<'_> {
    fn document(&mut self, scored: &ScoredDocument, out: &mut Sink) -> Result<()> {
        scored.for_each_token(self.vocab, &mut |token| {
            let log10 = Base::Ten.convert(f64::from(token.log_probability));
            let name = if token.is_end { "</s>".into() } else { surface(token.text) };
            self.tokens += 1;
            if token.is_unknown {
                self.total_of_unknown += log10;
                self.scored_unknown += 1;
            }
            // kenlm prints as many digits as a number of single precision has
            out.add(format_args!("{name}={} 0 {}\t", token.id, log10 as f32))
        })?;
        let total = Base::Ten.convert(scored.scores.log_probability);
        self.total += total;
        let unknown = scored.document.unknown.count() as u64;
        self.unknown += unknown;
        out.add(format_args!("Total: {} OOV: {unknown}\n", total as f32))
    }

    fn finish(&mut self, out: &mut Sink) -> Result<()> {
        let perplexity = |total: f64, tokens: u64| libm::pow(10.0, -(total / tokens as f64));
        out.add(format_args!(
            "Perplexity including OOVs:\t{}\nPerplexity excluding OOVs:\t{}\nOOVs:\t{}\nTokens:\t{}\n",
            perplexity(self.total, self.tokens),
            perplexity(self.total - self.total_of_unknown, self.tokens - self.scored_unknown),
            self.unknown,
            self.tokens
        ))
    }
}
