//! Inputs for the readers: arbitrary bytes, or a valid file with a few edits.

use proptest::prelude::*;

use crate::digest;

/// Text with a meaning in one of the formats.
const TOKENS: [&str; 30] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "0",
    "1",
    "2",
    "1e999",
    "1.5",
    "NaN",
    "18446744073709551615",
    "99999999999999999999",
    "4294967296",
    "1099511627776",
    "\"lstm\"",
    "<unk>",
    "\n",
    "\u{feff}",
    "\u{0}",
    "é",
    "[[[[[[[[",
    "\"shape\":[4611686018427387904,4]",
    "\"data_offsets\":[0,18446744073709551615]",
];

/// A change to a file.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Overwrite(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    /// Replaces the n-th number: a size, an offset, a version.
    Number(usize, &'static str),
    /// Replaces the first eight bytes, the length of a header.
    Length(u64),
}

/// The content of a file.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Bytes(Vec<u8>),
    Edited { edits: Vec<Edit>, valid_digest: bool },
}

impl Input {
    /// The bytes; `valid` is the file that is edited.
    pub(crate) fn bytes(&self, valid: &[u8]) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Edited { edits, valid_digest } => {
                let mut bytes = valid.to_vec();
                edits.iter().for_each(|edit| edit.apply(&mut bytes));
                if *valid_digest {
                    digest::update(&mut bytes);
                }
                bytes
            }
        }
    }
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let end = bytes.len();
        match self {
            Self::Overwrite(at, piece) => {
                let at = (*at).min(end);
                let until = (at + piece.len()).min(end);
                bytes.splice(at..until, piece.iter().copied());
            }
            Self::Insert(at, piece) => {
                let at = (*at).min(end);
                bytes.splice(at..at, piece.iter().copied());
            }
            Self::Remove(at, length) => {
                let at = (*at).min(end);
                bytes.drain(at..(at + length).min(end));
            }
            Self::Number(nth, value) => {
                let range = numbers(bytes).nth(*nth);
                if let Some(range) = range {
                    bytes.splice(range, value.bytes());
                }
            }
            Self::Length(length) => {
                let count = end.min(8);
                bytes[..count].copy_from_slice(&length.to_le_bytes()[..count]);
            }
        }
    }
}

/// The ranges of numbers after a `:`, `[`, `,` or space.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let starts = (1..bytes.len()).filter(|&at| bytes[at].is_ascii_digit() && b":[, ".contains(&bytes[at - 1]));
    starts.map(|at| at..at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// The file with another value of a numeric setting, and with a valid digest and header length.
pub(crate) fn with_number(valid: &[u8], field: &str, value: u64) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    let range = numbers(&bytes).find(|range| {
        let before = bytes[..range.start].iter().rev().skip_while(|byte| b" :\\\"".contains(byte));
        before.zip(field.bytes().rev()).filter(|(a, b)| **a == *b).count() == field.len()
    });
    let Some(range) = range else { return bytes };
    let digits = value.to_string();
    let grown = digits.len() as i64 - range.len() as i64;
    bytes.splice(range, digits.bytes());
    if !valid.starts_with(b"{") {
        let header = u64::from_le_bytes(std::array::from_fn(|at| valid[at]));
        bytes[..8].copy_from_slice(&header.wrapping_add_signed(grown).to_le_bytes());
    }
    digest::update(&mut bytes);
    bytes
}

/// Inputs made from a file of `length` bytes.
pub(crate) fn inputs(length: usize) -> impl Strategy<Value = Input> {
    let piece = prop_oneof![
        prop::sample::select(TOKENS.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..6),
    ];
    let positions = 0..length + 2;
    let edit = prop_oneof![
        (positions.clone(), piece.clone()).prop_map(|(at, piece)| Edit::Overwrite(at, piece)),
        (positions.clone(), piece).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (positions, 1..length + 2).prop_map(|(at, length)| Edit::Remove(at, length)),
        (0..60_usize, prop::sample::select(TOKENS.to_vec())).prop_map(|(nth, value)| Edit::Number(nth, value)),
        any::<u64>().prop_map(|length| Edit::Length(length >> (length % 64))),
    ];
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Input::Bytes),
        6 => (prop::collection::vec(edit, 1..4), prop::bool::weighted(0.8))
            .prop_map(|(edits, valid_digest)| Input::Edited { edits, valid_digest }),
    ]
}
