//! Where a text can be divided without a change of its tokens.
//!
//! Most tokenizers first divide a text into words, at places that depend on the characters before and after them only. A text
//! can be divided before white space if no word goes on there.

use serde_json::Value;

use crate::decoder::kind;

/// Where a text can be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SplitRule {
    /// Nowhere that is known.
    Nowhere,
    /// Between a character and white space after it.
    BeforeWhiteSpace,
    /// The same, but before a line end only after a letter or a digit: punctuation and line ends after it are one word.
    BeforeWhiteSpaceAfterLetters,
}

/// Patterns of pre-tokenizers whose words do not go on at white space, except for line ends after punctuation: those of
/// GPT-4, Llama 3, and Qwen 2.
const LETTER_PATTERNS: [&str; 3] = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
];

impl SplitRule {
    /// The rule of a `tokenizer.json`.
    pub(crate) fn of(file: &Value) -> Self {
        let is_safe_token = |token: &Value| {
            token["rstrip"] == false && !token["content"].as_str().unwrap_or(" ").contains(char::is_whitespace)
        };
        let tokens_are_safe = file["added_tokens"].as_array().is_none_or(|tokens| tokens.iter().all(is_safe_token));
        if !tokens_are_safe || !parts(&file["normalizer"], "normalizers").iter().all(is_safe_normalizer) {
            return Self::Nowhere;
        }
        let pre_tokenizers = parts(&file["pre_tokenizer"], "pretokenizers");
        let Some(first) = pre_tokenizers.first() else { return Self::Nowhere };
        let has_prefix = |part: &Value| kind(part) == "ByteLevel" && part["add_prefix_space"] != false;
        if pre_tokenizers.iter().any(has_prefix) || !pre_tokenizers[1..].iter().all(only_divides_words) {
            return Self::Nowhere;
        }
        let pattern = first["pattern"]["Regex"].as_str().unwrap_or_default();
        match kind(first) {
            "ByteLevel" if first["use_regex"] != false => Self::BeforeWhiteSpace,
            "WhitespaceSplit" | "Whitespace" | "BertPreTokenizer" => Self::BeforeWhiteSpace,
            "Split" if first["invert"] != true && LETTER_PATTERNS.contains(&pattern) => {
                Self::BeforeWhiteSpaceAfterLetters
            }
            _ => Self::Nowhere,
        }
    }

    /// The last place in `text` where it can be divided.
    pub(crate) fn last(self, text: &str) -> Option<usize> {
        if self == Self::Nowhere {
            return None;
        }
        let mut after: Option<(usize, char)> = None;
        for (index, character) in text.char_indices().rev() {
            if let Some((index, white)) = after.filter(|(_, next)| next.is_whitespace())
                && self.divides(character, white)
            {
                return Some(index);
            }
            after = Some((index, character));
        }
        None
    }

    fn divides(self, before: char, white: char) -> bool {
        match self {
            Self::Nowhere => false,
            _ if before.is_whitespace() => false,
            Self::BeforeWhiteSpace => true,
            Self::BeforeWhiteSpaceAfterLetters => white == ' ' || is_letter_or_digit(before),
        }
    }
}

/// Whether a character is certainly of the category L or N. Alphabetic characters of other categories are not.
fn is_letter_or_digit(character: char) -> bool {
    matches!(character,
        '0'..='9' | 'A'..='Z' | 'a'..='z' | '\u{3041}'..='\u{3096}' | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}')
}

/// The parts of a component that can be a sequence.
fn parts<'a>(component: &'a Value, field: &str) -> &'a [Value] {
    match (component, kind(component)) {
        (Value::Null, _) => &[],
        (_, "Sequence") => component[field].as_array().map(Vec::as_slice).unwrap_or_default(),
        _ => std::slice::from_ref(component),
    }
}

/// Whether a normalizer neither adds or removes text nor depends on characters on the other side of white space.
fn is_safe_normalizer(normalizer: &Value) -> bool {
    matches!(kind(normalizer), "NFC" | "NFD" | "NFKC" | "NFKD" | "Lowercase")
}

/// Whether a pre-tokenizer after another one divides its words only.
fn only_divides_words(pre_tokenizer: &Value) -> bool {
    matches!(kind(pre_tokenizer), "ByteLevel" | "Digits" | "Punctuation")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_divided_before_the_last_white_space_after_a_character() {
        let rule = SplitRule::BeforeWhiteSpace;
        assert_eq!(rule.last("ab  cd\n\nef"), Some(6));
        assert_eq!(rule.last("ab  "), Some(2));
        assert_eq!(rule.last("  ab"), None);
        assert_eq!(SplitRule::BeforeWhiteSpaceAfterLetters.last("ab c.\n\nd"), Some(2));
        assert_eq!(SplitRule::BeforeWhiteSpaceAfterLetters.last("ab c. \nd"), Some(5));
        assert_eq!(SplitRule::Nowhere.last("a b"), None);
    }

    #[test]
    fn only_known_tokenizers_are_divided() {
        let byte_level = |prefix: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "use_regex": true});
        let file = |pre_tokenizer: Value| json!({"pre_tokenizer": pre_tokenizer, "added_tokens": []});
        assert_eq!(SplitRule::of(&file(byte_level(false))), SplitRule::BeforeWhiteSpace);
        assert_eq!(SplitRule::of(&file(byte_level(true))), SplitRule::Nowhere);
        assert_eq!(SplitRule::of(&file(Value::Null)), SplitRule::Nowhere);
        assert_eq!(SplitRule::of(&file(json!({"type": "Metaspace"}))), SplitRule::Nowhere);
        let mut with_token = file(byte_level(false));
        with_token["added_tokens"] = json!([{"content": "a b", "rstrip": false}]);
        assert_eq!(SplitRule::of(&with_token), SplitRule::Nowhere);
        let mut with_normalizer = file(byte_level(false));
        with_normalizer["normalizer"] = json!({"type": "Prepend", "prepend": "▁"});
        assert_eq!(SplitRule::of(&with_normalizer), SplitRule::Nowhere);
        let split = json!({"type": "Split", "pattern": {"Regex": LETTER_PATTERNS[0]}, "invert": false});
        let sequence = json!({"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel",
            "add_prefix_space": false, "use_regex": false}]});
        assert_eq!(SplitRule::of(&file(sequence)), SplitRule::BeforeWhiteSpaceAfterLetters);
    }
}
