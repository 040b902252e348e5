//! `rnnlm eval`: computes the perplexity of a text, read as one sequence from the zero state.

use rnnlm_model::{Evaluation, NonFinite, Run};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::{Corpus, LineEndConversion, Normalization, TextEncoding, Vocab};
use serde_json::json;

use crate::args::{Compute, Format, SavedModel};
use crate::compute::{self, Task};
use crate::failure::{Exit, Result};
use crate::progress::error_line;
use crate::values::encoding;
use crate::{corpora, human, output};

const EXAMPLES: &str = "\
Examples:
  rnnlm eval runs/sample-rnn-1 --corpus sample --max-tokens 10000
  rnnlm eval runs/sample-rnn-1 --corpus - < other.txt";

/// Evaluate a trained model on a text.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    model: SavedModel,
    /// Text to score: a named corpus, a path, or - for standard input.
    #[arg(long, value_name = "NAME|PATH|-")]
    corpus: String,
    /// Encoding of the text, such as utf-16le, windows-1252 or shift_jis. A byte order mark overrides it.
    #[arg(long, value_parser = encoding, value_name = "NAME", default_value = "utf-8")]
    encoding: TextEncoding,
    /// Number of tokens to score, from the start of the text; 0 scores all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_tokens: usize,
    /// Format of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    compute: Compute,
}

pub(crate) fn run(args: &EvalArgs) -> Result<Exit> {
    let run = Run::open(&args.model.run)?;
    let source = corpora::resolve(&args.corpus)?;
    let corpus = source.encode(run.vocab().clone(), args.max_tokens, args.encoding)?;
    warn_of_line_endings(&corpus, run.vocab());
    compute::run(&args.compute, EvalTask { args, run, corpus })
}

/// Prints a warning if the text has other line endings than the training text, and both are kept.
fn warn_of_line_endings(corpus: &Corpus, vocab: &Vocab) {
    let are_tokens = vocab.normalization() != Normalization::Book && vocab.line_ends() == LineEndConversion::Keep;
    let (found, trained) = (corpus.text_format.line_endings, vocab.text_format().line_endings);
    if are_tokens && found != trained {
        error_line(&format!("warning: the text has {found} line endings, the training text has {trained}"));
    }
}

struct EvalTask<'a> {
    args: &'a EvalArgs,
    run: Run,
    corpus: Corpus,
}

impl Task for EvalTask<'_> {
    fn run<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let model = self.args.model.load(&self.run, backend, &self.args.compute)?;
        let evaluation = model.evaluate(&self.corpus.ids)?;
        if let Some(reason) = NonFinite::of(evaluation.perplexity()) {
            error_line(&format!("warning: the perplexity is {reason}: the outputs of the model overflow on this text"));
        }
        print_result(self.args, &self.corpus, &evaluation)?;
        Ok(Exit::Success)
    }
}

fn print_result(args: &EvalArgs, corpus: &Corpus, evaluation: &Evaluation) -> Result<()> {
    // the first token has no prediction
    let size = corpus.text_size(1..corpus.ids.len());
    let unknown = corpus.unknown.count();
    let bits_per_char = evaluation.bits_per(size.characters);
    let bits_per_byte = evaluation.bits_per(size.bytes);
    match args.format {
        Format::Json => output::json(&json!({
            "perplexity": evaluation.perplexity(),
            "perplexity_reason": NonFinite::of(evaluation.perplexity()),
            "nats_per_token": evaluation.nats_per_token(),
            "bits_per_char": bits_per_char,
            "bits_per_byte": bits_per_byte,
            "tokens": evaluation.tokens,
            "unknown_tokens": unknown,
        })),
        Format::Text => output::line(&format!(
            "perplexity      {}\nnats per token  {:.4}\nbits per char   {bits_per_char:.4}\n\
             bits per byte   {bits_per_byte:.4}\ntokens          {} scored, {} unknown",
            human::perplexity(evaluation.perplexity()),
            evaluation.nats_per_token(),
            human::thousands(evaluation.tokens as u64),
            human::thousands(unknown as u64)
        )),
    }
}
