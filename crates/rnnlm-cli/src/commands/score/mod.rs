//! `rnnlm score`: the log-probability of each document, token or hypothesis, in the order of the input.
//!
//! A thread reads documents ahead. This one takes those that are read, up to some ten thousand tokens, scores them
//! together, and prints the group. So a pipe that brings one line at a time gets each result at once.

mod args;
mod document;
mod feed;
mod format;
mod formats;
mod mix;
mod record;
mod session;
mod sink;
mod summary;
mod threshold;
mod unit;

use std::io::{BufReader, IsTerminal, stdin};

use rnnlm_model::{Error, LanguageModel, Run, Scorer};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::{ContextKind, DocumentReader, Documents, LineEndConversion};

pub(crate) use self::args::ScoreArgs;
use self::args::ScoreFormat;
use self::document::{Encoder, Kept};
use self::feed::Feed;
use self::format::{Format, Setting};
use self::formats::{Jsonl, Kenlm, Lines, Nbest, Srilm, Tsv};
use self::record::Form;
use self::session::Session;
use crate::available_memory::available_memory;
use crate::compute::{self, Task};
use crate::escapes::Escapes;
use crate::failure::{Exit, Failure, Result};
use crate::prefix::Unknown;
use crate::progress::error_line;
use crate::signals;

/// The memory that scoring a document takes at most, as a multiple of its bytes. With scores of tokens it is
/// [`BYTES_PER_BYTE_OF_TOKENS`].
const BYTES_PER_BYTE: u64 = 12;
const BYTES_PER_BYTE_OF_TOKENS: u64 = 40;

pub(crate) fn run(args: &ScoreArgs) -> Result<Exit> {
    args.check()?;
    let run = Run::open(&args.model.run)?;
    if run.model().bidirectional {
        return Err(Error::BidirectionalScoring.into());
    }
    signals::install_immediate()?;
    compute::run(&args.compute, ScoreTask { args, run })
}

struct ScoreTask<'a> {
    args: &'a ScoreArgs,
    run: Run,
}

impl Task for ScoreTask<'_> {
    fn run<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let Self { args, run } = self;
        let (model, digest) = load(args, &run, backend)?;
        let scorer = Scorer::new(&model)?;
        let kept = kept(args);
        let scorer = if kept == Kept::Details { scorer.with_details() } else { scorer };
        let vocab = run.vocab();
        let encoder = Encoder {
            vocab,
            frame: vocab.document_frame(),
            form: args.form(),
            unknown: args.unknown,
            skip_invalid: args.skip_invalid,
            name: args.file().map_or("standard input".to_owned(), |path| path.display().to_string()),
        };
        print_context(args, &encoder);
        let feed = open(args, &encoder)?;
        let format = choose_format(args, &encoder, digest);
        Session::new(args, encoder, scorer, kept)?.run(&feed, format)
    }
}

/// Loads the model, and its digest.
fn load<B: Recurrence>(args: &ScoreArgs, run: &Run, backend: &B) -> Result<(LanguageModel<B>, String)> {
    loop {
        let before = run.model_sha256(args.model.best)?;
        let model = args.model.load(run, backend, &args.compute)?;
        // another process may save the run in the meantime
        let after = run.model_sha256(args.model.best)?;
        if before == after {
            return Ok((model, after.unwrap_or_default()));
        }
    }
}

/// Which scores are needed.
fn kept(args: &ScoreArgs) -> Kept {
    match args.format {
        _ if args.tokens => Kept::Details,
        _ if args.mix.is_some() => Kept::Tokens,
        ScoreFormat::Kenlm | ScoreFormat::Srilm => Kept::Tokens,
        _ => Kept::Sums,
    }
}

/// Starts reading the text.
fn open(args: &ScoreArgs, encoder: &Encoder<'_>) -> Result<Feed> {
    let vocab = encoder.vocab;
    let (documents, line_ends) = match (encoder.form, vocab.documents()) {
        // a line of a list stays as it is
        (Form::Nbest(_), _) => (Documents::Lines, LineEndConversion::Keep),
        (Form::Plain, Documents::None) => (Documents::Lines, vocab.line_ends()),
        (Form::Plain, documents) => (documents, vocab.line_ends()),
    };
    let factor = if kept(args) == Kept::Sums { BYTES_PER_BYTE } else { BYTES_PER_BYTE_OF_TOKENS };
    let max_bytes = available_memory().map_or(u64::MAX, |bytes| bytes / factor);
    match args.file() {
        Some(path) => Feed::start(DocumentReader::open(path, documents, line_ends)?.with_max_bytes(max_bytes)),
        None if stdin().is_terminal() => Err(Failure::usage("standard input is a terminal, not a text")
            .with_hint("name a file, or redirect one: rnnlm score RUN < text.txt")),
        None => {
            let reader = BufReader::new(stdin());
            let reader = DocumentReader::new(reader, encoder.name.clone(), documents, line_ends);
            Feed::start(reader.with_max_bytes(max_bytes))
        }
    }
}

/// Notes how documents are read if the model was not trained on documents.
fn print_context(args: &ScoreArgs, encoder: &Encoder<'_>) {
    let context = encoder.vocab.token(encoder.frame.context).unwrap_or_default();
    let context = format!("\"{}\"", Escapes(context.as_bytes()));
    let how = match encoder.frame.kind {
        ContextKind::EndToken => return,
        ContextKind::LineEnd => format!("each line is scored after a line end, {context}, and with its own"),
        ContextKind::MostFrequent => {
            format!(
                "it has no line end: each line is scored after its most frequent token, {context}, and without an end"
            )
        }
    };
    if !args.quiet {
        error_line(&format!("note: the model was trained on a stream; {how}"));
    }
}

/// The format of the results; `None` for a calibration, which prints no documents.
fn choose_format<'a>(args: &ScoreArgs, encoder: &Encoder<'a>, model: String) -> Option<Box<dyn Format + 'a>> {
    let vocab = encoder.vocab;
    let mut other = Vec::new();
    if args.unknown == Unknown::Skip {
        other.push("unknown=skip".to_owned());
    }
    if let (Some(path), Some(lambda)) = (&args.mix, args.lambda) {
        other.push(format!("mix=\"{}\" lambda={lambda}", Escapes(path.as_os_str().as_encoded_bytes())));
    }
    let setting = Setting {
        vocab,
        frame: encoder.frame,
        model,
        unit: args.unit(),
        has_tokens: args.tokens,
        has_text: args.text,
        other,
    };
    match (args.quantile, args.nbest(), args.format) {
        (Some(_), ..) => None,
        (None, Some(list), _) => Some(Box::new(Nbest::new(list, args.unit()))),
        (None, None, ScoreFormat::Tsv) => Some(Box::new(Tsv(setting))),
        (None, None, ScoreFormat::Jsonl) => Some(Box::new(Jsonl(setting))),
        (None, None, ScoreFormat::Kenlm) => Some(Box::new(Kenlm::new(vocab))),
        (None, None, ScoreFormat::Srilm) => Some(Box::new(Srilm::new(vocab, encoder.name.clone()))),
        (None, None, ScoreFormat::Kaldi | ScoreFormat::Rnnlm) => Some(Box::new(Lines)),
    }
}
