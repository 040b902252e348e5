//! Tokens in formats whose fields white space separates.

use std::borrow::Cow;

/// A token in a format whose fields white space separates. A token with white space or control characters is written byte by
/// byte, in the form of a byte token: `<0x20>` for a space.
pub(super) fn surface(token: &str) -> Cow<'_, str> {
    if !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Cow::Borrowed(token);
    }
    token.bytes().map(|byte| format!("<0x{byte:02X}>")).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_no_white_space() {
        assert_eq!(
            ["the", "é", "<0xE9>", " ", "\u{a0}"].map(surface),
            ["the", "é", "<0xE9>", "<0x20>", "<0xC2><0xA0>"]
        );
    }
}
