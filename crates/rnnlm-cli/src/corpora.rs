//! The sources of texts: the bundled story, named corpora, files and standard input.
//!
//! The library does not read the environment. The variables that affect corpora are read here.

use std::env;
use std::io::{IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};

use rnnlm_vocab::corpora::{CorpusEntry, CorpusList, fetch};
use rnnlm_vocab::{
    Corpus, CorpusOptions, DroppedLetters, LineEndConversion, Normalization, Source, TextEncoding, TokenCache,
    TokenKind, Vocab,
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
    /// The folder of a token cache.
    Cache(PathBuf),
    /// Several files, as one text.
    Several(Vec<TextSource>),
}

/// The separator of the names of several texts, which are stored as one name.
pub(crate) const NAME_SEPARATOR: char = '\n';

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

/// The text with this name or path, or with these names, one a line. A folder is a token cache or all of its files, and a
/// path that does not exist can be a pattern. A named corpus that no folder has is downloaded.
pub(crate) fn resolve(name: &str) -> Result<TextSource> {
    if name.contains(NAME_SEPARATOR) {
        let mut sources = Vec::new();
        for name in name.split(NAME_SEPARATOR) {
            match resolve(name)? {
                TextSource::Several(more) => sources.extend(more),
                TextSource::StandardInput | TextSource::Cache(_) => {
                    return Err(Failure::usage(format!("`{name}` cannot be combined with other texts")));
                }
                source => sources.push(source),
            }
        }
        return Ok(TextSource::Several(sources));
    }
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
    let path = Path::new(name);
    if path.is_dir() {
        return match TokenCache::is_cache(path) {
            true => Ok(TextSource::Cache(path.to_owned())),
            false => several(name, files_of_folder(path)?),
        };
    }
    if !path.exists() && name.contains(['*', '?', '[']) {
        return several(name, files_of_pattern(name)?);
    }
    Ok(TextSource::Path(path.to_owned()))
}

/// The files of a folder or a pattern as one text.
fn several(name: &str, mut paths: Vec<PathBuf>) -> Result<TextSource> {
    if paths.is_empty() {
        let kind = if Path::new(name).is_dir() { "is a folder" } else { "is a pattern" };
        return Err(Failure::failed(format!("`{name}` {kind} without files")));
    }
    paths.sort();
    Ok(TextSource::Several(paths.into_iter().map(TextSource::Path).collect()))
}

/// The files in a folder, without those in its folders and hidden ones.
fn files_of_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let to_failure = |source| rnnlm_vocab::Error::Read { name: folder.display().to_string(), source };
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(to_failure)? {
        let entry = entry.map_err(to_failure)?;
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if entry.path().is_file() && !is_hidden {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// The files that match a pattern such as `texts/*.txt`.
fn files_of_pattern(pattern: &str) -> Result<Vec<PathBuf>> {
    let matches = glob::glob(pattern)
        .map_err(|error| Failure::failed(format!("`{pattern}` is no file and no pattern of files: {error}")))?;
    let paths: Result<Vec<PathBuf>, _> = matches.collect();
    let paths = paths.map_err(|error| {
        let name = error.path().display().to_string();
        rnnlm_vocab::Error::Read { name, source: error.into() }
    })?;
    Ok(paths.into_iter().filter(|path| path.is_file()).collect())
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

    /// Whether it is standard input.
    pub(crate) fn is_standard_input(&self) -> bool {
        matches!(self, Self::StandardInput)
    }

    /// A short name for the folder of a run.
    pub(crate) fn stem(&self) -> String {
        match self {
            Self::Bundled(entry) | Self::Named(entry, _) => entry.name.clone(),
            Self::StandardInput => "stdin".to_owned(),
            Self::Path(path) | Self::Cache(path) => stem(path),
            Self::Several(sources) => sources.first().map_or_else(String::new, Self::stem),
        }
    }

    /// Reads the text and builds a vocabulary from it. A token cache has its own options and vocabulary.
    pub(crate) fn read(&self, options: &CorpusOptions) -> Result<Corpus> {
        let corpus = match self {
            Self::Cache(path) => open_cache(path)?.load(options.max_tokens)?,
            _ => Corpus::read_files(self.files()?, options)?,
        };
        print_warnings(&corpus);
        Ok(corpus)
    }

    /// Reads the text with an existing vocabulary, which must be that of a token cache.
    pub(crate) fn encode(&self, vocab: Vocab, max_tokens: usize, encoding: TextEncoding) -> Result<Corpus> {
        if let Self::Cache(path) = self {
            let cache = open_cache(path)?;
            cache.check_vocab(&vocab)?;
            return Ok(cache.load(max_tokens)?);
        }
        let corpus = Corpus::encode_files(self.files()?, vocab, max_tokens, encoding)?;
        print_warnings(&corpus);
        Ok(corpus)
    }

    /// Reads the text with an existing vocabulary, and appends the tokens that it does not have.
    pub(crate) fn extend(&self, vocab: &Vocab, options: &CorpusOptions) -> Result<Corpus> {
        if let Self::Cache(path) = self {
            let message = format!("`{}` is a token cache, whose vocabulary cannot be extended", path.display());
            return Err(Failure::usage(message).with_hint("name the text of the cache"));
        }
        let corpus = Corpus::extend(self.files()?, vocab, options)?;
        print_warnings(&corpus);
        Ok(corpus)
    }

    /// The paths of the files of the text; `None` if it is not made of files.
    pub(crate) fn paths(&self) -> Option<Vec<PathBuf>> {
        match self {
            Self::Named(_, path) | Self::Path(path) => Some(vec![path.clone()]),
            Self::Several(sources) => {
                let paths: Option<Vec<Vec<PathBuf>>> = sources.iter().map(Self::paths).collect();
                paths.map(|paths| paths.concat())
            }
            Self::Bundled(_) | Self::StandardInput | Self::Cache(_) => None,
        }
    }

    /// The files of the text, which are opened one after the other.
    pub(crate) fn files(&self) -> Result<Box<dyn Iterator<Item = rnnlm_vocab::Result<Source<'static>>> + '_>> {
        match self {
            Self::StandardInput => {
                let source = Source::from_reader(open_stdin()?, STANDARD_INPUT);
                Ok(Box::new(std::iter::once(Ok(with_progress(source, STANDARD_INPUT)))))
            }
            Self::Several(sources) => Ok(Box::new(sources.iter().map(Self::open_file))),
            _ => Ok(Box::new(std::iter::once_with(|| self.open_file()))),
        }
    }

    /// Opens a text that is one file.
    fn open_file(&self) -> rnnlm_vocab::Result<Source<'static>> {
        match self {
            Self::Bundled(entry) => Ok(with_progress(Source::from_bytes(SAMPLE.as_bytes()), &entry.name)),
            Self::Named(_, path) | Self::Path(path) | Self::Cache(path) => {
                Ok(with_progress(Source::open(path)?, &path.display().to_string()))
            }
            Self::StandardInput | Self::Several(_) => {
                Err(rnnlm_vocab::Error::Missing { path: STANDARD_INPUT.into() }) // only files are combined
            }
        }
    }

    /// Reads the bytes of the text into memory.
    pub(crate) fn read_to_end(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for source in self.files()? {
            bytes.append(&mut source?.read_to_end()?);
        }
        Ok(bytes)
    }
}

/// A source that may take the memory that is available now, and reports its progress.
fn with_progress(source: Source<'static>, name: &str) -> Source<'static> {
    let source = source.with_memory_limit(available_memory().unwrap_or(u64::MAX));
    let mut progress = ReadingProgress::new(name, source.len());
    source.with_progress(move |bytes| progress.update(bytes))
}

/// Opens a token cache whose text has not changed.
pub(crate) fn open_cache(folder: &Path) -> Result<TokenCache> {
    let cache = TokenCache::open(folder)?;
    cache.check_texts()?;
    Ok(cache)
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
