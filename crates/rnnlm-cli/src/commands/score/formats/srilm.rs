//! The output of SRILM's `ngram -ppl -debug 2`: each token given the one before it, and sums.

use rnnlm_vocab::Vocab;

use super::super::document::ScoredDocument;
use super::super::format::Format;
use super::super::sink::Sink;
use super::super::unit::Base;
use super::surface::surface;
use crate::failure::Result;

/// Prints `p( TOKEN | PREVIOUS ...) = [RNN] P [ LOG10 ]`. The context is `<s>` and the end token `</s>`, which `ppl` counts and
/// `ppl1` does not. Both leave out unknown tokens, as SRILM does.
pub(crate) struct Srilm<'a> {
    vocab: &'a Vocab,
    /// The name of the text.
    name: String,
    stats: Stats,
}

/// SRILM's `TextStats`.
#[derive(Clone, Copy, Debug, Default)]
struct Stats {
    sentences: u64,
    words: u64,
    unknown: u64,
    /// Known tokens with probability 0, which have no logarithm.
    zeros: u64,
    /// End tokens.
    ends: u64,
    log10: f64,
}

impl<'a> Srilm<'a> {
    pub(crate) fn new(vocab: &'a Vocab, name: String) -> Self {
        Self { vocab, name, stats: Stats::default() }
    }
}

impl Format for Srilm<'_> {
    fn document(&mut self, scored: &ScoredDocument, out: &mut Sink) -> Result<()> {
        let mut is_first = true;
        self.vocab.visit_document(scored.text(), |token| {
            let space = if std::mem::take(&mut is_first) { "" } else { " " };
            out.add(format_args!("{space}{}", surface(token.text)))
        })?;
        out.add(format_args!("\n"))?;
        let mut stats = Stats { sentences: 1, ..Stats::default() };
        let mut previous = "<s>".to_owned();
        scored.for_each_token(self.vocab, &mut |token| {
            let name = if token.is_end { "</s>".to_owned() } else { surface(token.text).into_owned() };
            let more = if token.index == 0 { " " } else { " ..." };
            let log10 = Base::Ten.convert(f64::from(token.log_probability));
            let is_unknown = token.is_unknown;
            stats.words += u64::from(!token.is_end);
            stats.ends += u64::from(token.is_end);
            let (kind, log10) = if is_unknown { ("OOV", f64::NEG_INFINITY) } else { ("RNN", log10) };
            match (is_unknown, log10.is_finite()) {
                (true, _) => stats.unknown += 1,
                (false, true) => stats.log10 += log10,
                (false, false) => stats.zeros += 1,
            }
            let probability = general(libm::pow(10.0, log10));
            out.add(format_args!(
                "\tp( {name} | {previous}{more}) \t= [{kind}] {probability} [ {} ]\n",
                general(log10)
            ))?;
            previous = name;
            Ok(())
        })?;
        out.add(format_args!("{}\n", stats.text()))?;
        self.stats.add(stats);
        Ok(())
    }

    fn finish(&mut self, out: &mut Sink) -> Result<()> {
        out.add(format_args!("file {}: {}", self.name, self.stats.text()))
    }
}

impl Stats {
    fn add(&mut self, other: Self) {
        self.sentences += other.sentences;
        self.words += other.words;
        self.unknown += other.unknown;
        self.zeros += other.zeros;
        self.ends += other.ends;
        self.log10 += other.log10;
    }

    fn text(&self) -> String {
        let Self { sentences, words, unknown, zeros, ends, log10 } = *self;
        let known = (words + ends).saturating_sub(unknown + zeros);
        let perplexity = |tokens: u64| match tokens {
            0 => "undefined".to_owned(),
            tokens => general(libm::pow(10.0, -log10 / tokens as f64)),
        };
        format!(
            "{sentences} sentences, {words} words, {unknown} OOVs\n{zeros} zeroprobs, logprob= {} ppl= {} ppl1= {}\n",
            general(log10),
            perplexity(known),
            perplexity(known.saturating_sub(ends))
        )
    }
}

/// A number with six significant digits, as `%g` of C and the streams of C++ print it.
fn general(value: f64) -> String {
    if !value.is_finite() {
        return format!("{value}").to_lowercase();
    }
    const DIGITS: i32 = 6;
    let scientific = format!("{value:.*e}", DIGITS as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let without_zeros = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..DIGITS).contains(&exponent) {
        return without_zeros(&format!("{value:.*}", (DIGITS - 1 - exponent) as usize));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_in_c() {
        // the output of printf '%g\n' with these numbers
        let cases = [
            (0.0, "0"),
            (-1.5, "-1.5"),
            (0.1 + 0.2, "0.3"),
            (123456.0, "123456"),
            (1234567.0, "1.23457e+06"),
            (0.0001234, "0.0001234"),
            (0.000_012_34, "1.234e-05"),
            (-20.794_415_4, "-20.7944"),
            (999_999.9, "1e+06"),
            (1e100, "1e+100"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(general(value), expected);
        }
    }
}
