//! The sources of texts: the bundled story, named corpora, files and standard input.
//!
//! The library does not read the environment. The variables that affect corpora are read here.

use std::env;
use std::io::{IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};

use rnnlm_vocab::corpora::{CorpusEntry, CorpusList, fetch};
use rnnlm_vocab::{
    Corpus, CorpusOptions, DroppedLetters, LineEndConversion, Normalization, Source, TextEncoding, TokenKind, Vocab,
};

use crate::available_memory::available_memory;
use crate::failure::{Failure, Result};
use crate::human;
use crate::progress::{DownloadProgress, ReadingProgress, error_line};

/// The bundled story.
const SAMPLE: &str = include_str!("../../../data/sample.txt");
/// The named corpora.
const LIST: &str = include_str!("../../../data/corpora.toml");
/// The variable with a folder of corpora.
pub(crate) const DATA_DIR: &str = "RNNLM_DATA_DIR";

/// The source of a text.
#[derive(Debug)]
pub(crate) enum TextSource {
    /// The bundled story.
    Bundled(CorpusEntry),
    /// A named corpus, with the path of its file.
    Named(CorpusEntry, PathBuf),
    /// A file.
    Path(PathBuf),
    /// `-`.
    StandardInput,
}

/// The named corpora.
pub(crate) fn list() -> CorpusList {
    toml::from_str(LIST).expect("corpora.toml is compiled in, and a test reads it")
}

/// The names of all named corpora, for messages.
pub(crate) fn names() -> String {
    let names: Vec<String> = list().corpus.into_iter().map(|entry| entry.name).collect();
    names.join(", ")
}

/// The name of a file without its extension, in characters that every file system accepts.
pub(crate) fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

/// The folders that are searched for named corpora: `$RNNLM_DATA_DIR`, then `data`.
pub(crate) fn folders() -> Vec<PathBuf> {
    let configured = env::var_os(DATA_DIR).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    configured.into_iter().chain([PathBuf::from("data")]).collect()
}

/// The folder of downloaded corpora.
pub(crate) fn cache() -> PathBuf {
    dirs::cache_dir().unwrap_or_else(env::temp_dir).join("rnnlm")
}

/// The text with this name or path. A named corpus that no folder has is downloaded.
pub(crate) fn resolve(name: &str) -> Result<TextSource> {
    if name == "-" {
        return Ok(TextSource::StandardInput);
    }
    if let Some(entry) = list().get(name) {
        return match entry.bundled {
            true => Ok(TextSource::Bundled(entry.clone())),
            false => Ok(TextSource::Named(entry.clone(), find_or_download(entry)?)),
        };
    }
    let looks_like_a_name = !name.contains(['/', '\\', '.']) && !Path::new(name).exists();
    if looks_like_a_name {
        let hint = format!("the named corpora are {}; any other value is a path", names());
        return Err(Failure::failed(format!("no corpus or file is called `{name}`")).with_hint(hint));
    }
    Ok(TextSource::Path(PathBuf::from(name)))
}

/// The path of a named corpus, which is downloaded if no folder has it.
pub(crate) fn find_or_download(entry: &CorpusEntry) -> Result<PathBuf> {
    // a variable that is empty is not set
    let proxy = ["https_proxy", "HTTPS_PROXY"].iter().filter_map(|name| env::var(name).ok());
    let proxy = proxy.map(|url| url.trim().to_owned()).find(|url| !url.is_empty());
    let mut progress = DownloadProgress::new(&entry.name);
    Ok(fetch(entry, &folders(), &cache(), proxy.as_deref(), &mut |received, total| progress.update(received, total))?)
}

/// The default of `--normalize`: the book's normalization for named corpora, none for other texts.
pub(crate) fn default_normalization(is_named: bool) -> Normalization {
    if is_named { Normalization::Book } else { Normalization::None }
}

/// The default of `--line-ends`: `lf`, so that a text has the same ids on every system, but `keep` for bytes.
pub(crate) fn default_line_ends(kind: TokenKind) -> LineEndConversion {
    if kind == TokenKind::Byte { LineEndConversion::Keep } else { LineEndConversion::Lf }
}

/// The default of `--max-tokens`: the book's 10,000 for named corpora, all tokens (0) for other texts.
pub(crate) fn default_max_tokens(is_named: bool) -> usize {
    if is_named { 10_000 } else { 0 }
}

impl TextSource {
    /// The default of `--normalize`.
    pub(crate) fn default_normalization(&self) -> Normalization {
        default_normalization(self.is_named())
    }

    /// The default of `--max-tokens`.
    pub(crate) fn default_max_tokens(&self) -> usize {
        default_max_tokens(self.is_named())
    }

    /// Whether it is a named corpus, bundled or not.
    fn is_named(&self) -> bool {
        matches!(self, Self::Bundled(_) | Self::Named(..))
    }

    /// Whether it is standard input, and that is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::StandardInput) && stdin().is_terminal()
    }

    /// A short name for the folder of a run.
    pub(crate) fn stem(&self) -> String {
        match self {
            Self::Bundled(entry) | Self::Named(entry, _) => entry.name.clone(),
            Self::StandardInput => "stdin".to_owned(),
            Self::Path(path) => stem(path),
        }
    }

    /// Reads the text and builds a vocabulary from it.
    pub(crate) fn read(&self, options: &CorpusOptions) -> Result<Corpus> {
        let corpus = Corpus::read(self.open()?, options)?;
        print_warnings(&corpus);
        Ok(corpus)
    }

    /// Reads the text with an existing vocabulary.
    pub(crate) fn encode(&self, vocab: Vocab, max_tokens: usize, encoding: TextEncoding) -> Result<Corpus> {
        let corpus = Corpus::encode(self.open()?, vocab, max_tokens, encoding)?;
        print_warnings(&corpus);
        Ok(corpus)
    }

    /// Reads the text with an existing vocabulary, and appends the tokens that it does not have.
    pub(crate) fn extend(&self, vocab: &Vocab, options: &CorpusOptions) -> Result<Corpus> {
        let corpus = Corpus::extend([Ok(self.open()?)], vocab, options)?;
        print_warnings(&corpus);
        Ok(corpus)
    }

    /// Reads the bytes of the text into memory.
    pub(crate) fn read_to_end(&self) -> Result<Vec<u8>> {
        Ok(self.open()?.read_to_end()?)
    }

    /// Opens the text. Reading it may take the memory that is available now.
    fn open(&self) -> Result<Source<'static>> {
        let (source, name) = match self {
            Self::Bundled(entry) => (Source::from_bytes(SAMPLE.as_bytes()), entry.name.clone()),
            Self::Named(_, path) | Self::Path(path) => (Source::open(path)?, path.display().to_string()),
            Self::StandardInput => (Source::from_reader(open_stdin()?, STANDARD_INPUT), STANDARD_INPUT.to_owned()),
        };
        let source = source.with_memory_limit(available_memory().unwrap_or(u64::MAX));
        let mut progress = ReadingProgress::new(&name, source.len());
        Ok(source.with_progress(move |bytes| progress.update(bytes)))
    }
}

/// Prints a warning if the text was probably not read as it is meant.
fn print_warnings(corpus: &Corpus) {
    if corpus.is_likely_utf_16 {
        let advice = "--encoding utf-16le or utf-16be reads it";
        error_line(&format!("warning: the text is probably UTF-16 without a byte order mark; {advice}"));
    }
    let dropped = &corpus.dropped_letters;
    if dropped.count() > 0 {
        let letters = human::count(dropped.count(), "letter");
        let more = if dropped.examples().len() == DroppedLetters::MAX_EXAMPLES { " …" } else { "" };
        error_line(&format!(
            "warning: normalization `book` dropped {letters} that are not among A-Z: {dropped}{more}; \
             --normalize lower keeps them"
        ));
    }
}

/// The name of standard input in messages.
const STANDARD_INPUT: &str = "standard input";

/// Standard input; an error if it is a terminal, where the command would seem to hang.
fn open_stdin() -> Result<impl Read> {
    if stdin().is_terminal() {
        return Err(Failure::usage("standard input is a terminal, not a text")
            .with_hint("redirect a file: rnnlm train --corpus - < text.txt"));
    }
    Ok(stdin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_the_bundled_story_has_its_size_and_checksum() {
        let list = list();
        let sample = list.get("sample").expect("the story has an entry");
        assert!(sample.bundled);
        assert_eq!(sample.bytes, SAMPLE.len() as u64);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
        sample.find(&[folder]).expect("the file has the checksum of the entry");
    }

    #[test]
    fn the_folder_of_a_run_is_named_after_its_text() {
        assert_eq!(TextSource::Path(PathBuf::from("some/My names (2).txt")).stem(), "My-names--2-");
        assert_eq!(TextSource::StandardInput.stem(), "stdin");
    }
}
