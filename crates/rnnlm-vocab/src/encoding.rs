//! Stage 1, decoding: from the encoding of a text to UTF-8.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The encoding of a text, by its name in the [Encoding Standard](https://encoding.spec.whatwg.org/).
///
/// A byte order mark of UTF-8 or UTF-16 overrides it. Without the feature `encodings`, UTF-8 is the only encoding.
///
/// ```
/// use rnnlm_vocab::TextEncoding;
///
/// # #[cfg(feature = "encodings")] {
/// let latin: TextEncoding = "latin1".parse()?; // the standard treats Latin-1 as its superset Windows-1252
/// assert_eq!(latin.to_string(), "windows-1252");
/// # }
/// # Ok::<(), rnnlm_vocab::UnknownEncoding>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TextEncoding(&'static str);

/// The name is not one of an encoding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a known text encoding")]
pub struct UnknownEncoding(pub String);

impl TextEncoding {
    /// UTF-8.
    pub const UTF_8: Self = Self("UTF-8");
    /// UTF-16, the low byte of each pair first.
    pub const UTF_16LE: Self = Self("UTF-16LE");
    /// UTF-16, the high byte of each pair first.
    pub const UTF_16BE: Self = Self("UTF-16BE");

    /// The name in the standard.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether it is UTF-8.
    pub(crate) fn is_utf_8(&self) -> bool {
        *self == Self::UTF_8
    }

    /// The encoding whose byte order mark begins `text`, and the length of the mark.
    pub(crate) fn of_byte_order_mark(text: &[u8]) -> Option<(Self, usize)> {
        // the mark of little-endian UTF-32 begins with that of UTF-16
        if text.starts_with(b"\xFF\xFE\0\0") {
            return None;
        }
        let marks = [(Self::UTF_8, &b"\xEF\xBB\xBF"[..]), (Self::UTF_16LE, b"\xFF\xFE"), (Self::UTF_16BE, b"\xFE\xFF")];
        let found = marks.into_iter().find(|(_, mark)| text.starts_with(mark))?;
        Some((found.0, found.1.len()))
    }
}

impl Default for TextEncoding {
    fn default() -> Self {
        Self::UTF_8
    }
}

impl fmt::Display for TextEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromStr for TextEncoding {
    type Err = UnknownEncoding;

    /// Finds an encoding by one of its labels in the standard, in upper or lower case.
    fn from_str(label: &str) -> Result<Self, UnknownEncoding> {
        find(label).ok_or_else(|| UnknownEncoding(label.to_owned()))
    }
}

impl Serialize for TextEncoding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for TextEncoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(feature = "encodings")]
fn find(label: &str) -> Option<TextEncoding> {
    // `replacement` is the name for encodings that the standard does not decode
    encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()).map(|found| TextEncoding(found.name()))
}

#[cfg(not(feature = "encodings"))]
fn find(label: &str) -> Option<TextEncoding> {
    ["utf-8", "utf8"].contains(&label.to_ascii_lowercase().as_str()).then_some(TextEncoding::UTF_8)
}

/// The result of decoding some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Number of bytes that were decoded.
    pub(crate) consumed: usize,
    /// Number of consumed bytes from the first invalid one on, if there is one.
    pub(crate) invalid: Option<usize>,
    /// Whether the text is completely decoded.
    pub(crate) finished: bool,
}

/// A decoder of an encoding other than UTF-8.
#[cfg(feature = "encodings")]
pub(crate) struct Decoder(encoding_rs::Decoder);

#[cfg(feature = "encodings")]
impl Decoder {
    /// `None` for UTF-8.
    pub(crate) fn new(encoding: TextEncoding) -> Option<Self> {
        let found = encoding_rs::Encoding::for_label(encoding.0.as_bytes()).filter(|_| !encoding.is_utf_8());
        found.map(|encoding| Self(encoding.new_decoder_without_bom_handling()))
    }

    /// Decodes as many of `bytes` as the capacity of `out` allows. `last` states that no bytes follow these.
    pub(crate) fn decode(&mut self, bytes: &[u8], last: bool, out: &mut String) -> Decoded {
        use encoding_rs::DecoderResult::{InputEmpty, Malformed, OutputFull};
        let (result, consumed) = self.0.decode_to_string_without_replacement(bytes, out, last);
        match result {
            InputEmpty => Decoded { consumed, invalid: None, finished: last },
            OutputFull => Decoded { consumed, invalid: None, finished: false },
            Malformed(length, after) => {
                let invalid = usize::from(length) + usize::from(after);
                Decoded { consumed, invalid: Some(invalid), finished: false }
            }
        }
    }
}

/// Without the feature `encodings` there is no decoder.
#[cfg(not(feature = "encodings"))]
pub(crate) enum Decoder {}

#[cfg(not(feature = "encodings"))]
impl Decoder {
    pub(crate) fn new(_: TextEncoding) -> Option<Self> {
        None
    }

    pub(crate) fn decode(&mut self, _: &[u8], _: bool, _: &mut String) -> Decoded {
        match *self {}
    }
}
