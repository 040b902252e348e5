//! Before stage 1 of the walk: a text by its name. A corpus is looked for in the folders that the caller names, in
//! order, and used only if its length and SHA-1 are those on record.
//!
//! The records themselves are the caller's: [`CorpusList`] can be read from any format that serde reads.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha1::{Digest, Sha1};

use crate::error::{Attempt, Error, Result};

#[cfg(feature = "download")]
pub use crate::download::fetch;

/// What is on record about a corpus.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusEntry {
    /// Its name: lower-case letters, digits, `-`, `_`. Its file is called `NAME.txt`.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
    /// The length of its file.
    pub bytes: u64,
    /// The SHA-1 of its file, in lower-case hexadecimal digits.
    pub sha1: String,
    /// Where its file can be downloaded over https, if anywhere.
    #[serde(default)]
    pub url: Option<String>,
    /// Where its text comes from, in words.
    pub source: String,
    /// The page that says so.
    #[serde(default)]
    pub source_page: Option<String>,
    /// The terms under which it may be used.
    pub licence: String,
    /// Whether it is handed out with the program and so needs no search.
    #[serde(default)]
    pub bundled: bool,
}

/// Several corpora on record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusList {
    /// In the order in which they are to be shown.
    pub corpus: Vec<CorpusEntry>,
}

impl CorpusList {
    /// The corpus of this name, or nothing if there is none on record.
    pub fn get(&self, name: &str) -> Option<&CorpusEntry> {
        self.corpus.iter().find(|entry| entry.name == name)
    }
}

impl CorpusEntry {
    /// `NAME.txt` in `folder`.
    ///
    /// # Errors
    ///
    /// [`Error::CorpusName`], so that no name leads out of the folder.
    pub fn path_in(&self, folder: &Path) -> Result<PathBuf> {
        let name = &self.name;
        let plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        match !name.is_empty() && name.bytes().all(plain) {
            true => Ok(folder.join(format!("{name}.txt"))),
            false => Err(Error::CorpusName { name: name.clone() }),
        }
    }

    /// The path of the corpus in the first of `folders` that has it unaltered.
    ///
    /// # Errors
    ///
    /// [`Error::WrongCorpus`] for the first file of that name and other content, if no folder has the right one;
    /// [`Error::CorpusUnavailable`] if no folder has a file of that name; [`Error::CorpusName`].
    pub fn find(&self, folders: &[impl AsRef<Path>]) -> Result<PathBuf> {
        match self.search(folders)? {
            Search::Found(path) => Ok(path),
            Search::Missed { wrong: Some(wrong), .. } => Err(wrong),
            Search::Missed { tried, wrong: None } => Err(self.unavailable(tried, folders.first().map(AsRef::as_ref))),
        }
    }

    pub(crate) fn search(&self, folders: &[impl AsRef<Path>]) -> Result<Search> {
        let mut tried = Vec::new();
        let mut wrong = None;
        for folder in folders {
            let path = self.path_in(folder.as_ref())?;
            let reason = match self.verify(&path) {
                Ok(Verdict::Right) => return Ok(Search::Found(path)),
                Ok(Verdict::Wrong { bytes, sha1 }) => {
                    let reason = format!("{bytes} bytes with SHA-1 {sha1}");
                    wrong.get_or_insert(self.wrong(&path, bytes, sha1));
                    reason
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => "does not exist".to_owned(),
                Err(error) => error.to_string(),
            };
            tried.push(Attempt { place: path.display().to_string(), reason });
        }
        Ok(Search::Missed { tried, wrong })
    }

    fn verify(&self, path: &Path) -> io::Result<Verdict> {
        // Asked before opening: to open a pipe would wait for its other end.
        if !path.metadata()?.is_file() {
            return Err(io::Error::other("is not a plain file"));
        }
        let mut file = File::open(path)?;
        let mut measure = Measure::default();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(self.judge(measure)),
                length => measure.add(&chunk[..length]),
            }
        }
    }

    pub(crate) fn judge(&self, measure: Measure) -> Verdict {
        let (bytes, sha1) = measure.finish();
        match bytes == self.bytes && sha1.eq_ignore_ascii_case(&self.sha1) {
            true => Verdict::Right,
            false => Verdict::Wrong { bytes, sha1 },
        }
    }

    fn wrong(&self, path: &Path, found_bytes: u64, found_sha1: String) -> Error {
        Error::WrongCorpus {
            name: self.name.clone(),
            path: path.to_owned(),
            found_bytes,
            found_sha1,
            expected_bytes: self.bytes,
            expected_sha1: self.sha1.clone(),
        }
    }

    /// The error for a corpus that no place gave, with the advice to put a copy into `folder`.
    pub(crate) fn unavailable(&self, tried: Vec<Attempt>, folder: Option<&Path>) -> Error {
        let Self { name, bytes, sha1, source, .. } = self;
        let place = folder.and_then(|folder| self.path_in(folder).ok());
        let place = place.map_or("in a folder that is searched".to_owned(), |path| format!("at `{}`", path.display()));
        let page = self.source_page.as_ref().map_or(String::new(), |page| format!(", {page}"));
        let advice = format!("a copy of {bytes} bytes with SHA-1 {sha1} may be put {place} (text: {source}{page})");
        Error::CorpusUnavailable { name: name.clone(), tried, advice }
    }
}

/// What a search came to.
pub(crate) enum Search {
    Found(PathBuf),
    Missed {
        /// Every place in order.
        tried: Vec<Attempt>,
        /// About the first file of the right name and the wrong content.
        wrong: Option<Error>,
    },
}

/// What a file's content is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong { bytes: u64, sha1: String },
}

pub(crate) const CHUNK_BYTES: usize = 1 << 16;

/// Length and digest of what has been seen so far.
#[derive(Default)]
pub(crate) struct Measure {
    bytes: u64,
    sha1: Sha1,
}

impl Measure {
    pub(crate) fn add(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.sha1.update(chunk);
    }

    fn finish(self) -> (u64, String) {
        let digest = self.sha1.finalize();
        (self.bytes, digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// FIPS 180's own example: the SHA-1 of `abc`.
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
    fn the_first_unaltered_file_is_taken() {
        let (empty, wrong, right) = (tempfile::tempdir().unwrap(), folder_with("abd"), folder_with("abc"));
        let found = abc().find(&[empty.path(), wrong.path(), right.path()]).unwrap();
        assert_eq!(found, right.path().join("abc.txt"));
    }

    #[test]
    fn an_altered_file_is_reported_with_both_digests() {
        let (wrong, empty) = (folder_with("abcd"), tempfile::tempdir().unwrap());
        let error = abc().find(&[wrong.path(), empty.path()]).unwrap_err().to_string();
        let expected = format!(
            "`{}` is not corpus `abc`: 4 bytes with SHA-1 81fe8bfe87576c3ecb22426f8e57847382917acf, expected 3 bytes \
             with SHA-1 a9993e364706816aba3e25717850c26c9cd0d89d; move it away, or use it by its path instead of by name",
            wrong.path().join("abc.txt").display()
        );
        assert_eq!(error, expected);
    }

    #[test]
    fn a_search_in_vain_names_every_place_and_what_to_put_where() {
        let (empty, odd) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(odd.path().join("abc.txt")).unwrap();
        let path = |folder: &tempfile::TempDir| folder.path().join("abc.txt").display().to_string();
        let error = abc().find(&[empty.path(), odd.path()]).unwrap_err().to_string();
        let expected = format!(
            "corpus `abc` is not available: `{0}`: does not exist; `{1}`: is not a plain file; a copy of 3 bytes with \
             SHA-1 a9993e364706816aba3e25717850c26c9cd0d89d may be put at `{0}` (text: FIPS 180, \
             https://example.org/180)",
            path(&empty),
            path(&odd)
        );
        assert_eq!(error, expected);
        let nowhere = abc().find(&[] as &[&Path]).unwrap_err().to_string();
        assert!(nowhere.starts_with("corpus `abc` is not available: no place to look was given; "), "{nowhere}");
    }

    #[test]
    fn a_name_cannot_lead_out_of_its_folder() {
        for name in ["", "../abc", "a/b", "C:abc", "Abc", "."] {
            let error = CorpusEntry { name: name.to_owned(), ..abc() }.find(&["."]).unwrap_err();
            assert!(matches!(error, Error::CorpusName { .. }), "{name}: {error}");
        }
    }
}
