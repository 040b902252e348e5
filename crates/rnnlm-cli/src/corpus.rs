//! `rnnlm corpus`: which texts have names, having one ready, and looking at any.

use std::io::{Write, stdout};

use rnnlm_vocab::{Corpus, CorpusOptions, most_frequent};
use serde_json::{Value, json};

use crate::args::{CorpusArgs, CorpusCommand, Format};
use crate::failure::{Exit, Failure, Result};
use crate::{corpora, describe, format};

/// How many of the commonest are shown.
const SHOWN: usize = 10;

pub(crate) fn run(args: &CorpusArgs) -> Result<Exit> {
    match &args.command {
        CorpusCommand::List => list(),
        CorpusCommand::Fetch { name } => fetch(name),
        CorpusCommand::Stats { corpus, token, normalize, format } => {
            let source = corpora::resolve(corpus)?;
            let normalization = normalize.unwrap_or(source.default_normalization());
            let options = CorpusOptions { kind: *token, normalization, ..CorpusOptions::default() };
            stats(&source.read(&options)?, &options, *format)
        }
    }?;
    Ok(Exit::Success)
}

fn list() -> Result<()> {
    let mut text = String::new();
    for entry in corpora::list().corpus {
        let mut folders = corpora::folders();
        folders.push(corpora::cache());
        let place = match entry.find(&folders) {
            _ if entry.bundled => "bundled".to_owned(),
            Ok(path) => path.display().to_string(),
            Err(_) => "not here yet; rnnlm corpus fetch, or train, downloads it".to_owned(),
        };
        let (name, size) = (&entry.name, format::bytes(entry.bytes.into()));
        text.push_str(&format!("{name:<12} {size:>9}  {}\n{:24}{place}\n", entry.description, ""));
    }
    stdout().write_all(text.as_bytes()).map_err(Failure::Stream)
}

fn fetch(name: &str) -> Result<()> {
    let list = corpora::list();
    let Some(entry) = list.get(name) else {
        let names: Vec<&str> = list.corpus.iter().map(|entry| entry.name.as_str()).collect();
        return Err(Failure::new(
            format!("there is no corpus on record by the name `{name}`"),
            format!("known names are {}", names.join(", ")),
        ));
    };
    let place =
        if entry.bundled { "bundled with the program".to_owned() } else { corpora::find(entry)?.display().to_string() };
    writeln!(stdout(), "{place}").map_err(Failure::Stream)
}

fn stats(corpus: &Corpus, options: &CorpusOptions, format: Format) -> Result<()> {
    let tables = [
        ("unigrams", table(corpus, &most_frequent::<1>(&corpus.ids, SHOWN))?),
        ("bigrams", table(corpus, &most_frequent::<2>(&corpus.ids, SHOWN))?),
        ("trigrams", table(corpus, &most_frequent::<3>(&corpus.ids, SHOWN))?),
    ];
    let mut out = stdout().lock();
    if format == Format::Json {
        let mut object = json!({
            "bytes": corpus.source_bytes,
            "characters": corpus.text.characters,
            "tokens": corpus.tokens,
            "vocab_size": corpus.vocab.len(),
        });
        for (name, table) in tables {
            object[name] = table.into_iter().map(|(text, count)| json!([text, count])).collect::<Value>();
        }
        return writeln!(out, "{object}").map_err(Failure::Stream);
    }
    let mut text = format!("{} read: {}\n", format::bytes(corpus.source_bytes.into()), describe::text(corpus, options));
    for (name, table) in tables {
        text.push_str(&format!("commonest {name}\n"));
        for (token, count) in table {
            // in quotes, since a space is a token too
            text.push_str(&format!("{:>10}  {token:?}\n", format::thousands(count)));
        }
    }
    out.write_all(text.as_bytes()).map_err(Failure::Stream)
}

/// N-grams as text.
fn table<const N: usize>(corpus: &Corpus, counts: &[([u32; N], u64)]) -> Result<Vec<(String, u64)>> {
    counts.iter().map(|(ids, count)| Ok((corpus.vocab.decode(ids)?, *count))).collect()
}
