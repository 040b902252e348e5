//! `rnnlm corpus bpe`: trains a tokenizer of subwords.

use std::path::PathBuf;

use rnnlm_vocab::{LineEndConversion, TextEncoding};

use crate::values::{encoding, line_ends};

/// Train a byte-level BPE on texts, and write its tokenizer.json.
///
/// Words are those of GPT-2's pattern, and every byte is a token, so every text can be encoded. The special token `<eos>`
/// has id 0; it ends documents. The file is the same for any number of threads. `rnnlm train --tokenizer FILE` uses it, and
/// so does Hugging Face's library `tokenizers`.
#[derive(Debug, clap::Args)]
pub(super) struct BpeArgs {
    /// Files, folders of files, patterns such as 'texts/*.txt', or named corpora; read as one text.
    #[arg(value_name = "TEXT", required = true)]
    pub(super) texts: Vec<String>,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Replace the file in --out, if it is a tokenizer.json.
    #[arg(long)]
    pub(super) force: bool,
    /// Number of tokens: `<eos>`, 256 bytes and the most frequent pairs. A short text has fewer.
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub(super) vocab_size: usize,
    /// Minimum count of a pair that becomes a token.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(super) min_freq: u64,
    /// Line ends of the text: `lf` converts CRLF and CR to LF, `keep` does not.
    #[arg(long, default_value = "lf", value_parser = line_ends, value_name = "keep|lf")]
    pub(super) line_ends: LineEndConversion,
    /// Encoding of the text, such as utf-16le, windows-1252 or shift_jis. A byte order mark overrides it.
    #[arg(long, value_parser = encoding, value_name = "NAME", default_value = "utf-8")]
    pub(super) encoding: TextEncoding,
    /// Suppress progress output; warnings and errors are still printed.
    #[arg(long)]
    pub(super) quiet: bool,
}

#[cfg(not(feature = "subwords"))]
pub(super) fn run(_: &BpeArgs) -> crate::failure::Result<()> {
    Err(rnnlm_vocab::Error::NoSubwords.into())
}

#[cfg(feature = "subwords")]
pub(super) use with_subwords::run;

#[cfg(feature = "subwords")]
mod with_subwords {
    use std::fs::{self, File};
    use std::io::{self, Write};
    use std::path::Path;

    use rnnlm_tokenizer::{BpeError, BpeOptions, HfTokenizer, train_bpe};
    use rnnlm_vocab::SubwordTokenizer;

    use super::BpeArgs;
    use crate::failure::{Failure, Result};
    use crate::progress::error_line;
    use crate::{corpora, human, output, progress};

    pub(in super::super) fn run(args: &BpeArgs) -> Result<()> {
        if args.quiet {
            progress::set_quiet();
        }
        check_target(&args.out, args.force)?;
        let source = corpora::resolve(&args.texts.join(&corpora::NAME_SEPARATOR.to_string()))?;
        if matches!(source, corpora::TextSource::Cache(_)) {
            return Err(Failure::usage("a token cache has ids, not a text").with_hint("name the text of the cache"));
        }
        let BpeArgs { vocab_size, min_freq: min_frequency, encoding, line_ends, .. } = *args;
        let options = BpeOptions { vocab_size, min_frequency, encoding, line_ends };
        let json = train_bpe(source.files()?, &options).map_err(|error| match error {
            BpeError::Text(error) => error.into(),
            BpeError::VocabSize { .. } => Failure::usage(format!("--vocab-size: {error}")),
            BpeError::TooLong { .. } => Failure::failed(error.to_string())
                .with_hint("train on a part of the text; the tokenizer is for all of it"),
            error => Failure::failed(error.to_string()),
        })?;
        let tokenizer = HfTokenizer::from_json(&json).map_err(|error| Failure::failed(error.to_string()))?;
        let tokens = tokenizer.tokens().len();
        if tokens < vocab_size && !args.quiet {
            error_line(&format!(
                "note: no other pair of tokens occurs {min_frequency} times, so there are only {tokens}"
            ));
        }
        let path = args.out.display();
        write(&args.out, json.as_bytes())
            .map_err(|error| Failure::failed(format!("`{path}` cannot be written: {error}")))?;
        output::line(&format!("{}, tokenizer {path}", human::count(tokens as u64, "token")))
    }

    /// An error if a file that may not be replaced is at `path`.
    fn check_target(path: &Path, force: bool) -> Result<()> {
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        let name = path.display();
        if !force {
            let hint = "choose another --out, or replace it with --force";
            return Err(Failure::failed(format!("`{name}` already exists")).with_hint(hint));
        }
        let is_tokenizer = fs::read_to_string(path).is_ok_and(|json| HfTokenizer::from_json(&json).is_ok());
        if is_tokenizer {
            return Ok(());
        }
        Err(Failure::failed(format!("`{name}` is not a tokenizer.json, so --force does not replace it"))
            .with_hint("choose another --out"))
    }

    /// Writes the file next to its target, syncs it and renames it.
    fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let temporary = path.with_file_name(format!(".rnnlm-{}-{name}", std::process::id()));
        let written = File::create_new(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        });
        written.inspect_err(|_| {
            // the error of writing is the one to report
            let _ = fs::remove_file(&temporary);
        })
    }
}
