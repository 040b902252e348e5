//! How messages name the tokens of a text that are not in the vocabulary.

use std::cmp::Reverse;
use std::collections::HashMap;

use rnnlm_vocab::UnknownTokens;

use crate::human;

/// The share of unknown tokens above which the scores of a model say little about a text.
pub(crate) const MAX_UNKNOWN_SHARE: f64 = 0.05;
/// Distinct unknown tokens of many documents that are counted by name. A token that appears first after so many others is
/// not named.
const MAX_COUNTED: usize = 10_000;
/// Distinct unknown tokens that a message names.
const MAX_NAMES: usize = 8;

/// The unknown tokens of one or several texts, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnknownCounts {
    counts: HashMap<String, u64>,
    /// Whether there are tokens that are not counted by name.
    has_more: bool,
}

impl UnknownCounts {
    /// All unknown tokens of a text.
    pub(crate) fn of(unknown: &UnknownTokens) -> Self {
        let counts = unknown.distinct().iter().map(|token| (token.token.clone(), token.count)).collect();
        Self { counts, has_more: false }
    }

    /// Adds the unknown tokens of one of many documents, in bounded memory.
    pub(crate) fn add_document(&mut self, unknown: &UnknownTokens) {
        for token in unknown.distinct() {
            let is_counted = self.counts.len() < MAX_COUNTED;
            if let Some(count) = self.counts.get_mut(&token.token) {
                *count += token.count;
            } else if is_counted {
                self.counts.insert(token.token.clone(), token.count);
            } else {
                self.has_more = true;
            }
        }
    }

    /// Adds the unknown tokens of another text.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (token, count) in &other.counts {
            *self.counts.entry(token.clone()).or_default() += count;
        }
        self.has_more |= other.has_more;
    }

    /// The most frequent tokens with their counts, each as `"x" 12`, and `…` if there are more.
    pub(crate) fn most_frequent(&self) -> Vec<String> {
        self.shortened(|token, count| format!("{token:?} {}", human::thousands(count)))
    }

    /// The most frequent tokens, each as `"x"`, and `…` if there are more.
    pub(crate) fn names(&self) -> Vec<String> {
        self.shortened(|token, _| format!("{token:?}"))
    }

    fn shortened(&self, describe: impl Fn(&str, u64) -> String) -> Vec<String> {
        let mut distinct: Vec<(&str, u64)> = self.counts.iter().map(|(token, &count)| (&**token, count)).collect();
        // tokens of equal count by name, because the order of a hash map is random
        distinct.sort_by_key(|&(token, count)| (Reverse(count), token));
        let has_more = distinct.len() > MAX_NAMES || self.has_more;
        let shown = distinct.iter().take(MAX_NAMES).map(|&(token, count)| describe(token, count));
        shown.chain(has_more.then(|| "…".to_owned())).collect()
    }
}

/// The start of a message: ``3 tokens of `text.txt` (20.0 %) are not in the vocabulary``.
pub(crate) fn not_in_vocabulary(unknown: u64, all: u64, text: Option<&str>) -> String {
    let count = human::count(unknown, "token");
    let text = text.map_or_else(String::new, |text| format!(" of `{text}`"));
    let verb = if unknown == 1 { "is" } else { "are" };
    format!("{count}{text} ({}) {verb} not in the vocabulary", human::percent(unknown as usize, all as usize))
}

#[cfg(test)]
mod tests {
    use rnnlm_vocab::{Corpus, CorpusOptions, Normalization, TokenKind};

    use super::*;

    #[test]
    fn counts_are_sums_over_documents() {
        let vocab = Corpus::from_bytes(b"a", &CorpusOptions::default()).expect("a letter").vocab;
        let mut counts = UnknownCounts::default();
        for document in ["aycx", "xxz", "zz"] {
            counts.add_document(&vocab.encode(document).unknown);
        }
        assert_eq!(counts.most_frequent().join(" "), r#""x" 3 "z" 3 "c" 1 "y" 1"#);
        counts.add_document(&vocab.encode("b d e f g h i").unknown);
        assert!(counts.most_frequent().join(" ").ends_with(" …"));
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let options =
            CorpusOptions { kind: TokenKind::Word, normalization: Normalization::None, ..CorpusOptions::default() };
        let vocab = Corpus::from_bytes(b"a", &options).expect("a word").vocab;
        let mut counts = UnknownCounts::default();
        (0..2 * MAX_COUNTED).for_each(|number| counts.add_document(&vocab.encode(&number.to_string()).unknown));
        counts.add_document(&vocab.encode("0").unknown);
        assert_eq!(counts.counts.len(), MAX_COUNTED);
        assert!(
            counts.most_frequent().join(" ").starts_with("\"0\" 2 ")
                && counts.most_frequent().join(" ").ends_with(" …")
        );
    }
}
