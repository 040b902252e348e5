//! The text of a token, from the decoder of a `tokenizer.json`.

use rnnlm_vocab::{SubwordToken, byte_of_character};
use serde_json::Value;

/// How names of tokens become text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decoder {
    /// Each character of a name is a byte.
    ByteLevel,
    /// Names are words with a space between them: a file without a decoder.
    Words,
    /// Names are words, or parts of words with this prefix.
    WordPiece {
        prefix: String,
        /// Whether there is no space before punctuation.
        cleanup: bool,
    },
    /// Names are text.
    Text {
        /// Replacements of a text by another one.
        replacements: Vec<(String, String)>,
        /// Whether `<0xE9>` is a byte.
        byte_fallback: bool,
        /// Whether the space at the start of a text is removed.
        strips_space: bool,
    },
}

impl Decoder {
    /// Reads the field `decoder`, or returns the reason why it cannot be used.
    pub(crate) fn from_json(decoder: &Value) -> Result<Self, String> {
        let mut text = Self::Text { replacements: Vec::new(), byte_fallback: false, strips_space: false };
        let parts = match (decoder, kind(decoder)) {
            (Value::Null, _) => return Ok(Self::Words),
            (_, "Sequence") => decoder["decoders"].as_array().map(Vec::as_slice).unwrap_or_default(),
            _ => std::slice::from_ref(decoder),
        };
        for part in parts {
            let Self::Text { replacements, byte_fallback, strips_space } = &mut text else { break };
            match kind(part) {
                "ByteLevel" if parts.len() == 1 => return Ok(Self::ByteLevel),
                "WordPiece" if parts.len() == 1 => {
                    let prefix = part["prefix"].as_str().unwrap_or("##").to_owned();
                    return Ok(Self::WordPiece { prefix, cleanup: part["cleanup"].as_bool().unwrap_or(true) });
                }
                "Metaspace" => {
                    replacements.push((part["replacement"].as_str().unwrap_or("▁").to_owned(), " ".to_owned()));
                    *strips_space |= part["prepend_scheme"] != "never" && part["add_prefix_space"] != false;
                }
                "Replace" => match (part["pattern"]["String"].as_str(), part["content"].as_str()) {
                    (Some(pattern), Some(content)) if !pattern.is_empty() => {
                        replacements.push((pattern.to_owned(), content.to_owned()));
                    }
                    _ => return Err("its decoder replaces a regular expression".to_owned()),
                },
                "ByteFallback" => *byte_fallback = true,
                "Strip" if part["content"] == " " && part["stop"] == 0 => *strips_space |= part["start"] != 0,
                "Fuse" => {}
                other => return Err(format!("its decoder `{other}` is not supported")),
            }
        }
        Ok(text)
    }

    /// The token with this name.
    pub(crate) fn token(&self, name: &str) -> SubwordToken {
        let (text, has_space): (Vec<u8>, bool) = match self {
            Self::ByteLevel => {
                let bytes: Option<Vec<u8>> = name.chars().map(byte_of_character).collect();
                // a special token can have characters that are no bytes
                (bytes.unwrap_or_else(|| name.as_bytes().to_vec()), false)
            }
            Self::Words => (name.into(), true),
            Self::WordPiece { prefix, cleanup } => {
                let text = name.strip_prefix(prefix.as_str()).map_or_else(|| format!(" {name}"), str::to_owned);
                split_space(if *cleanup { without_space(&text) } else { text })
            }
            Self::Text { replacements, byte_fallback, strips_space } => {
                let byte = byte_fallback.then(|| byte(name)).flatten();
                let replace = |text: String, (from, to): &(String, String)| text.replace(from.as_str(), to);
                match byte {
                    Some(byte) => (vec![byte], false),
                    None if *strips_space => split_space(replacements.iter().fold(name.to_owned(), replace)),
                    None => (replacements.iter().fold(name.to_owned(), replace).into(), false),
                }
            }
        };
        SubwordToken { name: name.into(), text: text.into(), has_space }
    }
}

/// The field `type`.
pub(crate) fn kind(component: &Value) -> &str {
    component["type"].as_str().unwrap_or_default()
}

/// The text without the space before it, and whether there is one.
fn split_space(text: String) -> (Vec<u8>, bool) {
    match text.strip_prefix(' ') {
        Some(rest) => (rest.into(), true),
        None => (text.into(), false),
    }
}

/// The byte of a name such as `<0xE9>`.
fn byte(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The text of a word piece without the spaces that the library removes.
fn without_space(text: &str) -> String {
    let replacements = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    replacements.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(decoder: &Value, name: &str) -> (String, bool) {
        let token = Decoder::from_json(decoder).expect("a decoder").token(name);
        (String::from_utf8_lossy(&token.text).into_owned(), token.has_space)
    }

    #[test]
    fn tokens_have_the_text_of_the_library() {
        let byte_level = json!({"type": "ByteLevel"});
        assert_eq!(text(&byte_level, "Ġthe"), (" the".to_owned(), false));
        assert_eq!(text(&byte_level, "Ã©"), ("é".to_owned(), false));
        assert_eq!(text(&byte_level, "<a b>"), ("<a b>".to_owned(), false));
        assert_eq!(text(&Value::Null, "the"), ("the".to_owned(), true));
        let pieces = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
        let expected = [("the", ("the", true)), ("##s", ("s", false)), (",", (",", false)), ("'s", ("'s", false))];
        for (name, (expected, has_space)) in expected {
            assert_eq!(text(&pieces, name), (expected.to_owned(), has_space), "{name}");
        }
        let llama = json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]});
        assert_eq!(text(&llama, "▁the"), ("the".to_owned(), true));
        assert_eq!(text(&llama, "▁▁a"), (" a".to_owned(), true));
        assert_eq!(text(&llama, "ing"), ("ing".to_owned(), false));
        assert_eq!(Decoder::from_json(&llama).expect("a decoder").token("<0xC3>").text.as_ref(), [0xC3]);
        let metaspace = json!({"type": "Metaspace", "replacement": "_", "prepend_scheme": "never"});
        assert_eq!(text(&metaspace, "_the"), (" the".to_owned(), false));
    }

    #[test]
    fn a_decoder_that_needs_neighbors_is_refused() {
        let reason = |decoder: Value| Decoder::from_json(&decoder).expect_err("not supported");
        assert_eq!(reason(json!({"type": "CTC"})), "its decoder `CTC` is not supported");
        assert_eq!(
            reason(json!({"type": "BPEDecoder", "suffix": "</w>"})),
            "its decoder `BPEDecoder` is not supported"
        );
        let regex = json!({"type": "Replace", "pattern": {"Regex": "a+"}, "content": "b"});
        assert_eq!(reason(regex), "its decoder replaces a regular expression");
    }
}
