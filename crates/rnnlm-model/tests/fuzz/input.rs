//! What a reader is given: nothing but bytes, or a whole file with a few edits.

use proptest::prelude::*;

use crate::seal;

/// Pieces that mean something in one of the formats.
const PIECES: [&str; 30] = [
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
    Put(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    /// The n-th number of the file becomes another one: sizes, offsets, versions.
    Number(usize, &'static str),
    /// The first eight bytes, the length of a header.
    Length(u64),
}

/// A file.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Bytes(Vec<u8>),
    Edited { edits: Vec<Edit>, sealed: bool },
}

impl Input {
    /// The bytes, where `whole` is the file that is edited.
    pub(crate) fn bytes(&self, whole: &[u8]) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Edited { edits, sealed } => {
                let mut bytes = whole.to_vec();
                edits.iter().for_each(|edit| edit.apply(&mut bytes));
                if *sealed {
                    seal::again(&mut bytes);
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
            Self::Put(at, piece) => {
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
                let place = numbers(bytes).nth(*nth);
                if let Some(place) = place {
                    bytes.splice(place, value.bytes());
                }
            }
            Self::Length(length) => {
                let at_most = end.min(8);
                bytes[..at_most].copy_from_slice(&length.to_le_bytes()[..at_most]);
            }
        }
    }
}

/// Where numbers stand that a `:`, `[` or `,` is before.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let starts = (1..bytes.len()).filter(|&at| bytes[at].is_ascii_digit() && b":[, ".contains(&bytes[at - 1]));
    starts.map(|at| at..at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// The file with another value of a setting wherever it stands in JSON, under a digest that is right and behind a length
/// of the header that is.
pub(crate) fn with_number(whole: &[u8], field: &str, value: u64) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let place = numbers(&bytes).find(|place| {
        let before = bytes[..place.start].iter().rev().skip_while(|byte| b" :\\\"".contains(byte));
        before.zip(field.bytes().rev()).filter(|(a, b)| **a == *b).count() == field.len()
    });
    let Some(place) = place else { return bytes };
    let digits = value.to_string();
    let grown = digits.len() as i64 - place.len() as i64;
    bytes.splice(place, digits.bytes());
    if !whole.starts_with(b"{") {
        let header = u64::from_le_bytes(std::array::from_fn(|at| whole[at]));
        bytes[..8].copy_from_slice(&header.wrapping_add_signed(grown).to_le_bytes());
    }
    seal::again(&mut bytes);
    bytes
}

/// Files around one of `length` bytes.
pub(crate) fn inputs(length: usize) -> impl Strategy<Value = Input> {
    let piece = prop_oneof![
        prop::sample::select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..6),
    ];
    let places = 0..length + 2;
    let edit = prop_oneof![
        (places.clone(), piece.clone()).prop_map(|(at, piece)| Edit::Put(at, piece)),
        (places.clone(), piece).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (places, 1..length + 2).prop_map(|(at, length)| Edit::Remove(at, length)),
        (0..60_usize, prop::sample::select(PIECES.to_vec())).prop_map(|(nth, value)| Edit::Number(nth, value)),
        any::<u64>().prop_map(|length| Edit::Length(length >> (length % 64))),
    ];
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Input::Bytes),
        6 => (prop::collection::vec(edit, 1..4), prop::bool::weighted(0.8))
            .prop_map(|(edits, sealed)| Input::Edited { edits, sealed }),
    ]
}
