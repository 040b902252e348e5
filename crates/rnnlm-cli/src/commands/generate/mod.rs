//! `rnnlm generate`: continues prefixes with a trained model.
//!
//! | module | |
//! |---|---|
//! | `args` | the command line |
//! | `settings` | what of it contradicts, and the sampler that it describes |
//! | `schedule` | which samples are decoded and accepted |
//! | `samples`, `beams` | decoding |
//! | `output` | text and JSON |

mod args;
mod beams;
mod output;
mod samples;
mod schedule;
mod settings;

use rnnlm_model::Run;
use rnnlm_rnn::Recurrence;

pub(crate) use self::args::GenerateArgs;
use self::output::GivenPrefix;
use self::samples::Samples;
use self::schedule::SeenTexts;
use self::settings::Settings;
use crate::compute::{self, Task};
use crate::failure::{Exit, Result};
use crate::prefix::{Prefix, PrefixText};
use crate::progress::error_line;
use crate::{default_prefix, signals};

pub(crate) fn run(args: &GenerateArgs) -> Result<Exit> {
    let run = Run::open(&args.model.run)?;
    let settings = Settings::new(args, run.vocab())?;
    let seen = SeenTexts::new(run.vocab(), args.ends.not_in.as_deref(), args.ends.unique)?;
    let prefixes = prefixes(args, &run)?;
    for warning in prefixes.iter().filter_map(|given| given.prefix.warning.as_ref()) {
        error_line(warning);
    }
    if args.seed.is_random {
        error_line(&format!("seed    {}", args.seed.value));
    }
    signals::install(false)?;
    compute::run(&args.compute, GenerateTask { args, run, prefixes, settings, seen })
}

/// The prefixes of the command line, or the default one.
fn prefixes(args: &GenerateArgs, run: &Run) -> Result<Vec<GivenPrefix>> {
    let given = match &args.prefix_file {
        Some(path) => vec![PrefixText::read(path)?],
        None => args.prefixes.clone(),
    };
    let is_default = given.is_empty();
    let texts = if is_default { vec![default_prefix::of_run(run.config().ok(), run.vocab())?] } else { given };
    let encode = |text: PrefixText| {
        let prefix = Prefix::encode(run.vocab(), &text, args.unknown)?;
        // the start of a line is only named by the line end before it
        let is_shown = !(is_default && text == PrefixText::literal("\n"));
        Ok(GivenPrefix { text, prefix, is_shown })
    };
    texts.into_iter().map(encode).collect()
}

struct GenerateTask<'a> {
    args: &'a GenerateArgs,
    run: Run,
    prefixes: Vec<GivenPrefix>,
    settings: Settings,
    seen: SeenTexts,
}

impl Task for GenerateTask<'_> {
    fn run<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let Self { args, run, prefixes, settings, seen } = self;
        let model = args.model.load(&run, backend, &args.compute)?;
        if args.beam.beam.is_some() {
            return beams::run(args, run.vocab(), &prefixes, &settings, &model);
        }
        let samples = Samples { args, vocab: run.vocab(), prefixes: &prefixes, settings: &settings, seen };
        samples.run(&model)
    }
}
