//! Constraints: which tokens may come next, so that the generated text matches a regular expression.
//!
//! ```text
//! expression ──→ automaton over bytes ──→ automaton over tokens ──→ distances
//!                one state per set        a token is an edge if     fewest tokens from each
//!                of positions             its bytes are             state to a match
//! ```
//!
//! A token is allowed if a match can be reached after it within the remaining tokens. The end token of documents is allowed
//! where the text matches.

mod automaton;
mod edges;

use std::sync::Arc;

use rnnlm_vocab::Vocab;

use self::automaton::ByteAutomaton;
use self::edges::{Edge, TokenBytes, UNREACHABLE};
use crate::sampler::Candidates;
use crate::{Error, Result};

/// The number of edges of an automaton over tokens, 8 bytes each, above which an expression is refused.
const MAX_EDGES: usize = 1 << 25;

/// A regular expression over the tokens of a vocabulary.
///
/// ```
/// use rnnlm_model::{Corpus, CorpusOptions, TokenRegex};
///
/// let vocab = Corpus::from_bytes(b"abcabc", &CorpusOptions::default())?.vocab;
/// let regex = TokenRegex::new("a(b|c)+", &vocab, &[])?;
/// assert_eq!(regex.min_tokens(), 2);
/// assert!(TokenRegex::new("x", &vocab, &[]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TokenRegex {
    /// The edges of each state, by ascending token id. State 0 is before the first token.
    edges: Vec<Vec<Edge>>,
    /// Whether the text matches in this state.
    accepts: Vec<bool>,
    /// The fewest tokens from each state to a match.
    distances: Vec<u32>,
    end_token: Option<u32>,
}

/// The state of a text that is to match a [`TokenRegex`].
#[derive(Clone, Debug)]
pub struct Constraint {
    regex: Arc<TokenRegex>,
    state: u32,
    /// Tokens until the limit.
    remaining: usize,
}

impl TokenRegex {
    /// The expression `pattern`, in the syntax of the crate `regex`, which the whole text has to match. The tokens `banned`
    /// are never used.
    ///
    /// # Errors
    /// [`Error::Regex`] if the syntax is invalid, if the automaton is too large, or if no sequence of tokens matches.
    pub fn new(pattern: &str, vocab: &Vocab, banned: &[u32]) -> Result<Self> {
        let error = |reason: String| Error::Regex { pattern: pattern.to_owned(), reason };
        let automaton = ByteAutomaton::new(pattern).map_err(error)?;
        let tokens = TokenBytes::new(vocab, banned)?;
        let (edges, accepts) = edges::explore(&automaton, &tokens, MAX_EDGES)
            .ok_or_else(|| error(format!("needs more than {MAX_EDGES} transitions between tokens")))?;
        let distances = edges::distances(&edges, &accepts);
        if distances[0] == UNREACHABLE {
            let num_allowed = (0..vocab.len() as u32).filter(|id| !banned.contains(id)).count();
            let reason = format!("matches no sequence of the {num_allowed} allowed `{}` tokens", vocab.kind());
            return Err(error(reason));
        }
        Ok(Self { edges, accepts, distances, end_token: vocab.end_token() })
    }

    /// The fewest tokens that match.
    pub fn min_tokens(&self) -> usize {
        self.distances[0] as usize
    }

    /// The constraint of a text of at most `max_tokens` tokens, before its first token.
    pub fn constraint(self: &Arc<Self>, max_tokens: usize) -> Constraint {
        Constraint { regex: self.clone(), state: 0, remaining: max_tokens }
    }
}

impl Constraint {
    /// Whether the text so far matches.
    pub fn is_match(&self) -> bool {
        self.regex.accepts[self.state as usize]
    }

    /// Whether the text matches and no token may follow, not even an end token.
    pub fn is_complete(&self) -> bool {
        self.is_match() && self.regex.end_token.is_none() && !self.edges().iter().any(|edge| self.fits(edge))
    }

    /// Removes the tokens that are not allowed. If no match can be reached within the remaining tokens, those are allowed
    /// after which one can be reached later.
    pub fn restrict(&self, candidates: &mut Candidates) {
        let edges = self.edges();
        let mut allowed: Vec<u32> = edges.iter().filter(|edge| self.fits(edge)).map(|edge| edge.token).collect();
        if self.is_match() {
            allowed.extend(self.regex.end_token);
        } else if allowed.is_empty() {
            let can_match = |edge: &&Edge| self.regex.distances[edge.state as usize] != UNREACHABLE;
            allowed.extend(edges.iter().filter(can_match).map(|edge| edge.token));
        }
        candidates.keep(&allowed);
    }

    /// Moves to the state after a token.
    pub fn advance(&mut self, id: u32) {
        let edges = self.edges();
        if let Ok(index) = edges.binary_search_by_key(&id, |edge| edge.token) {
            self.state = edges[index].state;
        }
        self.remaining = self.remaining.saturating_sub(1);
    }

    fn edges(&self) -> &[Edge] {
        &self.regex.edges[self.state as usize]
    }

    /// Whether a match can be reached after this token, within the remaining ones.
    fn fits(&self, edge: &Edge) -> bool {
        let distance = self.regex.distances[edge.state as usize];
        distance != UNREACHABLE && (distance as usize) < self.remaining
    }
}
