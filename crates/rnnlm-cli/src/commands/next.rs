//! `rnnlm next`: prints the most probable next tokens after a prefix.

use rnnlm_model::{Generator, Run};
use rnnlm_rnn::Recurrence;
use serde_json::json;

use crate::args::{Compute, Format, SavedModel};
use crate::compute::{self, Task};
use crate::failure::{Exit, Result};
use crate::prefix::{Prefix, PrefixText, Unknown};
use crate::progress::error_line;
use crate::values::at_least_one;
use crate::{default_prefix, output};

const EXAMPLES: &str = "\
Examples:
  rnnlm next runs/sample-rnn-1 --prefix \"time trave\"
  rnnlm next runs/names --prefix \"\" --top 5 --format json";

/// Print the most probable next tokens.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NextArgs {
    #[command(flatten)]
    model: SavedModel,
    /// Text before the token. Escapes: \n, \t, \xNN for a byte, \u{…} for a character, \\ for a backslash [default: as
    /// for `rnnlm generate`].
    #[arg(long, value_name = "TEXT")]
    prefix: Option<PrefixText>,
    /// Number of tokens to print.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    top: usize,
    /// What happens to tokens of the prefix that are not in the vocabulary.
    #[arg(long, value_enum, default_value = "unk")]
    unknown: Unknown,
    /// Format of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    compute: Compute,
}

pub(crate) fn run(args: &NextArgs) -> Result<Exit> {
    let run = Run::open(&args.model.run)?;
    let text = match &args.prefix {
        Some(prefix) => prefix.clone(),
        None => default_prefix::of_run(run.config().ok(), run.vocab())?,
    };
    let prefix = Prefix::encode(run.vocab(), &text, args.unknown)?;
    if let Some(warning) = &prefix.warning {
        error_line(warning);
    }
    compute::run(&args.compute, NextTask { args, run, text, prefix })
}

struct NextTask<'a> {
    args: &'a NextArgs,
    run: Run,
    text: PrefixText,
    prefix: Prefix,
}

impl Task for NextTask<'_> {
    fn run<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let Self { args, run, text, prefix } = self;
        let model = args.model.load(&run, backend, &args.compute)?;
        let vocab = run.vocab();
        let mut generator = Generator::new(&model)?.with_end_token(vocab.end_token());
        for &id in &prefix.ids {
            generator.read(id)?;
        }
        let mut ranked: Vec<(u32, f64)> = (0..).zip(generator.distribution()).collect();
        // stable, so that equally probable tokens stay in the order of their ids
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        ranked.truncate(args.top);
        let token = |id: u32| vocab.token(id).unwrap_or_default();
        match args.format {
            Format::Text => {
                let rows = ranked.iter().map(|&(id, probability)| format!("{probability:.6}  {:?}", token(id)));
                output::line(&rows.collect::<Vec<_>>().join("\n"))?;
            }
            Format::Json => {
                let rows = ranked.iter().map(|&(id, probability)| {
                    json!({ "id": id, "token": token(id), "probability": probability, "logprob": libm::log(probability) })
                });
                output::json(&json!({ "prefix": text.to_text(), "next": rows.collect::<Vec<_>>() }))?;
            }
        }
        Ok(Exit::Success)
    }
}
