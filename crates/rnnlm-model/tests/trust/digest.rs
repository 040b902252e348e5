//! Updates the digest in a changed file, so that a test reaches the code after the digest check.

use sha2::{Digest, Sha256};

/// Updates the digest after the first `sha256` in the file. A file without a digest is not changed.
pub(crate) fn update(bytes: &mut [u8]) {
    let Some(key) = bytes.windows(6).position(|window| window == b"sha256") else { return };
    let Some(gap) = bytes[key + 6..].iter().position(u8::is_ascii_hexdigit) else { return };
    let range = key + 6 + gap..key + 6 + gap + 64;
    if bytes.get(range.clone()).is_none_or(|digits| !digits.iter().all(u8::is_ascii_hexdigit)) {
        return;
    }
    bytes[range.clone()].fill(b'0');
    let digest: String = Sha256::digest(&*bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    bytes[range].copy_from_slice(digest.as_bytes());
}
