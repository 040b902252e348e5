//! The digest that a file contains: the SHA-256 of its bytes, with 64 zeros in place of the digest itself. Any flipped bit
//! makes the check fail, also one in the digest.

use std::ops::Range;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The bytes in place of the digest while it is computed.
pub(crate) const PLACEHOLDER: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The key of the digest.
const KEY: &[u8] = b"sha256";
/// The longest punctuation between key and digest: `\":\"`, in a string within JSON.
const MAX_PUNCTUATION: usize = 5;

/// The SHA-256 of `bytes`, in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    sha256_of([bytes])
}

/// The SHA-256 of concatenated parts, in lower-case hexadecimal.
pub(crate) fn sha256_of(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hasher = Sha256::new();
    parts.into_iter().for_each(|part| hasher.update(part));
    hexadecimal(&hasher.finalize())
}

/// `bytes` in lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The range of the digest: the first 64 hexadecimal digits after the key.
fn find(bytes: &[u8]) -> Option<Range<usize>> {
    let ends = bytes.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY).map(|(at, _)| at + KEY.len());
    for end in ends {
        let gap = bytes[end..].iter().take(MAX_PUNCTUATION + 1).take_while(|byte| !byte.is_ascii_hexdigit()).count();
        let start = end + gap;
        let digest = bytes.get(start..start + PLACEHOLDER.len());
        if gap <= MAX_PUNCTUATION && digest.is_some_and(|digest| digest.iter().all(u8::is_ascii_hexdigit)) {
            return Some(start..start + PLACEHOLDER.len());
        }
    }
    None
}

/// Replaces the placeholder in a file with the digest, and returns the digest.
///
/// # Panics
/// If there is no placeholder, which every writer includes.
pub(crate) fn embed(bytes: &mut [u8]) -> String {
    let range = find(bytes).expect("the file contains a placeholder");
    let digest = sha256(bytes);
    bytes[range].copy_from_slice(digest.as_bytes());
    digest
}

/// Checks the digest in a file and returns it, or returns what is wrong.
fn check(bytes: &[u8]) -> Result<String, String> {
    let range = find(bytes).ok_or("it has no digest")?;
    let stored = String::from_utf8_lossy(&bytes[range.clone()]).into_owned();
    let computed = sha256_of([&bytes[..range.start], PLACEHOLDER.as_bytes(), &bytes[range.end..]]);
    if stored == computed {
        Ok(stored)
    } else {
        Err(format!("its stored digest is {stored}, the digest of its content is {computed}"))
    }
}

/// Checks the digest in the bytes of the file at `path` and returns it.
pub(crate) fn check_file(path: &Path, bytes: &[u8]) -> Result<String> {
    check(bytes).map_err(|reason| Error::Damaged { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_equals_the_example_of_the_standard() {
        // FIPS 180-2, appendix B.1
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn the_check_fails_for_every_flipped_bit() {
        let mut bytes = format!("{{\"sha256\": \"{PLACEHOLDER}\", \"value\": 7}}").into_bytes();
        let digest = embed(&mut bytes);
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
