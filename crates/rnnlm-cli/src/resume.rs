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
use crate::{memory, signals, space};

/// Goes on with the run in `path` to the bits that it would have ended with.
pub(crate) fn run(args: &TrainArgs, settings: &Settings, path: &Path) -> Result<Exit> {
    let writer = RunWriter::resume(path)?.keeping(args.keep);
    let config = writer.run().config().clone();
    let name = if settings.has("corpus") { &args.corpus } else { &config.corpus.name };
    let source = corpora::resolve(name)?;
    refuse_other_settings(args, settings, &source, &config, path)?;
    let corpus = read_again(&source, name, writer.run())?;
    let epochs = if settings.has("epochs") { args.epochs } else { config.train.epochs };
    if epochs < config.train.epochs {
        return Err(Error::FewerEpochs { asked: epochs, configured: config.train.epochs }.into());
    }
    let needed = memory::check(&config.model, &config.train)?;
    Batches::new(config.train.sampling, &corpus.ids, config.train.batch_size, config.train.num_steps, 0, 0)?;
    signals::listen()?;
    device::run(&args.compute, false, Continuation { args, path, writer, config, corpus, epochs, needed })
}

/// A run that is gone on with, which nothing speaks against any more but its device and the bits of what it saved.
struct Continuation<'a> {
    args: &'a TrainArgs,
    path: &'a Path,
    writer: RunWriter,
    config: RunConfig,
    corpus: Corpus,
    epochs: u64,
    /// Bytes of memory.
    needed: u128,
}

impl Work for Continuation<'_> {
    fn on<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let Self { args, path, mut writer, config, corpus, epochs, needed } = self;
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
        let session = Session { args, corpus: &corpus, progress };
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
    let configurations = |args: &TrainArgs| {
        let (model, train) = (train::model_config(args, config.model.vocab_size), train::train_config(args));
        (train::corpus_options(args, source), model, train)
    };
    let (asked, default) = (configurations(args), configurations(&TrainArgs::without_flags()));
    let mut found = asked_differently(&config.corpus.options, &asked.0, &default.0, settings);
    found.extend(asked_differently(&config.model, &asked.1, &default.1, settings));
    found.extend(asked_differently(&config.train, &asked.2, &default.2, settings));
    found.retain(|difference| difference.name != "epochs");
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
    let record = &run.config().corpus;
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

fn join(found: &[Difference]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The sizes of the model whose weights a new run begins with.
pub(crate) fn model_of(run: &Run, args: &TrainArgs, settings: &Settings) -> Result<ModelConfig> {
    let of_run = &run.config().model;
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
