//! A seal on a file: the SHA-256 of all its bytes, written into the file itself where 64 zeros stood when it was taken.
//! One flipped bit anywhere, the seal included, and it does not hold any more.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// What stands in the file while the digest is taken.
pub(crate) const PLACEHOLDER: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The key in front of the digest.
const KEY: &[u8] = b"sha256";
/// `\":\"` in a string within JSON is the longest that stands between key and digest.
const MOST_PUNCTUATION: usize = 5;

/// The SHA-256 of `bytes`, in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    sha256_of([bytes])
}

/// The SHA-256 of parts that follow each other, in lower-case hexadecimal.
pub(crate) fn sha256_of(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hasher = Sha256::new();
    parts.into_iter().for_each(|part| hasher.update(part));
    hexadecimal(&hasher.finalize())
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the digest stands: after the first key that 64 hexadecimal digits follow.
fn position(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let ends = bytes.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY).map(|(at, _)| at + KEY.len());
    for end in ends {
        let gap = bytes[end..].iter().take(MOST_PUNCTUATION + 1).take_while(|byte| !byte.is_ascii_hexdigit()).count();
        let start = end + gap;
        let digest = bytes.get(start..start + PLACEHOLDER.len());
        if gap <= MOST_PUNCTUATION && digest.is_some_and(|digest| digest.iter().all(u8::is_ascii_hexdigit)) {
            return Some(start..start + PLACEHOLDER.len());
        }
    }
    None
}

/// Writes the digest where the placeholder stands and returns it.
///
/// # Panics
/// If there is no placeholder: the writer of the format has forgotten it.
pub(crate) fn seal(bytes: &mut [u8]) -> String {
    let place = position(bytes).expect("a sealed format has a place for its digest");
    let digest = sha256(bytes);
    bytes[place].copy_from_slice(digest.as_bytes());
    digest
}

/// The digest in a sealed file, or what is wrong with it.
fn check(bytes: &[u8]) -> Result<String, String> {
    let place = position(bytes).ok_or("it has no digest")?;
    let stated = String::from_utf8_lossy(&bytes[place.clone()]).into_owned();
    let found = sha256_of([&bytes[..place.start], PLACEHOLDER.as_bytes(), &bytes[place.end..]]);
    if stated == found { Ok(stated) } else { Err(format!("its digest says {stated}, its content has {found}")) }
}

/// [`check`] for the content of the file at `path`.
pub(crate) fn check_file(path: &Path, bytes: &[u8]) -> Result<String> {
    check(bytes).map_err(|reason| Error::Damaged { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_the_standard_s() {
        // FIPS 180-2, appendix B.1
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_seal_holds_and_every_changed_byte_breaks_it() {
        let mut bytes = format!("{{\"sha256\": \"{PLACEHOLDER}\", \"value\": 7}}").into_bytes();
        let digest = seal(&mut bytes);
        assert_eq!(check(&bytes), Ok(digest));
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[index] ^= 1 << bit;
                assert!(check(&damaged).is_err(), "bit {bit} of byte {index}");
            }
        }
        assert!(check(&bytes[..bytes.len() - 1]).is_err());
        assert!(check(b"").is_err());
    }
}
