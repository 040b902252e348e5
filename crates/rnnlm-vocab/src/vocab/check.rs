//! Stage 2, the vocabulary: checks of its fields.

use crate::error::count;
use crate::subwords::SubwordTokenizer;
use crate::tokenize::TokenKind;
use crate::unknown::UNKNOWN_TOKEN;

/// Checks the fields of a vocabulary, except for repeated tokens, which the index detects.
pub(super) fn fields(kind: TokenKind, reserved: usize, tokens: &[Box<str>], frequencies: &[u64]) -> Result<(), String> {
    match tokens.first() {
        Some(_) if kind == TokenKind::Subword => {}
        None => return Err(format!("`tokens` is empty, it must begin with `{UNKNOWN_TOKEN}`")),
        Some(first) if &**first != UNKNOWN_TOKEN => {
            return Err(format!("`tokens`[0] is `{first}`, it must be `{UNKNOWN_TOKEN}`"));
        }
        Some(_) => {}
    }
    if frequencies.len() != tokens.len() {
        return Err(format!("`tokens` has length {} but `frequencies` has length {}", tokens.len(), frequencies.len()));
    }
    if reserved >= tokens.len() {
        let following = count(tokens.len() as u64 - 1, "token");
        return Err(format!("`reserved` is {reserved}, but the vocabulary has {following} after `<unk>`"));
    }
    for (id, token) in tokens.iter().enumerate().skip(1) {
        let invalid = if id <= reserved { invalid_reserved_reason(kind, token) } else { kind.invalid_reason(token) };
        if let Some(reason) = invalid {
            return Err(format!("`tokens`[{id}], `{token}`, {reason}"));
        }
    }
    Ok(())
}

/// Why `token` cannot be reserved; `None` if it can.
pub(crate) fn invalid_reserved_reason(kind: TokenKind, token: &str) -> Option<&'static str> {
    match kind {
        _ if token.is_empty() => Some("is empty"),
        TokenKind::Word => kind.invalid_reason(token),
        TokenKind::Byte if token.len() == 1 => {
            Some("is the same as an ordinary byte token; write the byte like `<0xE9>`")
        }
        TokenKind::Char | TokenKind::Byte | TokenKind::WordPunct | TokenKind::Subword => None,
    }
}

/// What is wrong with the tokens of a vocabulary that has this tokenizer; `None` if they are its tokens.
pub(super) fn wrong_tokens(tokenizer: &dyn SubwordTokenizer, tokens: &[Box<str>]) -> Option<String> {
    let expected = tokenizer.tokens();
    if tokens.len() != expected.len() {
        let found = count(tokens.len() as u64, "token");
        return Some(format!("`tokens` has {found}, its tokenizer has {}", expected.len()));
    }
    let mut pairs = tokens.iter().zip(expected).enumerate();
    let (id, (found, expected)) = pairs.find(|(_, (found, expected))| **found != expected.name)?;
    Some(format!("`tokens`[{id}] is `{found}`, its tokenizer has `{}`", expected.name))
}
