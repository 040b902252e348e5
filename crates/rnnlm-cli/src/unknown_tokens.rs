//! The most frequent unknown tokens of many documents, in bounded memory.

use std::cmp::Reverse;
use std::collections::HashMap;

use rnnlm_vocab::UnknownTokens;

/// The share of unknown tokens above which the scores of a model say little about a text.
pub(crate) const MAX_UNKNOWN_SHARE: f64 = 0.05;
/// Distinct unknown tokens that are counted by name. A token that appears first after so many others is not named.
const MAX_COUNTED: usize = 10_000;
/// Distinct unknown tokens that a message names.
const MAX_NAMES: usize = 8;

/// The unknown tokens of many documents.
#[derive(Debug, Default)]
pub(crate) struct UnknownCounts {
    counts: HashMap<String, u64>,
    /// Whether there are tokens that are not counted by name.
    has_more: bool,
}

impl UnknownCounts {
    /// Adds the unknown tokens of a document.
    pub(crate) fn add(&mut self, unknown: &UnknownTokens) {
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

    /// The most frequent tokens with their counts: `"x" 12 "y" 3 …`.
    pub(crate) fn most_frequent(&self) -> String {
        let mut distinct: Vec<(&String, u64)> = self.counts.iter().map(|(token, &count)| (token, count)).collect();
        // tokens of equal count by name, because the order of a hash map is random
        distinct.sort_by_key(|&(token, count)| (Reverse(count), token));
        let names = distinct.iter().take(MAX_NAMES).map(|(token, count)| format!("{token:?} {count}"));
        let more = if distinct.len() > MAX_NAMES || self.has_more { " …" } else { "" };
        format!("{}{more}", names.collect::<Vec<_>>().join(" "))
    }
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
            counts.add(&vocab.encode(document).unknown);
        }
        assert_eq!(counts.most_frequent(), r#""x" 3 "z" 3 "c" 1 "y" 1"#);
        counts.add(&vocab.encode("b d e f g h i").unknown);
        assert!(counts.most_frequent().ends_with(" …"));
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let options =
            CorpusOptions { kind: TokenKind::Word, normalization: Normalization::None, ..CorpusOptions::default() };
        let vocab = Corpus::from_bytes(b"a", &options).expect("a word").vocab;
        let mut counts = UnknownCounts::default();
        (0..2 * MAX_COUNTED).for_each(|number| counts.add(&vocab.encode(&number.to_string()).unknown));
        counts.add(&vocab.encode("0").unknown);
        assert_eq!(counts.counts.len(), MAX_COUNTED);
        assert!(counts.most_frequent().starts_with("\"0\" 2 ") && counts.most_frequent().ends_with(" …"));
    }
}
