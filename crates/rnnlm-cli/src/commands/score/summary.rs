//! Sums over all documents: the summary on standard error, and the warning of unknown tokens.

use rnnlm_model::Evaluation;

use super::document::ScoredDocument;
use super::unit::Counts;
use crate::human;
use crate::unknown_tokens::{MAX_UNKNOWN_SHARE, UnknownCounts, not_in_vocabulary};

/// Sums over documents.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) documents: u64,
    /// Unknown tokens, scored or not.
    pub(super) unknown: u64,
    all: Sums,
    known: Sums,
    names: UnknownCounts,
}

/// The sums of some tokens.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    counts: Counts,
    /// The sum of the log-probabilities.
    nats: f64,
}

impl Sums {
    fn add(&mut self, counts: &Counts, nats: f64) {
        self.counts.tokens += counts.tokens;
        self.counts.size += counts.size;
        self.nats += nats;
    }

    fn evaluation(&self) -> Evaluation {
        Evaluation { tokens: self.counts.tokens as usize, nats: 0.0 - self.nats }
    }

    /// The perplexity and the bits per character, as text.
    fn text(&self) -> [String; 2] {
        let evaluation = self.evaluation();
        let bits = evaluation.bits_per(self.counts.size.characters);
        [human::perplexity(evaluation.perplexity()), format!("{bits:.4}")]
    }
}

impl Summary {
    pub(super) fn add(&mut self, scored: &ScoredDocument) {
        let (document, scores) = (&scored.document, &scored.scores);
        self.documents += 1;
        self.unknown += document.unknown.count() as u64;
        self.all.add(&document.counts, scores.log_probability);
        self.known.add(&document.known, scores.known_log_probability);
        self.names.add_document(&document.unknown);
    }

    /// Number of scored tokens.
    pub(super) fn tokens(&self) -> u64 {
        self.all.counts.tokens
    }

    /// `2 documents, 12 tokens, perplexity 5.123, 1.2345 bits per char`, and the same without unknown tokens.
    pub(super) fn text(&self) -> String {
        let counts = [human::count(self.documents, "document"), human::count(self.tokens(), "token")].join(", ");
        if self.tokens() == 0 {
            return counts;
        }
        let [perplexity, bits] = self.all.text();
        let without = |value: &str| {
            let is_scored = self.known.counts.tokens > 0 && self.known.counts.tokens < self.tokens();
            if is_scored { format!(" ({value} without unknown tokens)") } else { String::new() }
        };
        let [known_perplexity, known_bits] = self.known.text();
        let unknown = match self.unknown {
            0 => String::new(),
            unknown => format!(", {} unknown ({})", human::thousands(unknown), self.percent_unknown()),
        };
        format!(
            "{counts}{unknown}, perplexity {perplexity}{}, {bits} bits per char{}",
            without(&known_perplexity),
            without(&known_bits)
        )
    }

    /// Unknown tokens as a percentage of all tokens of the documents.
    fn percent_unknown(&self) -> String {
        human::percent(self.unknown as usize, (self.known.counts.tokens + self.unknown) as usize)
    }

    /// A warning if there are many unknown tokens.
    pub(super) fn warning(&self) -> Option<String> {
        let all = self.known.counts.tokens + self.unknown;
        let is_many = self.unknown as f64 > MAX_UNKNOWN_SHARE * all as f64;
        is_many.then(|| {
            let names = self.names.most_frequent().join(" ");
            format!("warning: {}: {names}", not_in_vocabulary(self.unknown, all, None))
        })
    }
}
