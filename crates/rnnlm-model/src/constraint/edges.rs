//! The automaton over tokens: the states of a byte automaton that sequences of tokens reach.

use std::collections::{BTreeMap, VecDeque};

use rnnlm_vocab::Vocab;

use super::automaton::{ByteAutomaton, ByteState};
use crate::Result;

/// The distance of a state from which no match can be reached.
pub(super) const UNREACHABLE: u32 = u32::MAX;

/// A token that may follow in a state, and the state after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) token: u32,
    pub(super) state: u32,
}

/// The bytes of the tokens of a text.
#[derive(Debug)]
pub(super) struct TokenBytes {
    /// The first token, in the order of the bytes, so that tokens with a common beginning are adjacent.
    first: Vec<(Vec<u8>, u32)>,
    /// The later tokens with the separators before them, in the same order; `None` if there are no separators.
    later: Option<Vec<(Vec<u8>, u32)>>,
}

impl TokenBytes {
    /// All tokens except the end token and `banned`.
    pub(super) fn new(vocab: &Vocab, banned: &[u32]) -> Result<Self> {
        let (mut first, mut later, mut has_separator) = (Vec::new(), Vec::new(), false);
        for id in 0..vocab.len() as u32 {
            if Some(id) != vocab.end_token() && !banned.contains(&id) {
                let (bytes, separator) = (vocab.decode_bytes(&[id])?, vocab.separator(Some(id), id).as_bytes());
                has_separator |= !separator.is_empty();
                // a token without text would let an automaton repeat a state forever
                if !bytes.is_empty() || !separator.is_empty() {
                    later.push(([separator, &bytes].concat(), id));
                }
                if !bytes.is_empty() {
                    first.push((bytes, id));
                }
            }
        }
        first.sort_unstable();
        later.sort_unstable();
        Ok(Self { first, later: has_separator.then_some(later) })
    }

    /// The tokens that may follow in a state, with the state after each, by ascending id.
    fn follow(&self, automaton: &ByteAutomaton, state: ByteState, is_first: bool) -> Vec<(u32, ByteState)> {
        let tokens = self.later.as_ref().filter(|_| !is_first).unwrap_or(&self.first);
        let mut found = Vec::new();
        // the states after each byte of the previous token, as far as it got
        let mut states = vec![state];
        let mut previous: &[u8] = &[];
        for (bytes, id) in tokens {
            let common = bytes.iter().zip(previous).take_while(|(a, b)| a == b).count();
            let is_dead = states.len() <= common;
            states.truncate(common + 1);
            if !is_dead {
                for &byte in &bytes[common..] {
                    let Some(next) = automaton.next(states[states.len() - 1], byte) else { break };
                    states.push(next);
                }
            }
            if states.len() == bytes.len() + 1 {
                found.push((*id, states[bytes.len()]));
            }
            previous = bytes;
        }
        found.sort_unstable_by_key(|&(id, _)| id);
        found
    }
}

/// The edges of every state that tokens reach, and whether it accepts; `None` if there are more than `max_edges`.
pub(super) fn explore(
    automaton: &ByteAutomaton,
    tokens: &TokenBytes,
    max_edges: usize,
) -> Option<(Vec<Vec<Edge>>, Vec<bool>)> {
    // the first token has no separator before it, so the start is a state of its own
    let mut reached = vec![automaton.start()];
    let mut index_of: BTreeMap<ByteState, u32> = BTreeMap::new();
    let mut edges: Vec<Vec<Edge>> = Vec::new();
    let mut count = 0;
    while edges.len() < reached.len() {
        let index = edges.len();
        let following = tokens.follow(automaton, reached[index], index == 0);
        count += following.len();
        if count > max_edges {
            return None;
        }
        let edge = |(token, next): (u32, ByteState)| {
            let state = *index_of.entry(next).or_insert_with(|| {
                reached.push(next);
                reached.len() as u32 - 1
            });
            Edge { token, state }
        };
        edges.push(following.into_iter().map(edge).collect());
    }
    let accepts = reached.iter().map(|&state| automaton.accepts(state)).collect();
    Some((edges, accepts))
}

/// The fewest tokens from each state to one that accepts, by breadth-first search against the edges.
pub(super) fn distances(edges: &[Vec<Edge>], accepts: &[bool]) -> Vec<u32> {
    let mut before: Vec<Vec<u32>> = vec![Vec::new(); edges.len()];
    for (state, edges) in edges.iter().enumerate() {
        let mut next: Vec<u32> = edges.iter().map(|edge| edge.state).collect();
        next.sort_unstable();
        next.dedup();
        next.into_iter().for_each(|next| before[next as usize].push(state as u32));
    }
    let mut distances = vec![UNREACHABLE; edges.len()];
    let mut queue: VecDeque<usize> = (0..edges.len()).filter(|&state| accepts[state]).collect();
    queue.iter().for_each(|&state| distances[state] = 0);
    while let Some(state) = queue.pop_front() {
        for &previous in &before[state] {
            if distances[previous as usize] == UNREACHABLE {
                distances[previous as usize] = distances[state] + 1;
                queue.push_back(previous as usize);
            }
        }
    }
    distances
}
