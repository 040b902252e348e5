//! `rnnlm eval`: how well a trained model predicts a text, read as one stream from the zero state.

use std::io::{Write, stdout};

use rnnlm_model::{Evaluation, Run};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::{Corpus, Normalization, UNKNOWN_ID};
use serde_json::json;

use crate::args::{EvalArgs, Format};
use crate::device::{self, Work};
use crate::failure::{Exit, Failure, Result};
use crate::progress::error_line;
use crate::{corpora, format};

pub(crate) fn run(args: &EvalArgs) -> Result<Exit> {
    let run = Run::open(&args.run)?;
    let source = corpora::resolve(&args.corpus)?;
    let corpus = source.encode(run.vocab().clone(), args.max_tokens)?;
    let as_it_is = run.vocab().normalization() == Normalization::None;
    if as_it_is && corpus.text_format != run.vocab().text_format() {
        error_line("warning: the text's line ends or byte order mark differ from those of the text trained on");
    }
    device::run(&args.compute, true, Scoring { args, run, corpus })
}

/// A text that is to be scored.
struct Scoring<'a> {
    args: &'a EvalArgs,
    run: Run,
    corpus: Corpus,
}

impl Work for Scoring<'_> {
    fn on<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let model = device::load(&self.run, self.args.best, backend, &self.args.compute)?;
        report(self.args, &self.corpus, model.evaluate(&self.corpus.ids)?)
    }
}

fn report(args: &EvalArgs, corpus: &Corpus, score: Evaluation) -> Result<Exit> {
    // the first token is only read
    let size = corpus.text_size(1..corpus.ids.len());
    let unknown = corpus.ids[1..].iter().filter(|&&id| id == UNKNOWN_ID).count();
    let (per_char, per_byte) = (score.bits_per(size.characters), score.bits_per(size.bytes));
    let mut out = stdout().lock();
    match args.format {
        Format::Json => {
            let object = json!({
                "perplexity": score.perplexity(),
                "nats_per_token": score.nats_per_token(),
                "bits_per_char": per_char,
                "bits_per_byte": per_byte,
                "tokens": score.tokens,
                "unknown_tokens": unknown,
            });
            writeln!(out, "{object}")
        }
        Format::Text => writeln!(
            out,
            "perplexity      {}\nnats per token  {:.4}\nbits per char   {per_char:.4}\nbits per byte   {per_byte:.4}\n\
             tokens          {} scored, {} unknown",
            format::perplexity(score.perplexity()),
            score.nats_per_token(),
            format::thousands(score.tokens as u64),
            format::thousands(unknown as u64)
        ),
    }
    .map_err(Failure::Stream)?;
    Ok(Exit::Success)
}
