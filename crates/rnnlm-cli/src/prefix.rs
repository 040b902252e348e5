//! Prefixes of generated text: escapes, encoding, and what happens to tokens that the vocabulary does not contain.

use std::fmt;
use std::path::Path;
use std::str::{Chars, FromStr};

use clap::ValueEnum;
use rnnlm_vocab::{Encoding, Normalization, TokenKind, Vocab};

use crate::corpora::TextSource;
use crate::escapes::Escapes;
use crate::failure::{Failure, Result};

/// The text of a prefix, with its escapes resolved.
///
/// `Display` writes it as on the command line, with escapes for control characters and for bytes that are not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrefixText(Vec<u8>);

impl PrefixText {
    /// The text as it is, without escapes.
    pub(crate) fn literal(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    /// The content of a file or, for `-`, of standard input, as it is.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let source = if path == Path::new("-") { TextSource::StandardInput } else { TextSource::Path(path.to_owned()) };
        Ok(Self(source.read_to_end()?))
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text. Bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl FromStr for PrefixText {
    type Err = String;

    /// Resolves `\n`, `\t`, `\\`, `\xNN` for a byte and `\u{…}` for a character.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => push_escaped(&mut chars, &mut bytes)?,
                c => push_char(c, &mut bytes),
            }
        }
        Ok(Self(bytes))
    }
}

/// Resolves one escape, whose backslash is already read.
fn push_escaped(chars: &mut Chars<'_>, bytes: &mut Vec<u8>) -> Result<(), String> {
    let rest = chars.as_str();
    match chars.next() {
        Some('n') => bytes.push(b'\n'),
        Some('t') => bytes.push(b'\t'),
        Some('\\') => bytes.push(b'\\'),
        Some('x') => {
            let digits = rest.get(1..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(byte.ok_or("`\\x` needs two hexadecimal digits, as in \\x0d")?);
            *chars = rest[3..].chars();
        }
        Some('u') => {
            let digits = rest[1..].strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(digits, _)| digits);
            let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let c = digits.and_then(|digits| char::from_u32(u32::from_str_radix(digits, 16).ok()?));
            push_char(c.ok_or("`\\u` needs the number of a character in braces, as in \\u{e9}")?, bytes);
            *chars = rest["u{}".len() + digits.map_or(0, str::len)..].chars();
        }
        Some(other) => {
            return Err(format!(
                "unknown escape `\\{other}`; the escapes are \\n, \\t, \\xNN, \\u{{…}}, and \\\\ for a backslash"
            ));
        }
        None => return Err("a backslash at the end must be written as \\\\".to_owned()),
    }
    Ok(())
}

fn push_char(c: char, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

impl fmt::Display for PrefixText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escapes(&self.0).fmt(f)
    }
}

/// The value of `--unknown`: what happens to tokens that are not in the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unknown {
    /// Read them as `<unk>`, with a warning.
    Unk,
    /// Stop with an error.
    Error,
    /// Leave them out, with a warning.
    Skip,
}

/// A prefix as ids, and a warning if it contains unknown tokens.
#[derive(Debug)]
pub(crate) struct Prefix {
    /// At least one id. A document begins with its context, the end token; an empty prefix of a stream becomes the most
    /// frequent token.
    pub(crate) ids: Vec<u32>,
    /// Number of ids at the start that are context, and not a part of the text.
    context_len: usize,
    pub(crate) warning: Option<String>,
}

impl Prefix {
    /// Encodes `text`.
    ///
    /// # Errors
    /// If it contains unknown tokens and `unknown` is [`Unknown::Error`], or bytes that are not UTF-8 and the
    /// vocabulary needs text.
    pub(crate) fn encode(vocab: &Vocab, text: &PrefixText, unknown: Unknown) -> Result<Self> {
        let mut encoding = vocab.encode_prefix_bytes(&text.0).map_err(|_| not_utf8(vocab, text))?;
        let warning = match unknown_tokens(text, &encoding) {
            None => None,
            Some(message) => Some(match unknown {
                Unknown::Unk => format!("warning: {message} (read as <unk>)"),
                Unknown::Skip => {
                    encoding.ids.retain(|&id| !vocab.is_unknown(id));
                    format!("warning: {message} (left out)")
                }
                Unknown::Error => {
                    let hint = "--unknown unk reads them as <unk>, --unknown skip leaves them out";
                    return Err(Failure::failed(message).with_hint(hint));
                }
            }),
        };
        let mut ids: Vec<u32> = vocab.end_token().into_iter().collect();
        let context_len = ids.len();
        ids.append(&mut encoding.ids);
        if ids.is_empty() {
            ids.push(vocab.most_frequent_id());
        }
        Ok(Self { ids, context_len, warning })
    }

    /// The ids without the context.
    pub(crate) fn text(&self) -> &[u32] {
        &self.ids[self.context_len..]
    }
}

/// The error for a prefix that is not UTF-8.
fn not_utf8(vocab: &Vocab, text: &PrefixText) -> Failure {
    let needs_text = match (vocab.kind(), vocab.normalization()) {
        (TokenKind::Byte, Normalization::None) => "the vocabulary needs text".to_owned(),
        (TokenKind::Byte, normalization) => format!("normalization `{normalization}` needs text"),
        (kind, _) => format!("a vocabulary of `{kind}` tokens needs text"),
    };
    Failure::failed(format!("prefix \"{text}\" is not UTF-8, but {needs_text}"))
        .with_hint("\\xNN is a byte; \\u{…} is a character, as in \\u{e9}")
}

/// A message that lists the unknown tokens, if there are any.
fn unknown_tokens(text: &PrefixText, encoding: &Encoding) -> Option<String> {
    match encoding.unknown.distinct().len() {
        _ if encoding.unknown.count() == 0 => None,
        1 => Some(format!("prefix \"{text}\" has a token that is not in the vocabulary: {}", encoding.unknown)),
        _ => Some(format!("prefix \"{text}\" has tokens that are not in the vocabulary: {}", encoding.unknown)),
    }
}

#[cfg(test)]
mod tests {
    use rnnlm_vocab::{Corpus, CorpusOptions};

    use super::*;

    /// The ids are `<unk>` 0, `a` 1, `b` 2.
    fn vocab() -> Vocab {
        Corpus::from_bytes(b"aaab", &CorpusOptions::default()).expect("four letters").vocab
    }

    fn text(text: &str) -> PrefixText {
        text.parse().expect("valid escapes")
    }

    #[test]
    fn unknown_tokens_are_replaced_left_out_or_refused() {
        let encode = |unknown| Prefix::encode(&vocab(), &text("axby"), unknown);
        let message = r#"prefix "axby" has tokens that are not in the vocabulary: "x" "y""#;
        let unk = encode(Unknown::Unk).expect("a warning");
        assert_eq!((unk.ids, unk.warning), (vec![1, 0, 2, 0], Some(format!("warning: {message} (read as <unk>)"))));
        let skip = encode(Unknown::Skip).expect("a warning");
        assert_eq!((skip.ids, skip.warning), (vec![1, 2], Some(format!("warning: {message} (left out)"))));
        assert_eq!(encode(Unknown::Error).expect_err("an error").to_string(), message);
        let one = Prefix::encode(&vocab(), &text("xax"), Unknown::Error).expect_err("an error").to_string();
        assert_eq!(one, r#"prefix "xax" has a token that is not in the vocabulary: "x""#);
    }

    #[test]
    fn an_empty_prefix_becomes_the_most_frequent_token() {
        let prefix = Prefix::encode(&vocab(), &text(""), Unknown::Unk).expect("it is empty");
        assert_eq!((prefix.ids, prefix.warning), (vec![1], None));
    }

    #[test]
    fn escapes_are_resolved_and_written_back() {
        let cases: [(&str, &[u8], &str); 7] = [
            (r"a\nb\tc", b"a\nb\tc", r"a\nb\tc"),
            (r"C:\\new", br"C:\new", r"C:\\new"),
            (r"\x41\xe9\xFF", b"A\xE9\xFF", r"A\xe9\xff"),
            (r"\u{e9}\u{1F600}\u{0}", "é😀\0".as_bytes(), r"é😀\x00"),
            (r"\xc3\xa9", "é".as_bytes(), "é"),
            ("naïve\n\u{9b}", "naïve\n\u{9b}".as_bytes(), r"naïve\n\u{9b}"),
            ("", b"", ""),
        ];
        for (given, bytes, written) in cases {
            let prefix = text(given);
            assert_eq!((prefix.0.as_slice(), prefix.to_string().as_str()), (bytes, written), "{given}");
            assert_eq!(text(written), prefix, "{given}");
        }
    }

    #[test]
    fn an_unknown_or_incomplete_escape_is_an_error() {
        let error = |given: &str| given.parse::<PrefixText>().expect_err(given);
        assert_eq!(error(r"a\qb"), r"unknown escape `\q`; the escapes are \n, \t, \xNN, \u{…}, and \\ for a backslash");
        assert_eq!(error(r"C:\"), r"a backslash at the end must be written as \\");
        for given in [r"\x", r"\x4", r"\xg0", r"\x+1", r"\x4é"] {
            assert!(error(given).contains("two hexadecimal digits"), "{given}");
        }
        for given in [r"\u", r"\u{", r"\u{}", r"\u{d800}", r"\u{110000}", r"\u{+1}", r"\u41", r"\u{é}"] {
            assert!(error(given).contains("number of a character"), "{given}");
        }
    }

    #[test]
    fn a_prefix_may_be_any_bytes_only_for_byte_tokens() {
        let options = CorpusOptions { kind: TokenKind::Byte, normalization: Normalization::None, ..Default::default() };
        let bytes = Corpus::from_bytes(b"\xFF\xE9", &options).expect("two bytes").vocab;
        assert_eq!(Prefix::encode(&bytes, &text(r"\xe9"), Unknown::Error).expect("it is known").ids, [2]);
        let error = Prefix::encode(&vocab(), &text(r"a\xe9"), Unknown::Unk).expect_err("it is not UTF-8");
        assert_eq!(error.to_string(), r#"prefix "a\xe9" is not UTF-8, but a vocabulary of `char` tokens needs text"#);
    }
}
