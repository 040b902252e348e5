//! The digest in a file, put right after the file was changed: what a forger does, and what lets a test reach the code
//! behind the digest.

use sha2::{Digest, Sha256};

/// Puts the digest right that stands behind the first `sha256` in the file; a file without one stays as it is.
pub(crate) fn again(bytes: &mut [u8]) {
    let Some(key) = bytes.windows(6).position(|window| window == b"sha256") else { return };
    let Some(gap) = bytes[key + 6..].iter().position(u8::is_ascii_hexdigit) else { return };
    let place = key + 6 + gap..key + 6 + gap + 64;
    if bytes.get(place.clone()).is_none_or(|digits| !digits.iter().all(u8::is_ascii_hexdigit)) {
        return;
    }
    bytes[place.clone()].fill(b'0');
    let digest: String = Sha256::digest(&*bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    bytes[place].copy_from_slice(digest.as_bytes());
}
