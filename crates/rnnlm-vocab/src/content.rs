//! What a text that is not UTF-8 probably is, for the advice in an error message.

use std::fmt;

/// The likely content of a text that is not UTF-8, guessed from its first bytes and those around the invalid one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LikelyContent {
    /// UTF-16 or UTF-32.
    Wide(&'static str),
    /// Latin-1 or Windows-1252: single bytes for accented letters among ASCII.
    WesternSingleByte,
    /// A text in another encoding: most letters are not ASCII.
    OtherEncoding,
    /// A compressed file.
    Compressed(&'static str),
    /// Another known format that is not a text.
    Format(&'static str),
    /// A binary file.
    Binary,
    /// UTF-8 that ends within a character.
    Truncated,
    /// UTF-8 with some invalid bytes.
    DamagedUtf8,
}

impl fmt::Display for LikelyContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wide(name) | Self::Compressed(name) | Self::Format(name) => name,
            Self::WesternSingleByte => "text in Windows-1252 or Latin-1",
            Self::OtherEncoding => "text in another encoding",
            Self::Binary => "a binary file",
            Self::Truncated => "UTF-8 that ends within a character",
            Self::DamagedUtf8 => "UTF-8 with some invalid bytes",
        })
    }
}

/// The first bytes of common formats.
const FORMATS: [(&[u8], LikelyContent); 13] = [
    (b"\x1F\x8B", LikelyContent::Compressed("a gzip file")),
    (b"\x28\xB5\x2F\xFD", LikelyContent::Compressed("a zstd file")),
    (b"BZh", LikelyContent::Compressed("a bzip2 file")),
    (b"\xFD7zXZ\0", LikelyContent::Compressed("an xz file")),
    (b"\x04\x22\x4D\x18", LikelyContent::Compressed("an lz4 file")),
    (b"7z\xBC\xAF\x27\x1C", LikelyContent::Compressed("a 7z archive")),
    (b"Rar!\x1A\x07", LikelyContent::Compressed("a rar archive")),
    (b"PK\x03\x04", LikelyContent::Format("a zip archive, such as docx, odt or epub")),
    (b"%PDF-", LikelyContent::Format("a PDF")),
    (b"\xD0\xCF\x11\xE0", LikelyContent::Format("an old Office file, such as doc")),
    (b"\x89PNG", LikelyContent::Format("a PNG image")),
    (b"\xFF\xD8\xFF", LikelyContent::Format("a JPEG image")),
    (b"\x7FELF", LikelyContent::Format("a program")),
];

/// Number of bytes at each of the two places that are examined.
const EXAMINED_BYTES: usize = 4096;

/// Fewer bytes do not show a pattern.
const MIN_WIDE_BYTES: usize = 8;

impl LikelyContent {
    /// Guesses from the start of the text and from the bytes that begin with the invalid one. `is_end` states that the
    /// text ends with these.
    pub(crate) fn of(head: &[u8], rest: &[u8], is_end: bool) -> Self {
        if let Some((_, format)) = FORMATS.iter().find(|(magic, _)| head.starts_with(magic)) {
            return *format;
        }
        if head.starts_with(b"\xFF\xFE\0\0") || head.starts_with(b"\0\0\xFE\xFF") {
            return Self::Wide("UTF-32");
        }
        if head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") {
            return Self::Wide("UTF-16");
        }
        let (head, rest) = (&head[..head.len().min(EXAMINED_BYTES)], &rest[..rest.len().min(EXAMINED_BYTES)]);
        if let Some(wide) = utf_16_without_mark(head).or_else(|| utf_16_without_mark(rest)) {
            return wide;
        }
        if head.iter().chain(rest).any(|&byte| is_binary(byte)) {
            return Self::Binary;
        }
        let is_cut_off = std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none());
        if is_end && is_cut_off && rest.len() < 4 {
            return Self::Truncated;
        }
        Self::of_text(head, rest)
    }

    /// Distinguishes encodings by the distribution of bytes that are not ASCII.
    fn of_text(head: &[u8], rest: &[u8]) -> Self {
        let chunks = || head.utf8_chunks().chain(rest.utf8_chunks());
        let valid = chunks().flat_map(|chunk| chunk.valid().chars()).filter(|c| !c.is_ascii()).count();
        let invalid = chunks().filter(|chunk| !chunk.invalid().is_empty()).count();
        if valid > invalid {
            return Self::DamagedUtf8;
        }
        let letters = rest.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
        let others = rest.iter().filter(|byte| !byte.is_ascii()).count();
        if others > letters { Self::OtherEncoding } else { Self::WesternSingleByte }
    }
}

/// Whether texts do not contain this byte.
fn is_binary(byte: u8) -> bool {
    // tab, line feed, form feed, carriage return and escape occur in texts
    byte < 0x20 && !matches!(byte, b'\t' | b'\n' | 0x0C | b'\r' | 0x1B) || byte == 0x7F
}

/// UTF-16 without a byte order mark, which has a zero byte at every second index wherever its characters are Latin.
pub(crate) fn utf_16_without_mark(bytes: &[u8]) -> Option<LikelyContent> {
    let zeros = |parity: usize| bytes.iter().skip(parity).step_by(2).filter(|&&byte| byte == 0).count();
    let (fewer, more) = (zeros(0).min(zeros(1)), zeros(0).max(zeros(1)));
    let binary = bytes.iter().filter(|&&byte| byte != 0 && is_binary(byte)).count();
    let is_wide = bytes.len() >= MIN_WIDE_BYTES && 4 * more >= bytes.len() && 10 * fewer < more;
    (is_wide && 10 * binary < bytes.len()).then_some(LikelyContent::Wide("UTF-16"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8]) -> LikelyContent {
        let valid = std::str::from_utf8(text).expect_err("not UTF-8").valid_up_to();
        LikelyContent::of(text, &text[valid..], true)
    }

    fn utf_16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn encodings_are_told_apart() {
        assert_eq!(of(b"caf\xE9 na\xEFve"), LikelyContent::WesternSingleByte);
        assert_eq!(of(b"\x93quoted\x94 \x96 caf\xE9"), LikelyContent::WesternSingleByte);
        // "Привет, мир" in Windows-1251, "日本語" in Shift_JIS
        assert_eq!(of(b"\xCF\xF0\xE8\xE2\xE5\xF2, \xEC\xE8\xF0"), LikelyContent::OtherEncoding);
        assert_eq!(of(b"\x93\xFA\x96\x7B\x8C\xEA"), LikelyContent::OtherEncoding);
        assert_eq!(of(&utf_16("né na\u{ef}ve and more")), LikelyContent::Wide("UTF-16"));
        assert_eq!(of(&[b"\xFF\xFE".to_vec(), utf_16("a")].concat()), LikelyContent::Wide("UTF-16"));
        assert_eq!(of(b"\xFF\xFE\0\0a\0\0\0"), LikelyContent::Wide("UTF-32"));
    }

    #[test]
    fn files_that_are_not_texts_are_recognized() {
        assert_eq!(
            of(b"PK\x03\x04\x14\0\0\0\x08\0\xAA"),
            LikelyContent::Format("a zip archive, such as docx, odt or epub")
        );
        assert_eq!(of(b"BZh91AY&SY\xAA"), LikelyContent::Compressed("a bzip2 file"));
        assert_eq!(of(b"%PDF-1.7\n%\xB5\xB5"), LikelyContent::Format("a PDF"));
        assert_eq!(of(b"\0\x01\x02\x80\x90\0\0\xA0"), LikelyContent::Binary);
    }

    #[test]
    fn damaged_utf_8_is_recognized() {
        assert_eq!(of("naïve né".as_bytes().split_last().expect("bytes").1), LikelyContent::Truncated);
        assert_eq!(of(b"na\xC3\xAFve \xFF n\xC3\xA9e \xC3\xA9 caf\xC3\xA9"), LikelyContent::DamagedUtf8);
    }
}
