//! The tokens that penalties count.

use std::collections::BTreeMap;

/// The tokens of the current document or stream that were read or generated so far, with their counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    counts: BTreeMap<u32, Occurrences>,
}

/// How often a token occurs in a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occurrences {
    /// In the prefix.
    pub prefix: u32,
    /// Among the generated tokens.
    pub generated: u32,
}

impl History {
    /// Adds a token of the prefix.
    pub fn push_prefix(&mut self, id: u32) {
        self.counts.entry(id).or_default().prefix += 1;
    }

    /// Adds a generated token.
    pub fn push_generated(&mut self, id: u32) {
        self.counts.entry(id).or_default().generated += 1;
    }

    /// Removes all tokens.
    pub fn clear(&mut self) {
        self.counts.clear();
    }

    /// The tokens with their counts, in id order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Occurrences)> + '_ {
        self.counts.iter().map(|(&id, &occurrences)| (id, occurrences))
    }
}
