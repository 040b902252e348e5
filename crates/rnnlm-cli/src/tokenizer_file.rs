//! The file of `--tokenizer`: the tokenizer.json of a tokenizer of subwords.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rnnlm_model::Run;
use rnnlm_vocab::{Documents, Error, LineEndConversion, Vocab, load_subwords};

use crate::failure::{Failure, Result};

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 28;

/// The vocabulary of the tokenizer in `path`.
///
/// # Errors
/// If the file cannot be read, is not a tokenizer that can be used, or has no token that ends documents.
pub(crate) fn vocab(path: &Path, line_ends: LineEndConversion, documents: Documents) -> Result<Vocab> {
    let json = read(path)?;
    let tokenizer = load_subwords(&json).map_err(|error| match error {
        Error::Tokenizer { reason } => Failure::failed(format!("`{}` cannot be used: {reason}", path.display())),
        error => error.into(),
    })?;
    let vocab = Vocab::from_tokenizer(tokenizer)?.with_line_ends(line_ends);
    vocab.with_documents(documents).map_err(|error| {
        let hint = "a tokenizer of `rnnlm corpus bpe` has the token <eos>; omit --documents to read one stream";
        Failure::failed(format!("`{}`: {error}", path.display())).with_hint(hint)
    })
}

/// An error if the tokenizer in `path` is not that of the run.
///
/// # Errors
/// If the file cannot be read or is another one, or if the run has no tokenizer.
pub(crate) fn require_same(path: &Path, run: &Run) -> Result<()> {
    let json = read(path)?;
    let (path, folder) = (path.display(), run.path().display());
    let hint = "omit --tokenizer; --resume uses that of the run";
    match run.vocab().tokenizer_of_subwords() {
        Some(tokenizer) if tokenizer.json() == json => Ok(()),
        Some(_) => Err(Failure::failed(format!("`{path}` is not the tokenizer of `{folder}`")).with_hint(hint)),
        None => {
            let kind = run.vocab().kind();
            Err(Failure::failed(format!("`{folder}` has `{kind}` tokens, not those of a tokenizer")).with_hint(hint))
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let failure = |reason: String| Failure::failed(format!("`{}` {reason}", path.display()));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| failure(format!("could not be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failure(format!("has more than {MAX_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        failure(format!("is not a tokenizer.json: it is not UTF-8 at offset {offset}"))
    })
}
