//! Stage 2, the vocabulary: the ids of raw tokens.

use std::collections::HashMap;

/// A map from raw tokens to ids. One-byte tokens, the great majority in texts of characters or bytes, are looked up in a
/// table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    one_byte: Box<[Option<u32>; 256]>,
    longer: HashMap<Box<[u8]>, u32>,
}

impl Default for Index {
    fn default() -> Self {
        Self { one_byte: Box::new([None; 256]), longer: HashMap::new() }
    }
}

impl Index {
    pub(crate) fn get(&self, raw: &[u8]) -> Option<u32> {
        match raw {
            [byte] => self.one_byte[usize::from(*byte)],
            _ => self.longer.get(raw).copied(),
        }
    }

    /// Removes a token of several bytes.
    pub(crate) fn remove(&mut self, raw: &[u8]) {
        self.longer.remove(raw);
    }

    /// Maps `raw` to `id`. If `raw` has an id already, leaves it unchanged and returns it.
    pub(crate) fn insert(&mut self, raw: &[u8], id: u32) -> Option<u32> {
        let existing = self.get(raw);
        if existing.is_none() {
            match raw {
                [byte] => self.one_byte[usize::from(*byte)] = Some(id),
                _ => {
                    self.longer.insert(raw.into(), id);
                }
            }
        }
        existing
    }
}
