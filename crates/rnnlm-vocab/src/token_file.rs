//! Stage 2, ids of other programs: the `.bin` files of nanoGPT and llm.c.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// The first number of a file of llm.c.
const MAGIC: u32 = 20_240_520;
/// Number of bytes of the header of a file of llm.c: 256 numbers of 4 bytes.
const HEADER_BYTES: usize = 1024;

/// Reads the ids in a `.bin` file of llm.c (a header of 256 32-bit integers, which starts with 20240520, the version 1 and the
/// number of ids) or of nanoGPT (no header). Ids are little-endian 16-bit integers.
///
/// # Errors
///
/// [`Error::Missing`], [`Error::Folder`], [`Error::Device`], [`Error::Read`]; [`Error::TokenFile`] if the length is not that
/// of the ids, or the version is not 1.
pub fn read_token_file(path: impl AsRef<Path>) -> Result<Vec<u32>> {
    let path = path.as_ref();
    crate::source::open(path)?;
    let bytes = fs::read(path).map_err(|source| Error::Read { name: path.display().to_string(), source })?;
    let ids = ids(&bytes).map_err(|reason| Error::TokenFile { path: path.to_owned(), reason })?;
    Ok(ids.iter().map(|&pair| u16::from_le_bytes(pair).into()).collect())
}

/// The bytes of the ids, or what is wrong.
fn ids(bytes: &[u8]) -> Result<&[[u8; 2]], String> {
    let has_header = bytes.first_chunk().is_some_and(|&first| u32::from_le_bytes(first) == MAGIC);
    let content = if has_header { bytes.get(HEADER_BYTES..).ok_or("it ends within its header")? } else { bytes };
    let (ids, rest) = content.as_chunks();
    if !rest.is_empty() {
        return Err(format!("its ids have {} bytes, an odd number", content.len()));
    }
    if ids.is_empty() {
        return Err("it has no ids".to_owned());
    }
    if has_header {
        let [version, count] =
            [4, 8].map(|at| bytes[at..].first_chunk().map_or(0, |&number| u32::from_le_bytes(number)));
        if version != 1 {
            return Err(format!("its version is {version}, only version 1 is known"));
        }
        if count as usize != ids.len() {
            return Err(format!("its header states {count} ids, it has {}", ids.len()));
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u32, count: u32) -> Vec<u8> {
        let mut header: Vec<u8> = [MAGIC, version, count].iter().flat_map(|number| number.to_le_bytes()).collect();
        header.resize(HEADER_BYTES, 0);
        header
    }

    #[test]
    fn files_with_and_without_a_header_are_read() {
        assert_eq!(ids(&[1, 0, 0, 2]).unwrap(), [[1, 0], [0, 2]]);
        assert_eq!(ids(&[header(1, 2), vec![7, 0, 255, 255]].concat()).unwrap(), [[7, 0], [255, 255]]);
        let path = std::env::temp_dir().join(format!("rnnlm-ids-{}.bin", std::process::id()));
        std::fs::write(&path, [7, 0, 255, 255]).unwrap();
        assert_eq!(read_token_file(&path).unwrap(), [7, 65_535]);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn wrong_files_are_errors() {
        let reason = |bytes: &[u8]| ids(bytes).unwrap_err();
        assert_eq!(reason(&[]), "it has no ids");
        assert_eq!(reason(&[1, 0, 2]), "its ids have 3 bytes, an odd number");
        assert_eq!(reason(&header(1, 2)[..100]), "it ends within its header");
        assert_eq!(reason(&[header(2, 1), vec![7, 0]].concat()), "its version is 2, only version 1 is known");
        assert_eq!(reason(&[header(1, 2), vec![7, 0]].concat()), "its header states 2 ids, it has 1");
    }
}
