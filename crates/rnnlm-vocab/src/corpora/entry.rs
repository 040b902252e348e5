//! The list of named corpora, the search for a corpus in folders, and the verification of its checksum.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha1::{Digest, Sha1};

use crate::error::{Attempt, Error, Result, count};

/// The description of a corpus and the checksum of its file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusEntry {
    /// The name, in lowercase letters, digits, `-` and `_`. The file is `NAME.txt`.
    pub name: String,
    /// A description in one sentence.
    pub description: String,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The SHA-1 of the file, in hexadecimal digits.
    pub sha1: String,
    /// The https URL of the file, if it can be downloaded.
    #[serde(default)]
    pub url: Option<String>,
    /// The source of the text, in words.
    pub source: String,
    /// The web page of the source.
    #[serde(default)]
    pub source_page: Option<String>,
    /// The licence.
    pub licence: String,
    /// Whether the corpus is part of the program, so that no search is needed.
    #[serde(default)]
    pub bundled: bool,
}

/// A list of corpora.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusList {
    /// The entries, in display order.
    pub corpus: Vec<CorpusEntry>,
}

impl CorpusList {
    /// The entry with this name, or `None`.
    pub fn get(&self, name: &str) -> Option<&CorpusEntry> {
        self.corpus.iter().find(|entry| entry.name == name)
    }
}

impl CorpusEntry {
    /// `NAME.txt` in `folder`.
    ///
    /// # Errors
    ///
    /// [`Error::CorpusName`], so that no name escapes from the folder.
    pub fn path_in(&self, folder: &Path) -> Result<PathBuf> {
        let name = &self.name;
        let is_allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        match !name.is_empty() && name.bytes().all(is_allowed) {
            true => Ok(folder.join(format!("{name}.txt"))),
            false => Err(Error::CorpusName { name: name.clone() }),
        }
    }

    /// The path of the corpus in the first of `folders` that has it with the right checksum.
    ///
    /// # Errors
    ///
    /// [`Error::WrongCorpus`] for the first file with the right name and different content, if no folder has the right
    /// file; [`Error::CorpusUnavailable`] if no folder has a file of this name; [`Error::CorpusName`].
    pub fn find(&self, folders: &[impl AsRef<Path>]) -> Result<PathBuf> {
        match self.search(folders)? {
            Search::Found(path) => Ok(path),
            Search::NotFound { wrong: Some(wrong), .. } => Err(wrong),
            Search::NotFound { tried, wrong: None } => Err(self.unavailable(tried, folders.first().map(AsRef::as_ref))),
        }
    }

    /// Searches `folders` in order. Stops at the first file with the right checksum.
    pub(super) fn search(&self, folders: &[impl AsRef<Path>]) -> Result<Search> {
        let mut tried = Vec::new();
        let mut wrong = None;
        for folder in folders {
            let path = self.path_in(folder.as_ref())?;
            let reason = match self.verify_file(&path) {
                Ok(Verification::Match) => return Ok(Search::Found(path)),
                Ok(Verification::Mismatch { bytes, sha1 }) => {
                    let reason = format!("{} with SHA-1 {sha1}", count(bytes, "byte"));
                    wrong.get_or_insert(self.wrong_corpus(&path, bytes, sha1));
                    reason
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => "does not exist".to_owned(),
                Err(error) => error.to_string(),
            };
            tried.push(Attempt { location: path.display().to_string(), reason });
        }
        Ok(Search::NotFound { tried, wrong })
    }

    fn verify_file(&self, path: &Path) -> io::Result<Verification> {
        // Checked before opening, because opening a named pipe blocks until a writer opens it.
        if !path.metadata()?.is_file() {
            return Err(io::Error::other("is not a regular file"));
        }
        let mut file = File::open(path)?;
        let mut checksum = Checksum::default();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(self.verify(checksum)),
                length => checksum.update(&chunk[..length]),
            }
        }
    }

    /// Compares length and SHA-1 of a file with those of this entry.
    pub(super) fn verify(&self, checksum: Checksum) -> Verification {
        let (bytes, sha1) = checksum.finish();
        match bytes == self.bytes && sha1.eq_ignore_ascii_case(&self.sha1) {
            true => Verification::Match,
            false => Verification::Mismatch { bytes, sha1 },
        }
    }

    fn wrong_corpus(&self, path: &Path, found_bytes: u64, found_sha1: String) -> Error {
        Error::WrongCorpus {
            name: self.name.clone(),
            path: path.to_owned(),
            found_bytes,
            found_sha1,
            expected_bytes: self.bytes,
            expected_sha1: self.sha1.clone(),
        }
    }

    /// The error for a corpus that no location provided, with the advice to put a copy into `folder`.
    pub(super) fn unavailable(&self, tried: Vec<Attempt>, folder: Option<&Path>) -> Error {
        let Self { name, bytes, sha1, source, .. } = self;
        let path = folder.and_then(|folder| self.path_in(folder).ok());
        let location =
            path.map_or("in one of the searched folders".to_owned(), |path| format!("at `{}`", path.display()));
        let page = self.source_page.as_ref().map_or(String::new(), |page| format!(", {page}"));
        let advice = format!("put a copy of {bytes} bytes with SHA-1 {sha1} {location} (text: {source}{page})");
        Error::CorpusUnavailable { name: name.clone(), tried, advice }
    }
}

/// The result of a search.
pub(super) enum Search {
    Found(PathBuf),
    NotFound {
        /// The locations searched, in order.
        tried: Vec<Attempt>,
        /// The error for the first file with the right name and different content.
        wrong: Option<Error>,
    },
}

/// The result of a checksum comparison.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verification {
    Match,
    Mismatch { bytes: u64, sha1: String },
}

/// The buffer size for reading a file or a response.
pub(super) const CHUNK_BYTES: usize = 1 << 16;

/// The length and the SHA-1 of the data so far.
#[derive(Default)]
pub(super) struct Checksum {
    bytes: u64,
    sha1: Sha1,
}

impl Checksum {
    pub(super) fn update(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.sha1.update(chunk);
    }

    fn finish(self) -> (u64, String) {
        let digest = self.sha1.finalize();
        (self.bytes, digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The example in FIPS 180: the SHA-1 of `abc`.
    pub(crate) fn abc() -> CorpusEntry {
        CorpusEntry {
            name: "abc".to_owned(),
            description: "three letters".to_owned(),
            bytes: 3,
            sha1: "a9993e364706816aba3e25717850c26c9cd0d89d".to_owned(),
            url: None,
            source: "FIPS 180".to_owned(),
            source_page: Some("https://example.org/180".to_owned()),
            licence: "public domain".to_owned(),
            bundled: false,
        }
    }

    fn folder_with(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("abc.txt"), text).unwrap();
        folder
    }

    #[test]
    fn the_first_file_with_the_right_checksum_is_used() {
        let (empty, wrong, right) = (tempfile::tempdir().unwrap(), folder_with("abd"), folder_with("abc"));
        let found = abc().find(&[empty.path(), wrong.path(), right.path()]).unwrap();
        assert_eq!(found, right.path().join("abc.txt"));
    }

    #[test]
    fn a_wrong_file_is_reported_with_both_checksums() {
        let (wrong, empty) = (folder_with("abcd"), tempfile::tempdir().unwrap());
        let error = abc().find(&[wrong.path(), empty.path()]).unwrap_err().to_string();
        let expected = format!(
            "`{}` is not corpus `abc`: 4 bytes with SHA-1 81fe8bfe87576c3ecb22426f8e57847382917acf, expected 3 bytes \
             with SHA-1 a9993e364706816aba3e25717850c26c9cd0d89d; move the file, or pass its path instead of the corpus name",
            wrong.path().join("abc.txt").display()
        );
        assert_eq!(error, expected);
    }

    #[test]
    fn a_failed_search_reports_every_location_and_how_to_add_the_corpus() {
        let (empty, odd) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(odd.path().join("abc.txt")).unwrap();
        let path = |folder: &tempfile::TempDir| folder.path().join("abc.txt").display().to_string();
        let error = abc().find(&[empty.path(), odd.path()]).unwrap_err().to_string();
        let expected = format!(
            "corpus `abc` is not available: `{0}`: does not exist; `{1}`: is not a regular file; put a copy of 3 bytes \
             with SHA-1 a9993e364706816aba3e25717850c26c9cd0d89d at `{0}` (text: FIPS 180, \
             https://example.org/180)",
            path(&empty),
            path(&odd)
        );
        assert_eq!(error, expected);
        let nowhere = abc().find(&[] as &[&Path]).unwrap_err().to_string();
        assert!(nowhere.starts_with("corpus `abc` is not available: no folder was searched; "), "{nowhere}");
    }

    #[test]
    fn a_name_cannot_escape_from_the_folder() {
        for name in ["", "../abc", "a/b", "C:abc", "Abc", "."] {
            let error = CorpusEntry { name: name.to_owned(), ..abc() }.find(&["."]).unwrap_err();
            assert!(matches!(error, Error::CorpusName { .. }), "{name}: {error}");
        }
    }
}
