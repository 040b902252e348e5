//! `rnnlm corpus`: lists the named corpora, downloads one, and prints the statistics of any text.

use clap::Subcommand;
use rnnlm_vocab::{Corpus, CorpusOptions, LineEndConversion, Normalization, TextEncoding, TokenKind, most_frequent};
use serde_json::{Value, json};

use crate::args::Format;
use crate::failure::{Exit, Failure, Result};
use crate::values::{encoding, line_ends, normalization, token_kind};
use crate::{corpora, describe, human, output};

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
    /// Format of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn run(args: &CorpusArgs) -> Result<Exit> {
    match &args.command {
        CorpusCommand::List => list(),
        CorpusCommand::Fetch { name } => fetch(name),
        CorpusCommand::Stats(args) => stats(args),
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

fn stats(args: &StatsArgs) -> Result<()> {
    let source = corpora::resolve(&args.corpus)?;
    let normalization = args.normalize.unwrap_or(source.default_normalization());
    let line_ends = args.line_ends.unwrap_or(corpora::default_line_ends(args.token));
    let options = CorpusOptions {
        kind: args.token,
        normalization,
        line_ends,
        encoding: args.encoding,
        ..CorpusOptions::default()
    };
    let corpus = source.read(&options)?;
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
    let mut text = format!("{size} read: {}\n", describe::text(&corpus, &options));
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
