//! `rnnlm generate`: continues a prefix with a trained model and prints each token as soon as it is chosen.

use std::path::PathBuf;

use rnnlm_model::{Generator, Run, Sampler};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::Vocab;
use serde_json::json;

use crate::args::{Compute, Format, SavedModel};
use crate::compute::{self, Task};
use crate::failure::{Exit, Failure, Result};
use crate::prefix::{Prefix, PrefixText, Unknown};
use crate::progress::error_line;
use crate::repetition::Repetition;
use crate::terminal::Output;
use crate::values::{Seed, non_negative_f64};
use crate::{default_prefix, output, signals};

const EXAMPLES: &str = "\
Examples:
  rnnlm generate runs/sample-rnn-1
  rnnlm generate runs/sample-rnn-1 --prefix 'the tide ' --temperature 0.7
  rnnlm generate runs/sample-rnn-1 --temperature 0.7 --seed random";

/// Generate text with a trained model.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    model: SavedModel,
    /// Text to continue; an empty prefix starts from the most frequent token. Escapes: \n, \t, \xNN for a byte, \u{…}
    /// for a character, \\ for a backslash [default: the prefix of the run's samples, or `time traveller` for timemachine
    /// and sample, or the start of a line].
    #[arg(long, value_name = "TEXT")]
    prefix: Option<PrefixText>,
    /// File with the text to continue, which is used as it is, with its last line end; - for standard input.
    #[arg(long, value_name = "FILE|-", conflicts_with = "prefix")]
    prefix_file: Option<PathBuf>,
    /// Number of tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 50)]
    num_tokens: usize,
    /// Sampling temperature: 0 takes the most probable token, 1 samples from the model's distribution, larger values
    /// flatten it.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = non_negative_f64,
          allow_negative_numbers = true)]
    temperature: f64,
    /// Seed for sampling; `random` draws one and prints it.
    #[arg(long, value_name = "N|random", default_value = "0")]
    seed: Seed,
    /// Handling of tokens in the prefix that are not in the vocabulary.
    #[arg(long, value_enum, default_value = "unk")]
    unknown: Unknown,
    /// Format of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    compute: Compute,
}

pub(crate) fn run(args: &GenerateArgs) -> Result<Exit> {
    let run = Run::open(&args.model.run)?;
    let sampler = Sampler::new(args.temperature, args.seed.value)?;
    let text = match (&args.prefix_file, &args.prefix) {
        (Some(path), _) => PrefixText::read(path)?,
        (None, Some(prefix)) => prefix.clone(),
        (None, None) => default_prefix::of_run(run.config().ok(), run.vocab())?,
    };
    let prefix = Prefix::encode(run.vocab(), &text, args.unknown)?;
    if let Some(warning) = &prefix.warning {
        error_line(warning);
    }
    if args.seed.is_random {
        error_line(&format!("seed    {}", args.seed.value));
    }
    signals::install()?;
    compute::run(&args.compute, GenerateTask { args, run, text, prefix, sampler })
}

struct GenerateTask<'a> {
    args: &'a GenerateArgs,
    run: Run,
    text: PrefixText,
    prefix: Prefix,
    sampler: Sampler,
}

impl Task for GenerateTask<'_> {
    fn run<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let Self { args, run, text, prefix, mut sampler } = self;
        let model = args.model.load(&run, backend, &args.compute)?;
        let mut generator = Generator::new(&model)?.with_end_token(run.vocab().end_token());
        let mut repetition = Repetition::default();
        let generate = |emit: &mut (dyn FnMut(u32) -> bool + Send)| {
            generator.generate(&prefix.ids, args.num_tokens, &mut sampler, &mut |id| {
                repetition.push(id);
                emit(id) && !signals::stop_requested()
            })
        };
        match args.format {
            Format::Text => {
                // the start of a line is only named by the line end before it
                let is_default = args.prefix.is_none() && args.prefix_file.is_none();
                let is_line_start = is_default && text == PrefixText::literal("\n");
                print_tokens(run.vocab(), if is_line_start { &[] } else { prefix.text() }, generate)
            }
            Format::Json => print_object(args, &text, run.vocab(), prefix.text(), generate),
        }?;
        if args.temperature == 0.0 && repetition.is_loop() {
            error_line(
                "hint: the text repeats itself; --temperature 0.7 samples instead of taking the most probable token",
            );
        }
        Ok(if signals::stop_requested() { Exit::Interrupted } else { Exit::Success })
    }
}

/// Prints the prefix and each token as soon as it is chosen. A closed pipe ends the generation.
fn print_tokens(
    vocab: &Vocab,
    prefix: &[u32],
    generate: impl FnOnce(&mut (dyn FnMut(u32) -> bool + Send)) -> rnnlm_model::Result<()>,
) -> Result<()> {
    let mut out = Output::stdout();
    let mut written = out.write(&vocab.decode_bytes(prefix)?);
    let mut previous = prefix.last().copied();
    generate(&mut |id| {
        let token = vocab.decode_bytes(&[id]).unwrap_or_default();
        written = out.write(&[vocab.separator(previous, id).as_bytes(), &token].concat());
        previous = Some(id);
        written.is_ok()
    })?;
    written.and_then(|()| out.finish()).map_err(Failure::StandardStream)
}

/// Prints one object with prefix and continuation.
fn print_object(
    args: &GenerateArgs,
    text: &PrefixText,
    vocab: &Vocab,
    prefix: &[u32],
    generate: impl FnOnce(&mut (dyn FnMut(u32) -> bool + Send)) -> rnnlm_model::Result<()>,
) -> Result<()> {
    let mut ids = prefix.to_vec();
    generate(&mut |id| {
        ids.push(id);
        true
    })?;
    output::json(&json!({
        "prefix": text.to_text(),
        "text": vocab.decode(&ids)?,
        "num_tokens": ids.len() - prefix.len(),
        "temperature": args.temperature,
        "seed": args.seed.value,
    }))
}
