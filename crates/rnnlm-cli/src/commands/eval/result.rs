//! The result of an evaluation: perplexity and bits with and without unknown tokens, and its confidence interval.

use rnnlm_model::{Evaluation, NonFinite, TokenScore};
use rnnlm_vocab::TextSize;
use serde_json::{Value, json};

use crate::failure::Result;
use crate::human;
use crate::prefix::Unknown;
use crate::text::Text;
use crate::unknown_tokens::UnknownCounts;

/// The quantile of the normal distribution for an interval of 95 %.
const NORMAL_97_5: f64 = 1.959_963_984_540_054;

/// The score of one or several texts.
#[derive(Clone, Debug, Default)]
pub(super) struct EvalResult {
    all: Evaluation,
    /// Without unknown tokens.
    known: Evaluation,
    /// The size of the scored text, and without unknown tokens.
    size: TextSize,
    known_size: TextSize,
    /// Unknown tokens of the text, scored or not, and their names.
    unknown: usize,
    unknown_counts: UnknownCounts,
    /// The id of unknown tokens.
    unknown_id: Option<u32>,
    /// The score of each document; empty for a stream.
    documents: Vec<Evaluation>,
}

impl EvalResult {
    /// No score yet of a text.
    pub(super) fn new(text: &Text, unknown: Unknown) -> Result<Self> {
        let (corpus, ids) = (&text.corpus, text.ids());
        let num_documents = text.all().num_documents();
        // the first token of a stream has no prediction
        let first = usize::from(num_documents == 0);
        let [size, known_size] = corpus.text_sizes(ids, first..ids.len())?;
        Ok(Self {
            size: if unknown == Unknown::Skip { known_size } else { size },
            known_size,
            unknown: corpus.unknown.count(),
            unknown_id: corpus.vocab.unknown_id(),
            unknown_counts: UnknownCounts::of(&corpus.unknown),
            documents: vec![Evaluation::default(); num_documents],
            ..Self::default()
        })
    }

    /// Adds the next token of a document.
    pub(super) fn add(&mut self, document: usize, score: TokenScore) {
        self.all.add(score.log_probability);
        if Some(score.id) != self.unknown_id {
            self.known.add(score.log_probability);
        }
        if let Some(document) = self.documents.get_mut(document) {
            document.add(score.log_probability);
        }
    }

    /// Sets the score of the whole text, if its tokens are not scored one by one.
    pub(super) fn add_total(&mut self, evaluation: Evaluation) {
        self.all = evaluation;
    }

    /// Adds the result of another text.
    pub(super) fn merge(&mut self, other: &Self) {
        for (own, other) in [(&mut self.all, other.all), (&mut self.known, other.known)] {
            own.tokens += other.tokens;
            own.nats += other.nats;
        }
        self.size += other.size;
        self.known_size += other.known_size;
        self.unknown += other.unknown;
        self.unknown_counts.merge(&other.unknown_counts);
        self.documents.extend_from_slice(&other.documents);
    }

    pub(super) fn perplexity(&self) -> f64 {
        self.all.perplexity()
    }

    /// The 95 % confidence interval of the perplexity, if there are at least two documents.
    ///
    /// The nats per token are a ratio of two sums over documents. Its variance is that of the residuals
    /// `nats − ratio · tokens` of the documents, by linearization (Cochran, *Sampling Techniques*, 6.4).
    fn interval(&self) -> Option<[f64; 2]> {
        let n = self.documents.len() as f64;
        if n < 2.0 {
            return None;
        }
        let ratio = self.all.nats_per_token();
        let residual = |document: &Evaluation| document.nats - ratio * document.tokens as f64;
        let squares: f64 = self.documents.iter().map(|document| residual(document).powi(2)).sum();
        let deviation = (squares * n / (n - 1.0)).sqrt() / self.all.tokens as f64;
        let bound = |sign: f64| libm::exp(ratio + sign * NORMAL_97_5 * deviation);
        Some([bound(-1.0), bound(1.0)])
    }

    pub(super) fn to_json(&self) -> Value {
        let Self { all, known, size, known_size, .. } = self;
        json!({
            "perplexity": all.perplexity(),
            "perplexity_reason": NonFinite::of(all.perplexity()),
            "perplexity_interval": self.interval(),
            "nats": all.nats,
            "nats_per_token": all.nats_per_token(),
            "bits_per_char": all.bits_per(size.characters),
            "bits_per_byte": all.bits_per(size.bytes),
            "tokens": all.tokens,
            "documents": (!self.documents.is_empty()).then_some(self.documents.len()),
            "unknown_tokens": self.unknown,
            "most_frequent_unknown": self.unknown_counts.most_frequent(),
            "known": (known.tokens > 0).then(|| json!({
                "tokens": known.tokens,
                "perplexity": known.perplexity(),
                "nats": known.nats,
                "bits_per_char": known.bits_per(known_size.characters),
                "bits_per_byte": known.bits_per(known_size.bytes),
            })),
        })
    }

    pub(super) fn to_text(&self) -> String {
        let Self { all, known, size, known_size, unknown, .. } = self;
        let mut lines = vec![
            format!("perplexity      {}", human::perplexity(all.perplexity())),
            format!("nats per token  {:.4}", all.nats_per_token()),
            format!("nats            {:.2}", all.nats),
            format!("bits per char   {:.4}", all.bits_per(size.characters)),
            format!("bits per byte   {:.4}", all.bits_per(size.bytes)),
            format!(
                "tokens          {} scored, {} unknown",
                human::thousands(all.tokens as u64),
                human::thousands(*unknown as u64)
            ),
        ];
        if let Some([low, high]) = self.interval() {
            let documents = human::count(self.documents.len() as u64, "document");
            let (low, high) = (human::perplexity(low), human::perplexity(high));
            lines.insert(1, format!("95 % interval   {low} to {high}, over {documents}"));
        }
        if *unknown > 0 {
            lines.push(format!("unknown         {}", self.unknown_counts.most_frequent().join(" ")));
            if known.tokens > 0 {
                lines.push(format!(
                    "without them    perplexity {}, {:.4} bits per char",
                    human::perplexity(known.perplexity()),
                    known.bits_per(known_size.characters)
                ));
            }
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_a_ratio_of_sums() {
        // nats 2, 4, 9 of 1, 2, 3 tokens: ratio 2.5, residuals −0.5, −1, 1.5, their squares 3.5
        let documents = [(1, 2.0), (2, 4.0), (3, 9.0)].map(|(tokens, nats)| Evaluation { tokens, nats });
        let all = Evaluation { tokens: 6, nats: 15.0 };
        let result = EvalResult { all, documents: documents.to_vec(), ..EvalResult::default() };
        let deviation = (3.5_f64 * 3.0 / 2.0).sqrt() / 6.0;
        let expected = [-1.0, 1.0].map(|sign| (2.5 + sign * 1.96 * deviation).exp());
        let found = result.interval().expect("three documents");
        // 1.96 is rounded
        assert!(found.iter().zip(expected).all(|(found, expected)| (found / expected - 1.0).abs() < 1e-4), "{found:?}");
        assert_eq!(EvalResult { documents: vec![all], ..result }.interval(), None);
    }
}
