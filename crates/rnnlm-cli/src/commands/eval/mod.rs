//! `rnnlm eval`: computes the perplexity of texts. A stream is read as one sequence from the zero state, and each document
//! of a run that was trained on documents from its own. `method.rs` has the other methods.

mod method;
mod result;

use rnnlm_model::{DynamicEvaluator, LanguageModel, NonFinite, Run, Scorer};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::{Corpus, CorpusOptions, Ids, LineEndConversion, Normalization, TextEncoding, TextIds, Vocab};
use serde_json::{Value, json};

use self::method::{Method, MethodArgs};
use self::result::EvalResult;
use crate::args::{Compute, Format, SavedModel};
use crate::compute::{self, Task};
use crate::failure::{Exit, Failure, Result};
use crate::prefix::Unknown;
use crate::progress::error_line;
use crate::text::Text;
use crate::unknown_tokens::{MAX_UNKNOWN_SHARE, UnknownCounts, not_in_vocabulary};
use crate::values::encoding;
use crate::{corpora, output};

const EXAMPLES: &str = "\
Examples:
  rnnlm eval runs/sample-rnn-1 --corpus sample --max-tokens 10000
  rnnlm eval runs/sample-rnn-1 --corpus - < other.txt
  rnnlm eval runs/names --corpus known.txt --corpus new.txt --format json
  rnnlm eval runs/shakespeare --corpus val.txt --block-size 256      without context, as nanoGPT
  rnnlm eval runs/shakespeare --corpus val.txt --dynamic             adapts to the text";

/// Evaluate a trained model on texts.
///
/// A text of a run without documents is one sequence, whose first token is only read. Every token of documents is
/// scored, and their perplexity has an interval that covers the mean of all such documents with 95 % confidence.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    model: SavedModel,
    /// Text to score: a named corpus, a path, or - for standard input. May be repeated.
    #[arg(long = "corpus", value_name = "NAME|PATH|-", required = true)]
    corpora: Vec<String>,
    /// Encoding of the text, such as utf-16le, windows-1252 or shift_jis. A byte order mark overrides it.
    #[arg(long, value_parser = encoding, value_name = "NAME", default_value = "utf-8")]
    encoding: TextEncoding,
    /// Number of tokens to score, from the start of each text; 0 scores all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_tokens: usize,
    /// What happens to tokens that are not in the vocabulary. They are easy to predict as `<unk>`, so the result is
    /// also given without them.
    #[arg(long, value_enum, default_value = "unk")]
    unknown: Unknown,
    /// Format of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    method: MethodArgs,
    #[command(flatten)]
    compute: Compute,
}

pub(crate) fn run(args: &EvalArgs) -> Result<Exit> {
    let run = Run::open(&args.model.run)?;
    if args.corpora.iter().filter(|name| *name == "-").count() > 1 {
        return Err(Failure::usage("standard input can be named once: --corpus -"));
    }
    let mut texts = Vec::new();
    for name in &args.corpora {
        let options =
            CorpusOptions { max_tokens: args.max_tokens, encoding: args.encoding, ..CorpusOptions::default() };
        let text = Text::encode(&corpora::resolve(name)?, run.vocab(), &options)?;
        warn_of_line_endings(&text.corpus, run.vocab());
        require_known_tokens(args, name, &text)?;
        texts.push((name.as_str(), text));
    }
    let method = Method::new(&args.method, &run)?;
    compute::run(&args.compute, EvalTask { args, run, texts, method })
}

/// Prints a warning if the text has other line endings than the training text, and both are kept.
fn warn_of_line_endings(corpus: &Corpus, vocab: &Vocab) {
    let are_tokens = vocab.normalization() != Normalization::Book && vocab.line_ends() == LineEndConversion::Keep;
    let (found, trained) = (corpus.text_format.line_endings, vocab.text_format().line_endings);
    if are_tokens && found != trained {
        error_line(&format!("warning: the text has {found} line endings, the training text has {trained}"));
    }
}

/// Treats unknown tokens as `--unknown` says: an error, or a warning if there are many.
fn require_known_tokens(args: &EvalArgs, name: &str, text: &Text) -> Result<()> {
    let corpus = &text.corpus;
    let (unknown, all) = (corpus.unknown.count(), text.ids().len());
    if unknown == 0 {
        return Ok(());
    }
    let names = UnknownCounts::of(&corpus.unknown).most_frequent().join(" ");
    let message = format!("{}: {names}", not_in_vocabulary(unknown as u64, all as u64, Some(name)));
    if args.unknown == Unknown::Error {
        return Err(
            Failure::failed(message).with_hint("--unknown unk scores them as <unk>, --unknown skip leaves them out")
        );
    }
    if unknown as f64 > MAX_UNKNOWN_SHARE * all as f64 {
        error_line(&format!("warning: {message}"));
    }
    Ok(())
}

struct EvalTask<'a> {
    args: &'a EvalArgs,
    run: Run,
    texts: Vec<(&'a str, Text)>,
    method: Method,
}

impl Task for EvalTask<'_> {
    fn run<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let model = self.args.model.load(&self.run, backend, &self.args.compute)?;
        let mut evaluator = Evaluator::new(model, &self.method)?;
        let mut results = Vec::new();
        for (name, text) in &self.texts {
            let mut result = EvalResult::new(text, self.args.unknown)?;
            evaluator.score(text, self.args.unknown, &mut result)?;
            if let Some(reason) = NonFinite::of(result.perplexity()) {
                error_line(&format!(
                    "warning: the perplexity is {reason}: the outputs of the model overflow on `{name}`"
                ));
            }
            results.push((*name, result));
        }
        print_results(self.args.format, &self.method, &results)?;
        Ok(Exit::Success)
    }
}

/// A model with the method by which it reads a text.
enum Evaluator<B: Recurrence> {
    Carried(LanguageModel<B>),
    Blocks(LanguageModel<B>, usize),
    Dynamic(Box<DynamicEvaluator<B>>),
}

impl<B: Recurrence> Evaluator<B> {
    fn new(model: LanguageModel<B>, method: &Method) -> Result<Self> {
        Ok(match method {
            Method::Carried => Self::Carried(model),
            Method::Blocks(size) => Self::Blocks(model, *size),
            Method::Dynamic(config, training) => {
                let mut evaluator = DynamicEvaluator::new(model, *config)?;
                if let Some(split) = training {
                    evaluator.collect(split.training())?;
                }
                Self::Dynamic(Box::new(evaluator))
            }
        })
    }

    /// Adds the scores of a text to `result`.
    fn score(&mut self, text: &Text, unknown: Unknown, result: &mut EvalResult) -> Result<()> {
        if let Self::Carried(model) = self
            && model.config().bidirectional
        {
            // its scores are no probabilities, but the book shows them
            result.add_total(model.evaluate(text.ids())?);
            return Ok(());
        }
        let kept = KeptTokens::of(text, unknown)?;
        let (context, documents) = scored(text, kept.as_ref())?;
        let mut emit = |document, score| result.add(document, score);
        match self {
            Self::Carried(model) => Scorer::new(model)?.score_ids(context, &documents, &mut emit)?,
            Self::Blocks(model, size) => {
                let ids = kept.as_ref().and_then(KeptTokens::stream).unwrap_or_else(|| text.ids());
                Scorer::new(model)?.score_blocks(ids, *size, &mut |_, score| emit(0, score))?;
            }
            Self::Dynamic(evaluator) => {
                evaluator.reset()?;
                let documents = documents.iter().map(Ids::load).collect::<Result<Vec<_>, _>>()?;
                let documents: Vec<&[u32]> = documents.iter().map(AsRef::as_ref).collect();
                evaluator.score(context, &documents, &mut emit)?;
            }
        }
        Ok(())
    }
}

/// The known tokens of each document, or of a stream, if unknown ones are left out.
struct KeptTokens(Vec<Box<[u32]>>);

impl KeptTokens {
    /// Of a stream.
    fn stream(&self) -> Option<Ids<'_>> {
        self.0.first().map(|ids| Ids::Memory(ids))
    }

    fn of(text: &Text, unknown: Unknown) -> Result<Option<Self>> {
        if unknown != Unknown::Skip {
            return Ok(None);
        }
        let vocab = &text.corpus.vocab;
        let known = |ids: Ids<'_>| -> Result<Box<[u32]>> {
            let mut kept = Vec::new();
            ids.for_each_part(|part| kept.extend(part.iter().copied().filter(|&id| !vocab.is_unknown(id))))?;
            Ok(kept.into())
        };
        match text.all() {
            TextIds::Stream(ids) => Ok(Some(Self(vec![known(ids)?]))),
            TextIds::Documents(documents) => Ok(Some(Self(documents.iter().map(known).collect::<Result<_>>()?))),
        }
    }
}

/// The documents that are scored, and the token that is read before each of them. A stream is one document, after its first
/// token.
fn scored<'a>(text: &'a Text, kept: Option<&'a KeptTokens>) -> Result<(u32, Vec<Ids<'a>>)> {
    match text.all() {
        TextIds::Documents(documents) => {
            let kept = kept.map(|KeptTokens(kept)| kept.iter().map(|ids| Ids::Memory(ids)).collect());
            Ok((documents.end_token(), kept.unwrap_or_else(|| documents.iter().collect())))
        }
        TextIds::Stream(ids) => {
            let ids = kept.and_then(KeptTokens::stream).unwrap_or(ids);
            if ids.len() < 2 {
                return Err(rnnlm_model::Error::NothingToScore { tokens: ids.len() }.into());
            }
            let mut context = [0];
            ids.read(0, &mut context)?;
            Ok((context[0], vec![ids.slice(1..ids.len())]))
        }
    }
}

/// Prints the result of one text, or of each text and of all together.
fn print_results(format: Format, method: &Method, results: &[(&str, EvalResult)]) -> Result<()> {
    let to_json = |result: &EvalResult| {
        let mut object = result.to_json();
        method.add_to(&mut object);
        object
    };
    let to_text = |result: &EvalResult| {
        [Some(result.to_text()), method.to_text()].into_iter().flatten().collect::<Vec<_>>().join("\n")
    };
    if let [(_, result)] = results {
        return match format {
            Format::Json => output::json(&to_json(result)),
            Format::Text => output::line(&to_text(result)),
        };
    }
    let mut total = EvalResult::default();
    results.iter().for_each(|(_, result)| total.merge(result));
    match format {
        Format::Json => {
            let texts = results.iter().map(|(name, result)| {
                let mut object = to_json(result);
                object["corpus"] = Value::from(*name);
                object
            });
            output::json(&json!({ "texts": texts.collect::<Vec<_>>(), "total": to_json(&total) }))
        }
        Format::Text => {
            let blocks = results.iter().map(|(name, result)| format!("{name}\n{}\n", to_text(result)));
            output::line(&format!("{}\nall texts\n{}", blocks.collect::<Vec<_>>().join("\n"), to_text(&total)))
        }
    }
}
