//! Stage 2, the vocabulary: the ids of raw tokens.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// A map from raw tokens to ids.
///
/// One-byte tokens, the great majority in texts of characters or bytes, are looked up in a table. Tokens of up to 15 bytes,
/// such as most words, are stored in the entries of a hash table, so that a lookup reads one cache line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    one_byte: Box<[Option<u32>; 256]>,
    short: HashMap<Short, u32, RandomState>,
    long: HashMap<Box<[u8]>, u32, RandomState>,
}

/// Up to 15 bytes, padded with zeros to 15, and their number in the last byte.
type Short = [u64; 2];

/// The largest number of bytes of a [`Short`].
const MAX_SHORT: usize = 15;

impl Default for Index {
    fn default() -> Self {
        Self { one_byte: Box::new([None; 256]), short: HashMap::default(), long: HashMap::default() }
    }
}

impl Index {
    #[inline]
    pub(crate) fn get(&self, raw: &[u8]) -> Option<u32> {
        match raw {
            [byte] => self.one_byte[usize::from(*byte)],
            _ => self.get_of_several(raw),
        }
    }

    fn get_of_several(&self, raw: &[u8]) -> Option<u32> {
        match short(raw) {
            Some(short) => self.short.get(&short).copied(),
            None => self.long.get(raw).copied(),
        }
    }

    /// Removes a token of several bytes.
    pub(crate) fn remove(&mut self, raw: &[u8]) {
        match short(raw) {
            Some(short) => self.short.remove(&short),
            None => self.long.remove(raw),
        };
    }

    /// Maps `raw` to `id`. If `raw` has an id already, leaves it unchanged and returns it.
    pub(crate) fn insert(&mut self, raw: &[u8], id: u32) -> Option<u32> {
        let existing = self.get(raw);
        if existing.is_none() {
            match (raw, short(raw)) {
                ([byte], _) => self.one_byte[usize::from(*byte)] = Some(id),
                (_, Some(short)) => drop(self.short.insert(short, id)),
                (_, None) => drop(self.long.insert(raw.into(), id)),
            }
        }
        existing
    }
}

/// The bytes of a token, if they are few.
#[inline]
fn short(raw: &[u8]) -> Option<Short> {
    let len = raw.len();
    if len > MAX_SHORT {
        return None;
    }
    // two reads of a fixed length, which can overlap, are faster than a copy of a variable length
    let [low, high] = match (raw.first_chunk(), raw.last_chunk()) {
        (Some(&first), Some(&last)) => {
            let last = u64::from_le_bytes(last).checked_shr(8 * (16 - len as u32)).unwrap_or(0);
            [u64::from_le_bytes(first), last]
        }
        _ => match (raw.first_chunk(), raw.last_chunk()) {
            (Some(&first), Some(&last)) => {
                let last = u64::from(u32::from_le_bytes(last)) << (8 * (len - 4));
                [u64::from(u32::from_le_bytes(first)) | last, 0]
            }
            _ => [raw.iter().rev().fold(0, |low, &byte| low << 8 | u64::from(byte)), 0],
        },
    };
    Some([low, high | (len as u64) << 56])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tokens_are_their_bytes_and_their_length() {
        let bytes: Vec<u8> = (1..=20).collect();
        for len in 0..=20 {
            let mut expected = [0; 16];
            let Some(found) = short(&bytes[..len]) else {
                assert!(len > 15);
                continue;
            };
            expected[..len].copy_from_slice(&bytes[..len]);
            expected[15] = len as u8;
            assert_eq!(found.map(u64::to_le_bytes).concat(), expected, "{len}");
        }
    }

    #[test]
    fn tokens_of_every_length_are_found() {
        let tokens: Vec<Vec<u8>> = (0..40).flat_map(|len| [vec![0; len], vec![b'a'; len]]).skip(1).collect();
        let mut index = Index::default();
        for (id, token) in tokens.iter().enumerate() {
            assert_eq!(index.insert(token, id as u32), None);
        }
        for (id, token) in tokens.iter().enumerate() {
            assert_eq!((index.get(token), index.insert(token, 1000)), (Some(id as u32), Some(id as u32)));
        }
        for token in tokens.iter().filter(|token| token.len() != 1) {
            index.remove(token);
            assert_eq!(index.get(token), None);
        }
    }
}
