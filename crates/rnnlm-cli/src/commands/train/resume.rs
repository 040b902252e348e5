//! `--resume`: continues a run from its last checkpoint. It ends with the same bits as an uninterrupted run.

use std::path::Path;

use rnnlm_model::{CorpusRecord, Error, Position, RunConfig, RunWriter, TrainConfig, Trainer, differences};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::{CorpusOptions, TextEncoding, Vocab};

use super::args::TrainArgs;
use super::checkpoint::Saver;
use super::session::Session;
use super::split::{Split, Validation};
use super::{config, conflicts, options};
use crate::compute::{self, Task};
use crate::corpora::{self, TextSource};
use crate::failure::{Exit, Failure, Result};
use crate::prefix::PrefixText;
use crate::progress::TrainingProgress;
use crate::ranks::Ranks;
use crate::text::{self, Text};
use crate::{default_prefix, disk_space, human, memory, signals, tokenizer_file};

/// Resumes the run in `path`.
pub(crate) fn run(args: &TrainArgs, path: &Path, ranks: &Ranks) -> Result<Exit> {
    let writer = ranks.is_first().then(|| RunWriter::resume(path)).transpose()?;
    let (config, vocab) = ranks.share_run(writer.as_ref())?;
    let settings = &args.settings;
    let named = args.corpus();
    let corpus_name = if settings.is_explicit("corpus") { &named } else { &config.corpus.name };
    let source = corpora::resolve(corpus_name)?;
    if !settings.is_explicit("corpus") && source.is_terminal() {
        let run = path.display();
        let hint = format!("rnnlm train --resume {run} --corpus FILE, or rnnlm train --resume {run} < FILE");
        return Err(Failure::usage(format!("`{run}` was trained on standard input, which is a terminal now"))
            .with_hint(format!("give it the same text again: {hint}")));
    }
    require_same_settings(args, &source, &config, path)?;
    if let (Some(tokenizer), Some(writer)) = (&args.tokenizer, &writer) {
        tokenizer_file::require_same(tokenizer, writer.run())?;
    }
    let args = &options::of_run(args, &config, path)?;
    let writer = writer.map(|writer| writer.keep_checkpoints(args.keep));
    // a text at a new location can have another encoding
    let encoding = if settings.is_explicit("encoding") { args.encoding } else { config.corpus.options.encoding };
    let read = || read_text(&source, corpus_name, &config.corpus, &vocab, encoding);
    let text = ranks.first_then_others(read)?;
    let split = split_again(text, args, &config, encoding)?;
    let epochs = if settings.is_explicit("epochs") { args.epochs } else { config.train.epochs };
    if epochs < config.train.epochs {
        return Err(Error::FewerEpochs { requested: epochs, configured: config.train.epochs }.into());
    }
    if epochs > config.train.epochs && config.train.schedule.depends_on_total_epochs() {
        let schedule = config.train.schedule.as_str();
        let end = config.train.epochs;
        let message = format!("the {schedule} schedule of this run ends at epoch {end}, not at epoch {epochs}");
        return Err(Failure::failed(message).with_hint("use --init-from to start a new run with its weights"));
    }
    let prefixes = default_prefix::of_samples(args.named_prefixes()?, &config, &split.text.corpus.vocab);
    signals::install(ranks.size() > 1)?;
    compute::run_quietly(&args.compute, ResumeTask { args, ranks, path, writer, config, split, prefixes, epochs })
}

/// A run that passed every check that needs neither a device nor its checkpoint.
struct ResumeTask<'a> {
    args: &'a TrainArgs,
    ranks: &'a Ranks,
    path: &'a Path,
    /// On rank 0.
    writer: Option<RunWriter>,
    config: RunConfig,
    split: Split,
    prefixes: Vec<PrefixText>,
    epochs: u64,
}

impl Task for ResumeTask<'_> {
    fn run<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let Self { args, ranks, path, mut writer, config, split, prefixes, epochs } = self;
        let compute_path = args.compute.path.into();
        let part = ranks.own_part(&config.train);
        let memory = memory::check_training(backend, &config.model, &part, compute_path, split.num_tokens())?;
        // an error if the text is too short for one minibatch
        config.train.batches(split.training(), 0)?;
        ranks.agree::<B>(&config, &[])?;
        let train = TrainConfig { epochs, ..config.train };
        let collective = ranks.collective();
        let mut trainer = Trainer::with_collective(backend, &config.model, &train, compute_path, collective)?;
        let is_restored = match &mut writer {
            Some(writer) => {
                disk_space::check(path, trainer.checkpoint_bytes())?;
                writer.restore(&mut trainer)?
            }
            None => trainer.receive()?,
        };
        let Position { epoch, minibatch, .. } = trainer.position();
        let batches = train.batches(split.training(), epoch)?;
        if minibatch >= batches.num_minibatches() {
            let reason = format!("it is at minibatch {minibatch} of an epoch of {}", batches.num_minibatches());
            return Err(Error::Damaged { path: path.join("trainer.safetensors"), reason }.into());
        }
        if !is_restored && config.init_from.is_some() {
            let path = path.display();
            let message = format!("`{path}` has no checkpoint, and its initial weights came from another run");
            return Err(Failure::failed(message).with_hint("start it again, with --init-from and --force"));
        }
        // nothing in the folder changes before all of it has been verified
        let options = options::record(args, &prefixes, &trainer);
        let position = trainer.position();
        let warnings = if position.step > 0 { options::changes(&config.options, &options) } else { Vec::new() };
        if let Some(writer) = &mut writer {
            writer.raise_epochs(epochs)?;
            writer.set_options(options)?;
        }
        let progress = TrainingProgress::new(epochs, args.quiet);
        let session = Session { args, ranks, split: &split, prefixes: &prefixes, progress, memory };
        session.print_header(&trainer, &config.corpus.options);
        session.progress.info(&format!(
            "resume  {} after epoch {} and {}",
            path.display(),
            position.epoch,
            human::count(position.minibatch as u64, "minibatch step")
        ));
        for warning in warnings {
            session.progress.warn(&warning);
        }
        session.train(trainer, Saver::new(writer, args.checkpoint_every, is_restored.then_some(position)))
    }
}

/// An error if the command line sets other values than the run has.
fn require_same_settings(args: &TrainArgs, source: &TextSource, config: &RunConfig, path: &Path) -> Result<()> {
    let configurations = |args: &TrainArgs| -> Result<_> {
        let options = config::corpus_options(args, source);
        let model = config::model_config(args, config.model.vocab_size);
        Ok((options, model, config::train_config(args)?))
    };
    let default = configurations(&TrainArgs::defaults())?;
    let requested = configurations(args)?;
    let settings = &args.settings;
    let mut found = conflicts::find(&config.corpus.options, &requested.0, &default.0, settings);
    found.extend(conflicts::find(&config.model, &requested.1, &default.1, settings));
    found.extend(conflicts::find(&config.train, &requested.2, &default.2, settings));
    // the defaults of these two depend on other settings, so a value that is not the default does not mean that it was
    // set
    let is_set = |name: &str| !matches!(name, "lr" | "clip") || settings.is_explicit(name);
    found.retain(|difference| !matches!(difference.name.as_str(), "epochs" | "encoding") && is_set(&difference.name));
    let hint = "--resume uses the settings of the run; use --init-from to start a new run with its weights";
    conflicts::require_none(&found, path, hint)
}

/// Reads the text of the run with its vocabulary. An error if it is not the text that the run started with.
pub(super) fn read_text(
    source: &TextSource,
    name: &str,
    record: &CorpusRecord,
    vocab: &Vocab,
    encoding: TextEncoding,
) -> Result<Text> {
    if let Some(text) = read_token_file(source, record, vocab)? {
        return Ok(text);
    }
    let hint = "use --corpus to name the current location of the text, or --init-from to start a new run";
    let options = CorpusOptions { encoding, ..record.options.clone() };
    let text = match Text::encode(source, vocab, &options) {
        Err(Failure::Library(error @ Error::Vocab(rnnlm_vocab::Error::Missing { .. }))) => {
            return Err(Failure::failed(error.to_string()).with_hint(hint));
        }
        text => text?,
    };
    let found = differences(record, &text.record(&record.name, &record.options)?);
    if found.is_empty() {
        return Ok(text);
    }
    let message = format!("`{name}` is not the text of the run: {}", conflicts::join(&found));
    Err(Failure::bad_model(message).with_hint(hint))
}

/// The text in a file of ids, if it is that of the run. A file of the same name can be a text.
fn read_token_file(source: &TextSource, record: &CorpusRecord, vocab: &Vocab) -> Result<Option<Text>> {
    let Some(path) = text::token_file(source) else { return Ok(None) };
    for shift in 0..=1 {
        let text = Text::of_token_file(path, vocab, shift, record.options.max_tokens);
        if let Ok(text) = text
            && differences(record, &text.record(&record.name, &record.options)?).is_empty()
        {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Splits the text as at the start of the run. An error if the validation set is not the one that the run started with;
/// `--val-corpus` can name a new location of the same text.
fn split_again(training: Text, args: &TrainArgs, config: &RunConfig, encoding: TextEncoding) -> Result<Split> {
    let recorded = config.validation.as_ref();
    let fraction = recorded.map_or(0.0, |record| record.fraction);
    let recorded_corpus = recorded.and_then(|record| record.corpus.as_deref());
    let new_location = args.val_corpus.as_deref().filter(|_| args.settings.is_explicit("val_corpus"));
    let is_other_fraction = args.settings.is_explicit("val_fraction") && args.val_fraction != fraction;
    let is_other_kind = new_location.is_some() && recorded_corpus.is_none();
    if is_other_fraction || is_other_kind {
        return Err(Failure::bad_model("the run has a different validation set")
            .with_hint("--val-fraction and --val-corpus are fixed when a run starts"));
    }
    let (seed, text) = (config.train.seed, new_location.or(recorded_corpus));
    let (split, mut record) = Split::new(training, Validation { fraction, seed, text, encoding })?;
    if let (Some(record), Some(recorded)) = (&mut record, recorded) {
        record.corpus.clone_from(&recorded.corpus);
    }
    let found = differences(&config.validation, &record);
    if found.is_empty() {
        return Ok(split);
    }
    let message = format!("the validation text is not that of the run: {}", conflicts::join(&found));
    Err(Failure::bad_model(message).with_hint("use --val-corpus to name the current location of the text"))
}
