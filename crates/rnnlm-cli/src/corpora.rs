//! Where texts come from: bundled, by name, by path, or from standard input. This is where the environment is read that
//! the library leaves to its callers.

use std::env;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

use rnnlm_vocab::corpora::{CorpusEntry, CorpusList, fetch};
use rnnlm_vocab::{Corpus, CorpusOptions, Normalization, Vocab};

use crate::failure::{Exit, Failure, Result};
use crate::progress;

/// The story that comes with the program.
const SAMPLE: &str = include_str!("../../../data/sample.txt");
/// What is on record.
const LIST: &str = include_str!("../../../data/corpora.toml");

/// A text that has been asked for.
#[derive(Debug)]
pub(crate) enum Source {
    /// The story within the program.
    Bundled(CorpusEntry),
    /// Found by name or downloaded; its path.
    Named(CorpusEntry, PathBuf),
    /// A file of the user's.
    Path(PathBuf),
    /// `-`.
    StandardInput,
}

/// Every corpus on record.
pub(crate) fn list() -> CorpusList {
    toml::from_str(LIST).expect("corpora.toml is part of the program, and a test reads it")
}

/// A file's name as a part of a folder's.
pub(crate) fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

/// Where named corpora are looked for: the folder that the user names, and the one beside the user's work.
pub(crate) fn folders() -> Vec<PathBuf> {
    let named = env::var_os("RNNLM_DATA_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    named.into_iter().chain([PathBuf::from("data")]).collect()
}

/// Where downloads are kept.
pub(crate) fn cache() -> PathBuf {
    dirs::cache_dir().unwrap_or_else(env::temp_dir).join("rnnlm")
}

/// Finds the text, downloading it if it has a name and is nowhere.
pub(crate) fn resolve(name: &str) -> Result<Source> {
    if name == "-" {
        return Ok(Source::StandardInput);
    }
    if let Some(entry) = list().get(name) {
        return match entry.bundled {
            true => Ok(Source::Bundled(entry.clone())),
            false => Ok(Source::Named(entry.clone(), find(entry)?)),
        };
    }
    let looks_like_a_name = !name.contains(['/', '\\', '.']) && !Path::new(name).exists();
    if looks_like_a_name {
        let names: Vec<String> = list().corpus.into_iter().map(|entry| entry.name).collect();
        return Err(Failure::new(
            format!("there is no corpus `{name}`, by name or as a file"),
            format!("known names are {}; anything else is a path", names.join(", ")),
        ));
    }
    Ok(Source::Path(PathBuf::from(name)))
}

/// The path of a corpus on record.
pub(crate) fn find(entry: &CorpusEntry) -> Result<PathBuf> {
    let proxy = ["https_proxy", "HTTPS_PROXY"].iter().find_map(|name| env::var(name).ok());
    let mut bar = progress::Download::new(&entry.name);
    Ok(fetch(entry, &folders(), &cache(), proxy.as_deref(), &mut |have, total| bar.update(have, total))?)
}

/// What is done to a text unless something else is asked for: the book's preparation for texts on record, nothing to the
/// user's own.
pub(crate) fn default_normalization(on_record: bool) -> Normalization {
    if on_record { Normalization::Book } else { Normalization::None }
}

/// How many tokens are trained on unless something else is asked for: the book's for texts on record, all of the user's
/// own.
pub(crate) fn default_max_tokens(on_record: bool) -> usize {
    if on_record { 10_000 } else { 0 }
}

impl Source {
    /// What is done to the text unless something else is asked for.
    pub(crate) fn default_normalization(&self) -> Normalization {
        default_normalization(self.is_on_record())
    }

    /// Whether it is one of the texts that have names.
    pub(crate) fn is_on_record(&self) -> bool {
        matches!(self, Self::Bundled(_) | Self::Named(..))
    }

    /// A short name, for the run's folder.
    pub(crate) fn stem(&self) -> String {
        match self {
            Self::Bundled(entry) | Self::Named(entry, _) => entry.name.clone(),
            Self::StandardInput => "stdin".to_owned(),
            Self::Path(path) => stem(path),
        }
    }

    /// Reads the text and builds its vocabulary.
    pub(crate) fn read(&self, options: &CorpusOptions) -> Result<Corpus> {
        Ok(match self {
            Self::Bundled(_) => Corpus::from_bytes(SAMPLE.as_bytes(), options)?,
            Self::Named(_, path) | Self::Path(path) => Corpus::from_path(path, options)?,
            Self::StandardInput => Corpus::from_reader(stdin_or_refuse()?, "standard input", options)?,
        })
    }

    /// Reads the text with a vocabulary that exists.
    pub(crate) fn encode(&self, vocab: Vocab, max_tokens: usize) -> Result<Corpus> {
        Ok(match self {
            Self::Bundled(_) => Corpus::encode_bytes(SAMPLE.as_bytes(), vocab, max_tokens)?,
            Self::Named(_, path) | Self::Path(path) => Corpus::encode_path(path, vocab, max_tokens)?,
            Self::StandardInput => Corpus::encode_reader(stdin_or_refuse()?, "standard input", vocab, max_tokens)?,
        })
    }
}

/// Standard input, unless a person sits there who would wonder why nothing happens.
fn stdin_or_refuse() -> Result<impl Read> {
    if std::io::IsTerminal::is_terminal(&stdin()) {
        let message = "standard input is a terminal, a text is expected there".to_owned();
        let hint = Some("pipe a text in: rnnlm train --corpus - < text.txt".to_owned());
        return Err(Failure::Own { message, hint, exit: Exit::Usage });
    }
    Ok(stdin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_the_bundled_story_is_true() {
        let list = list();
        let sample = list.get("sample").expect("the story is on record");
        assert!(sample.bundled);
        assert_eq!(sample.bytes, SAMPLE.len() as u64);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
        sample.find(&[folder]).expect("its checksum is the one on record");
    }

    #[test]
    fn the_folder_of_a_run_is_named_after_its_text() {
        assert_eq!(Source::Path(PathBuf::from("some/My names (2).txt")).stem(), "My-names--2-");
        assert_eq!(Source::StandardInput.stem(), "stdin");
    }
}
