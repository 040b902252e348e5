//! The characters that stand for bytes in byte-level vocabularies.
//!
//! Source: `bytes_to_unicode` in `encoder.py` of OpenAI's GPT-2. Printable characters of Latin-1 stand for themselves, the
//! other bytes are the characters from U+0100 in order.

/// Whether the byte is a printable character of Latin-1 other than the space and the soft hyphen.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character of every byte.
static CHARACTERS: [char; 256] = {
    let mut characters = ['\0'; 256];
    let (mut byte, mut others) = (0_usize, 0);
    while byte < 256 {
        characters[byte] = if is_printable(byte as u8) {
            byte as u8 as char
        } else {
            others += 1;
            match char::from_u32(0xFF + others) {
                Some(character) => character,
                None => '\0',
            }
        };
        byte += 1;
    }
    characters
};

/// The character that stands for a byte in a byte-level `tokenizer.json`.
pub fn byte_level_character(byte: u8) -> char {
    CHARACTERS[usize::from(byte)]
}

/// The byte that a character stands for: the inverse of [`byte_level_character`].
pub fn byte_of_character(character: char) -> Option<u8> {
    CHARACTERS.iter().position(|&other| other == character).map(|byte| byte as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_the_character_of_gpt_2() {
        // from `bytes_to_unicode()`
        for (byte, character) in
            [(b'A', 'A'), (b' ', 'Ġ'), (b'\n', 'Ċ'), (0, 'Ā'), (0x7F, 'ġ'), (0xAD, 'Ń'), (0xA0, 'ł'), (0xFF, 'ÿ')]
        {
            assert_eq!(byte_level_character(byte), character);
        }
        for byte in 0..=255 {
            assert_eq!(byte_of_character(byte_level_character(byte)), Some(byte));
        }
        assert_eq!(byte_of_character('€'), None);
    }
}
