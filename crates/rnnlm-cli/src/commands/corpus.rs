//! `rnnlm corpus`: lists the named corpora, downloads one, and prints the statistics of any text.

mod bpe;

use std::path::PathBuf;

use clap::Subcommand;
use rnnlm_model::Run;
use rnnlm_vocab::{
    Corpus, CorpusOptions, Documents, LineEndConversion, Normalization, TextEncoding, TokenKind, most_frequent,
};
use serde_json::{Value, json};

use crate::args::Format;
use crate::corpora::TextSource;
use crate::failure::{Exit, Failure, Result};
use crate::values::{documents, encoding, line_ends, normalization, token_kind};
use crate::{corpora, describe, human, output, progress, token_cache, tokenizer_file};

/// Rows of each table of n-grams.
const TABLE_ROWS: usize = 10;

/// List, download and inspect texts.
#[derive(Debug, clap::Args)]
pub(crate) struct CorpusArgs {
    #[command(subcommand)]
    command: CorpusCommand,
}

#[derive(Debug, Subcommand)]
enum CorpusCommand {
    /// List the named corpora and their locations.
    List,
    /// Find or download a named corpus, verify its checksum and print its path.
    Fetch {
        /// Name from `rnnlm corpus list`.
        name: String,
    },
    Stats(StatsArgs),
    Build(BuildArgs),
    Bpe(bpe::BpeArgs),
}

/// Build a token cache, with which `rnnlm train --corpus DIR` trains on a text that is larger than memory.
///
/// The ids of the text are stored in safetensors files with digests. The text is read twice: to build the vocabulary, unless
/// --vocab gives it, and to write the ids. `rnnlm train` builds a cache itself for a text that would take more than an eighth of the memory.
#[derive(Debug, clap::Args)]
struct BuildArgs {
    /// Files, folders of files, patterns such as 'texts/*.txt', or named corpora; read as one text. The end of a file ends a
    /// token and a document.
    #[arg(value_name = "TEXT", required = true)]
    texts: Vec<String>,
    /// Folder of the cache.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the cache in --out; another folder is never replaced.
    #[arg(long)]
    force: bool,
    /// Unit of tokenization.
    #[arg(long, default_value = "char", value_parser = token_kind, value_name = "char|word|byte|word-punct")]
    token: TokenKind,
    #[command(flatten)]
    text: TextArgs,
    /// Documents of the text, as for `rnnlm train`.
    #[arg(long, default_value = "none", value_parser = documents, value_name = "none|lines|blank-lines")]
    documents: Documents,
    /// Minimum count of a token; rarer tokens become `<unk>`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_freq: u64,
    /// Maximum number of tokens in the vocabulary: the most frequent ones. 0 keeps all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_vocab: usize,
    /// Run whose vocabulary is used instead of that of the text. It also decides how the text is read.
    #[arg(long, value_name = "RUN",
          conflicts_with_all = ["token", "normalize", "line_ends", "documents", "min_freq", "max_vocab"])]
    vocab: Option<PathBuf>,
    /// Tokenizer of subwords, as for `rnnlm train`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token", "normalize", "min_freq", "max_vocab", "vocab"])]
    tokenizer: Option<PathBuf>,
    /// Suppress progress output; warnings and errors are still printed.
    #[arg(long)]
    quiet: bool,
}

/// Print the size, the vocabulary size and the most frequent tokens and n-grams of a text.
#[derive(Debug, clap::Args)]
struct StatsArgs {
    /// Named corpus, path, or - for standard input.
    #[arg(value_name = "NAME|PATH|-")]
    corpus: String,
    /// Unit of tokenization.
    #[arg(long, default_value = "word", value_parser = token_kind, value_name = "char|word|byte|word-punct")]
    token: TokenKind,
    #[command(flatten)]
    text: TextArgs,
    /// Format of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How a text is read.
#[derive(Debug, clap::Args)]
struct TextArgs {
    /// Normalization of the text. `book` keeps only the letters A-Z, in lower case, with single spaces, and joins lines
    /// without a space; `lower` keeps every character, in lower case; `none` changes nothing [default: book for named
    /// corpora, none for other texts].
    #[arg(long, value_parser = normalization, value_name = "book|lower|none")]
    normalize: Option<Normalization>,
    /// Line ends of the text: `lf` converts CRLF and CR to LF, `keep` does not [default: lf; keep for --token byte].
    #[arg(long, value_parser = line_ends, value_name = "keep|lf")]
    line_ends: Option<LineEndConversion>,
    /// Encoding of the text, such as utf-16le, windows-1252 or shift_jis. A byte order mark overrides it.
    #[arg(long, value_parser = encoding, value_name = "NAME", default_value = "utf-8")]
    encoding: TextEncoding,
}

impl TextArgs {
    fn corpus_options(&self, kind: TokenKind, source: &TextSource) -> CorpusOptions {
        CorpusOptions {
            kind,
            normalization: self.normalize.unwrap_or(source.default_normalization()),
            line_ends: self.line_ends.unwrap_or(corpora::default_line_ends(kind)),
            encoding: self.encoding,
            ..CorpusOptions::default()
        }
    }
}

pub(crate) fn run(args: &CorpusArgs) -> Result<Exit> {
    match &args.command {
        CorpusCommand::List => list(),
        CorpusCommand::Fetch { name } => fetch(name),
        CorpusCommand::Stats(args) => stats(args),
        CorpusCommand::Build(args) => build(args),
        CorpusCommand::Bpe(args) => bpe::run(args),
    }?;
    Ok(Exit::Success)
}

fn list() -> Result<()> {
    let mut folders = corpora::folders();
    folders.push(corpora::cache());
    let mut text = String::new();
    for entry in corpora::list().corpus {
        let location = match entry.find(&folders) {
            _ if entry.bundled => "bundled".to_owned(),
            Ok(path) => path.display().to_string(),
            Err(_) => "not downloaded; `rnnlm corpus fetch` and `rnnlm train` download it".to_owned(),
        };
        let size = human::bytes(entry.bytes.into());
        let start = format!("{:<12} {size:>9}  ", entry.name);
        let indent = start.len();
        text.push_str(&human::wrapped(&start, &entry.description, indent));
        text.push_str(&human::wrapped(&" ".repeat(indent), &location, indent));
    }
    output::text(&text)
}

fn fetch(name: &str) -> Result<()> {
    let list = corpora::list();
    let Some(entry) = list.get(name) else {
        let hint = format!("the named corpora are {}", corpora::names());
        return Err(Failure::failed(format!("no corpus is called `{name}`")).with_hint(hint));
    };
    if entry.bundled {
        return output::line("bundled with the program");
    }
    output::line(&corpora::find_or_download(entry)?.display().to_string())
}

fn build(args: &BuildArgs) -> Result<()> {
    if args.quiet {
        progress::set_quiet();
    }
    let source = corpora::resolve(&args.texts.join(&corpora::NAME_SEPARATOR.to_string()))?;
    let paths = source.paths().ok_or_else(|| {
        Failure::usage("a token cache is built from files: the text is read twice")
            .with_hint("write the text to a file")
    })?;
    let options = CorpusOptions {
        documents: args.documents,
        min_freq: args.min_freq,
        max_vocab: args.max_vocab,
        ..args.text.corpus_options(args.token, &source)
    };
    let run = args.vocab.as_deref().map(Run::open).transpose()?;
    let tokenizer = args.tokenizer.as_deref().map(|path| {
        let line_ends = args.text.line_ends.unwrap_or(corpora::default_line_ends(TokenKind::Subword));
        tokenizer_file::vocab(path, line_ends, args.documents)
    });
    let tokenizer = tokenizer.transpose()?;
    let vocab = tokenizer.as_ref().or(run.as_ref().map(Run::vocab));
    let cache = token_cache::build(&args.out, &paths, &options, vocab, args.force)?;
    let corpus = cache.describe();
    let unknown = match corpus.unknown.count() {
        0 => String::new(),
        count => format!(", {} unknown", human::thousands(count as u64)),
    };
    let distinct = human::count(cache.vocab().len() as u64, "distinct token");
    output::line(&format!(
        "{}, {distinct}{unknown}, cache {}",
        human::count(corpus.tokens, "token"),
        args.out.display()
    ))
}

fn stats(args: &StatsArgs) -> Result<()> {
    let source = corpora::resolve(&args.corpus)?;
    let options = args.text.corpus_options(args.token, &source);
    let corpus = source.read(&options)?;
    // a token cache has its own tokens
    let options = CorpusOptions { kind: corpus.vocab.kind(), normalization: corpus.vocab.normalization(), ..options };
    let tables = [
        ("unigrams", table(&corpus, &most_frequent::<1>(&corpus.ids, TABLE_ROWS))?),
        ("bigrams", table(&corpus, &most_frequent::<2>(&corpus.ids, TABLE_ROWS))?),
        ("trigrams", table(&corpus, &most_frequent::<3>(&corpus.ids, TABLE_ROWS))?),
    ];
    if args.format == Format::Json {
        let mut object = json!({
            "bytes": corpus.source_bytes,
            "characters": corpus.text.characters,
            "tokens": corpus.tokens,
            "vocab_size": corpus.vocab.len(),
        });
        for (name, table) in tables {
            object[name] = table.into_iter().map(|(text, count)| json!([text, count])).collect::<Value>();
        }
        return output::json(&object);
    }
    let size = human::bytes(corpus.source_bytes.into());
    let mut text = format!("{size} read: {}\n", describe::text(&corpus, corpus.ids.len(), &options));
    for (name, table) in tables {
        text.push_str(&format!("most frequent {name}\n"));
        for (token, count) in table {
            // quoted, because a token can be a space
            text.push_str(&format!("{:>10}  {token:?}\n", human::thousands(count)));
        }
    }
    output::text(&text)
}

/// Decodes n-grams; keeps their counts.
fn table<const N: usize>(corpus: &Corpus, counts: &[([u32; N], u64)]) -> Result<Vec<(String, u64)>> {
    counts.iter().map(|(ids, count)| Ok((corpus.vocab.decode(ids)?, *count))).collect()
}
