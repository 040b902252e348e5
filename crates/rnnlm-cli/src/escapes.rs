//! Text on one line: line ends, tabs and other control characters as escapes.

use std::fmt;

/// Bytes with the escapes of `--prefix`: `\n`, `\t`, `\\`, `\xNN` for a control character of ASCII and for a byte that is not
/// UTF-8, `\u{…}` for other control characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escapes<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escapes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\\' => f.write_str("\\\\")?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", c as u32)?,
                    c if c.is_control() => write!(f, "\\u{{{:x}}}", c as u32)?,
                    c => write!(f, "{c}")?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}
