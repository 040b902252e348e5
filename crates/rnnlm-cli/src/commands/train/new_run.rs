//! A new training run, with random initial weights or those of another run (`--init-from`).

use rnnlm_model::{Run, RunConfig, Trainer};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::CorpusOptions;

use super::args::TrainArgs;
use super::checkpoint::Saver;
use super::session::Session;
use super::split::{Split, Validation};
use super::{config, given_vocab, init_from, options};
use crate::args::warn_if_untrained;
use crate::compute::{self, Task};
use crate::corpora::{self, TextSource};
use crate::failure::{Exit, Result};
use crate::prefix::PrefixText;
use crate::progress::TrainingProgress;
use crate::ranks::Ranks;
use crate::run_folder::RunFolder;
use crate::text::Text;
use crate::{default_prefix, disk_space, human, memory, signals};

/// Trains a new run.
pub(crate) fn run(args: &TrainArgs, ranks: &Ranks) -> Result<Exit> {
    let source = corpora::resolve(&args.corpus())?;
    let initial_run = args.init_from.as_deref().map(Run::open).transpose()?;
    let train = config::train_config(args)?;
    let named_prefixes = args.named_prefixes()?;
    let cell = initial_run.as_ref().map_or(args.cell, |run| run.model().cell);
    let stem = format!("{}-{}", source.stem(), cell.as_str());
    let choose = || RunFolder::choose(args.out.as_ref(), args.force, &stem);
    let folder = ranks.is_first().then(choose).transpose()?;
    let given_vocab = args.vocab.as_ref().or(args.tokenizer.as_ref());
    let (corpus_options, text) = ranks.first_then_others(|| match (&initial_run, given_vocab, &source) {
        (Some(run), ..) => init_from::read_corpus(run, args, &source),
        (None, Some(path), _) => given_vocab::read_text(path, args, &source),
        (None, None, TextSource::Cache(folder)) => given_vocab::read_cache(folder, args, &source),
        (None, None, _) => {
            let corpus_options = config::corpus_options(args, &source);
            let text = Text::read(&source, &corpus_options)?;
            Ok((corpus_options, text))
        }
    })?;
    let model = match &initial_run {
        Some(run) => init_from::model_config(run, args, text.corpus.vocab.len())?,
        None => config::model_config(args, text.corpus.vocab.len()),
    };
    model.validate()?;
    train.validate_for(&model)?;
    config::require_frequency_order(&model, &text.corpus.vocab)?;
    let record = text.record(&args.corpus(), &corpus_options)?;
    let validation = Validation {
        fraction: args.val_fraction,
        seed: train.seed,
        text: args.val_corpus.as_deref(),
        encoding: args.encoding,
    };
    let (split, validation) = Split::new(text, validation)?;
    signals::install(ranks.size() > 1)?;
    let sizes = Some(split.sizes()?);
    let config = RunConfig { validation, sizes, ..RunConfig::new(record, model, train) };
    let prefixes = default_prefix::of_samples(named_prefixes, &config, &split.text.corpus.vocab);
    let task = NewRunTask { args, ranks, initial_run, corpus_options, split, prefixes, config, folder };
    compute::run_quietly(&args.compute, task)
}

/// A new run that passed every check that needs no device.
struct NewRunTask<'a> {
    args: &'a TrainArgs,
    ranks: &'a Ranks,
    initial_run: Option<Run>,
    corpus_options: CorpusOptions,
    split: Split,
    prefixes: Vec<PrefixText>,
    config: RunConfig,
    /// On rank 0.
    folder: Option<RunFolder>,
}

impl Task for NewRunTask<'_> {
    fn run<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let Self { args, ranks, initial_run, corpus_options, split, prefixes, mut config, folder } = self;
        let path = args.compute.path.into();
        let memory =
            memory::check_training(backend, &config.model, &ranks.own_part(&config.train), path, split.num_tokens())?;
        // an error if the text is too short for one minibatch
        config.train.batches(split.training(), 0)?;
        let collective = ranks.collective();
        let mut trainer = Trainer::with_collective(backend, &config.model, &config.train, path, collective)?;
        if let Some(folder) = &folder {
            disk_space::check(&folder.path, trainer.checkpoint_bytes())?;
        }
        if let Some(run) = &initial_run {
            warn_if_untrained(run)?;
            trainer.model_mut().copy_parameters_from(&run.load(backend, path)?)?;
            config.init_from = Some(run.path().display().to_string());
        }
        let progress = TrainingProgress::new(args.epochs, args.quiet);
        let session = Session { args, ranks, split: &split, prefixes: &prefixes, progress, memory };
        session.print_header(&trainer, &corpus_options);
        if let (Some(path), Some(run)) = (&config.init_from, &initial_run) {
            let new = split.text.corpus.vocab.len() - run.vocab().len();
            let added =
                if new == 0 { String::new() } else { format!(", and {}", human::count(new as u64, "new token")) };
            session.progress.info(&format!("init    weights, sizes and vocabulary of {path}{added}"));
        }
        config.options = options::record(args, &prefixes, &trainer);
        ranks.agree::<B>(&config, &trainer.model().parameters().to_vec(backend)?)?;
        let create = |folder: RunFolder| folder.create(&config, &split.text.corpus.vocab);
        let writer = folder.map(create).transpose()?.map(|writer| writer.keep_checkpoints(args.keep));
        let mut saver = Saver::new(writer, args.checkpoint_every, None);
        saver.save(&trainer).inspect_err(|_| {
            let Some(writer) = &saver.writer else { return };
            let path = writer.run().path();
            if args.force && Run::open(path).is_ok() {
                session.progress.warn(&format!("`{}` still contains the run that was to be replaced", path.display()));
            }
        })?;
        session.train(trainer, saver)
    }
}
