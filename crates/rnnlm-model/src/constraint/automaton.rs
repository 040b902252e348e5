//! A deterministic automaton over the bytes of a text.

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind};

/// The memory of the automaton, and of building it, in bytes.
const MAX_BYTES: usize = 1 << 26;

/// A state in which the bytes so far can still be continued to a match.
pub(super) type ByteState = StateID;

/// The automaton of an expression that has to match a whole text.
#[derive(Debug)]
pub(super) struct ByteAutomaton {
    dfa: dense::DFA<Vec<u32>>,
    start: ByteState,
}

impl ByteAutomaton {
    /// The automaton of an expression, or the reason why there is none.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            // all alternatives count, not only the first one that matches
            .match_kind(MatchKind::All)
            .dfa_size_limit(Some(MAX_BYTES))
            .determinize_size_limit(Some(MAX_BYTES));
        let dfa = dense::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new().utf8(false))
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_BYTES)))
            .build(pattern)
            .map_err(|error| format!("cannot be used: {}", causes(&error)))?;
        let start = dfa.start_state(&start::Config::new().anchored(Anchored::Yes));
        let start = start.map_err(|error| format!("cannot be used: {error}"))?;
        Ok(Self { dfa, start })
    }

    /// The state before the first byte.
    pub(super) fn start(&self) -> ByteState {
        self.start
    }

    /// The state after another byte; `None` if no match can follow.
    pub(super) fn next(&self, state: ByteState, byte: u8) -> Option<ByteState> {
        let next = self.dfa.next_state(state, byte);
        (!self.dfa.is_dead_state(next) && !self.dfa.is_quit_state(next)).then_some(next)
    }

    /// Whether a text that ends in this state matches.
    pub(super) fn accepts(&self, state: ByteState) -> bool {
        self.dfa.is_match_state(self.dfa.next_eoi_state(state))
    }
}

/// An error and what caused it, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    // a message of the parser shows the position below the expression; its last line is the reason
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &[u8]) -> bool {
        let automaton = ByteAutomaton::new(pattern).unwrap();
        let state = text.iter().try_fold(automaton.start(), |state, &byte| automaton.next(state, byte));
        state.is_some_and(|state| automaton.accepts(state))
    }

    #[test]
    fn a_text_is_accepted_if_all_of_it_matches() {
        assert!(matches("a|ab", b"a") && matches("a|ab", b"ab") && !matches("a|ab", b"abb"));
        assert!(matches("ab*?", b"abbb") && matches("^a+$", b"aa") && !matches("a", b"ba"));
        assert!(matches("", b"") && !matches("", b"a"));
        assert!(matches(r"\w+", "naïve".as_bytes()) && !matches(r"\w+", b"na\xefve"));
        assert!(matches(r"(?-u)[\xe0-\xff]", b"\xef"));
        assert!(matches(r"(?x) a b # a comment", b"ab"));
    }

    #[test]
    fn an_invalid_or_huge_expression_has_a_reason() {
        assert_eq!(ByteAutomaton::new("a(b").unwrap_err(), "cannot be used: unclosed group");
        let huge = ByteAutomaton::new(r"(\w{1000}){1000}").unwrap_err();
        assert!(huge.contains("limit"), "{huge}");
    }
}
