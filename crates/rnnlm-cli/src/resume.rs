//! Training that begins from a run: going on with it exactly (`--resume`), or a new one with its weights (`--init-from`).

use std::path::Path;

use rnnlm_model::{
    CorpusRecord, Difference, Error, ModelConfig, Run, RunConfig, RunWriter, TrainConfig, Trainer, differences,
};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::{Batches, Corpus, CorpusOptions};
use serde::Serialize;

use crate::checkpoint::Saver;
use crate::corpora::{self, Source};
use crate::device::{self, Work};
use crate::failure::{Exit, Failure, Result};
use crate::options::{Settings, TrainArgs};
use crate::progress::Training;
use crate::train::{self, Session};
use crate::validation::Texts;
use crate::{memory, options, signals, space};

/// Goes on with the run in `path` to the bits that it would have ended with.
pub(crate) fn run(args: &TrainArgs, settings: &Settings, path: &Path) -> Result<Exit> {
    let writer = RunWriter::resume(path)?.keep_checkpoints(args.keep);
    let config = writer.config().clone();
    let name = if settings.has("corpus") { &args.corpus } else { &config.corpus.name };
    let source = corpora::resolve(name)?;
    refuse_other_settings(args, settings, &source, &config, path)?;
    let corpus = read_again(&source, name, writer.run())?;
    let texts = hold_out_again(corpus, args, settings, &config)?;
    let epochs = if settings.has("epochs") { args.epochs } else { config.train.epochs };
    if epochs < config.train.epochs {
        return Err(Error::FewerEpochs { requested: epochs, configured: config.train.epochs }.into());
    }
    if epochs > config.train.epochs && config.train.schedule.depends_on_total_epochs() {
        let (schedule, end) = (config.train.schedule.as_str(), config.train.epochs);
        let message = format!("the {schedule} schedule of this run ends with epoch {end}, not with epoch {epochs}");
        return Err(Failure::new(message, "--init-from begins a new training with its weights"));
    }
    signals::listen()?;
    device::run(&args.compute, false, Continuation { args, path, writer, config, texts, epochs })
}

/// A run that is gone on with, which nothing speaks against any more but its device and the bits of what it saved.
struct Continuation<'a> {
    args: &'a TrainArgs,
    path: &'a Path,
    writer: RunWriter,
    config: RunConfig,
    texts: Texts,
    epochs: u64,
}

impl Work for Continuation<'_> {
    fn on<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let Self { args, path, mut writer, config, texts, epochs } = self;
        let needed = memory::check(backend, &config.model, &config.train)?;
        Batches::new(config.train.sampling, texts.trained(), config.train.batch_size, config.train.num_steps, 0, 0)?;
        let train = TrainConfig { epochs, ..config.train };
        let mut trainer = Trainer::new(backend, &config.model, &train, args.compute.path.into())?;
        space::check(path, trainer.checkpoint_bytes())?;
        let saved = writer.restore(&mut trainer)?;
        if !saved && config.init_from.is_some() {
            let message = format!("`{}` was never saved, and its first weights were another run's", path.display());
            return Err(Failure::new(message, "begin it again, with --init-from and --force"));
        }
        // the run is changed only once everything in it has been found to be what was written
        writer.raise_epochs(epochs)?;
        let position = trainer.position();
        let progress = Training::new(epochs, position.epoch, args.sample_every, args.quiet);
        let session = Session { args, texts: &texts, progress };
        session.introduce(&trainer, needed, &config.corpus.options);
        session.progress.say(&format!(
            "resume  {} after epoch {} and {}",
            path.display(),
            position.epoch,
            crate::format::count(position.minibatch as u64, "minibatch step")
        ));
        session.train(trainer, Saver::new(writer, args.checkpoint_every, saved.then_some(position)))
    }
}

/// An error if the command line asks for another training than the run's.
fn refuse_other_settings(
    args: &TrainArgs,
    settings: &Settings,
    source: &Source,
    config: &RunConfig,
    path: &Path,
) -> Result<()> {
    let configurations = |args: &TrainArgs, settings: &Settings| -> Result<_> {
        let train = options::train_config(args, settings)?;
        Ok((train::corpus_options(args, source), train::model_config(args, config.model.vocab_size), train))
    };
    let default = configurations(&TrainArgs::without_flags(), &Settings::default())?;
    let asked = configurations(args, settings)?;
    let mut found = asked_differently(&config.corpus.options, &asked.0, &default.0, settings);
    found.extend(asked_differently(&config.model, &asked.1, &default.1, settings));
    found.extend(asked_differently(&config.train, &asked.2, &default.2, settings));
    // the learning rate and the bound of the norm have defaults that follow from other settings
    let is_asked = |name: &str| !matches!(name, "lr" | "clip") || settings.has(name);
    found.retain(|difference| difference.name != "epochs" && is_asked(&difference.name));
    refuse(found, path, "--resume goes on with what the run is; --init-from begins a new one with its weights")
}

/// The settings that are not the run's and that somebody asked for: a flag that was given, or a value that is not the
/// default.
fn asked_differently<T: Serialize>(of_run: &T, asked: &T, default: &T, settings: &Settings) -> Vec<Difference> {
    let changed = differences(default, asked);
    let by_flag = |name: &str| name.split('.').any(|part| settings.has(flag(part)));
    let mut found = differences(of_run, asked);
    found.retain(|found| by_flag(&found.name) || changed.iter().any(|changed| changed.name == found.name));
    found
}

/// The flag that sets a setting.
fn flag(setting: &str) -> &str {
    match setting {
        "kind" => "token",
        "normalization" => "normalize",
        "betas" => "beta1",
        "factor" => "plateau_factor",
        same => same,
    }
}

fn refuse(found: Vec<Difference>, run: &Path, hint: &str) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let message = format!("`{}` is another training: {}", run.display(), join(&found));
    Err(Failure::Own { message, hint: Some(hint.to_owned()), exit: Exit::BadModel })
}

/// The run's text as its vocabulary reads it, which must be what it read when the run began.
fn read_again(source: &Source, name: &str, run: &Run) -> Result<Corpus> {
    let record = &run.config()?.corpus;
    let hint = "--corpus says where the text of the run is now; --init-from begins a new run";
    let corpus = match source.encode(run.vocab().clone(), record.options.max_tokens) {
        Err(Failure::Model(error @ Error::Vocab(rnnlm_vocab::Error::Missing { .. }))) => {
            return Err(Failure::new(error.to_string(), hint));
        }
        corpus => corpus?,
    };
    let now = CorpusRecord::new(&record.name, &record.options, &corpus);
    match differences(record, &now) {
        found if found.is_empty() => Ok(corpus),
        found => Err(Failure::Own {
            message: format!("`{name}` is not the text of the run: {}", join(&found)),
            hint: Some(hint.to_owned()),
            exit: Exit::BadModel,
        }),
    }
}

/// What the run holds out, which must be what it held out when it began; another text may have moved.
fn hold_out_again(corpus: Corpus, args: &TrainArgs, settings: &Settings, config: &RunConfig) -> Result<Texts> {
    let recorded = config.validation.as_ref();
    let fraction = recorded.map_or(0.0, |record| record.fraction);
    let other = recorded.and_then(|record| record.corpus.as_deref());
    let moved = args.val_corpus.as_deref().filter(|_| settings.has("val_corpus"));
    if (settings.has("val_fraction") && args.val_fraction != fraction) || (moved.is_some() && other.is_none()) {
        let message = "the run holds out other text than is asked for".to_owned();
        let hint = Some("--val-fraction and --val-corpus belong to the beginning of a run".to_owned());
        return Err(Failure::Own { message, hint, exit: Exit::BadModel });
    }
    let (texts, mut now) = Texts::hold_out(corpus, fraction, moved.or(other))?;
    if let (Some(now), Some(recorded)) = (&mut now, recorded) {
        now.corpus.clone_from(&recorded.corpus);
    }
    match differences(&config.validation, &now) {
        found if found.is_empty() => Ok(texts),
        found => Err(Failure::Own {
            message: format!("the held-out text is not that of the run: {}", join(&found)),
            hint: Some("--val-corpus says where it is now".to_owned()),
            exit: Exit::BadModel,
        }),
    }
}

fn join(found: &[Difference]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The sizes of the model whose weights a new run begins with.
pub(crate) fn model_of(run: &Run, args: &TrainArgs, settings: &Settings) -> Result<ModelConfig> {
    let of_run = run.model();
    let asked = train::model_config(args, of_run.vocab_size);
    let default = train::model_config(&TrainArgs::without_flags(), of_run.vocab_size);
    let found = asked_differently(of_run, &asked, &default, settings);
    refuse(found, run.path(), "weights fit only a model of their own sizes; leave these flags out")?;
    Ok(of_run.clone())
}

/// A text read with the vocabulary of the run whose weights a new run begins with.
pub(crate) fn read_with_vocab_of(
    run: &Run,
    args: &TrainArgs,
    settings: &Settings,
    source: &Source,
) -> Result<(CorpusOptions, Corpus)> {
    let vocab = run.vocab();
    let asked = train::corpus_options(args, source);
    let options =
        CorpusOptions { kind: vocab.kind(), normalization: vocab.normalization(), min_freq: 0, ..asked.clone() };
    let default = train::corpus_options(&TrainArgs::without_flags(), source);
    let found = asked_differently(&options, &asked, &default, settings);
    refuse(found, run.path(), "a text is read with the vocabulary that the weights know; leave these flags out")?;
    let corpus = source.encode(vocab.clone(), options.max_tokens)?;
    Ok((options, corpus))
}
