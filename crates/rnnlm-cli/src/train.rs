//! `rnnlm train`: everything that can be refused is refused first; then the folder is made, the model learns, and the run
//! is saved as it goes.

use std::io::{Write, stdout};
use std::time::Instant;

use rnnlm_model::{
    CorpusRecord, EpochReport, Generator, Metrics, ModelConfig, Position, Run, RunConfig, Sampler, Trainer,
};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::{Batches, CorpusOptions, LineEndings, Normalization, Vocab};
use serde_json::json;

use crate::args::Format;
use crate::checkpoint::Saver;
use crate::corpora::Source;
use crate::device::{self, Work};
use crate::failure::{Exit, Failure, Result};
use crate::options::{Settings, TrainArgs};
use crate::out::Out;
use crate::progress::Training;
use crate::validation::Texts;
use crate::{chart, corpora, describe, devices, format, memory, options, resume, signals, space};

/// Tokens of the samples while training and at its end, and of what the untrained model says.
const SAMPLE_TOKENS: usize = 50;
const UNTRAINED_TOKENS: usize = 10;
/// Epochs that warm caches and clocks up and do not count for the speed.
const WARM_UP: usize = 3;

pub(crate) fn run(args: &TrainArgs, settings: &Settings) -> Result<Exit> {
    if args.print_config {
        stdout().write_all(options::print(args, settings).as_bytes()).map_err(Failure::Stream)?;
        return Ok(Exit::Success);
    }
    if args.no_detach {
        return Err(Failure::without_end(args.num_steps));
    }
    if let Some(run) = &args.resume {
        return resume::run(args, settings, run);
    }
    let source = corpora::resolve(&args.corpus)?;
    let from = args.init_from.as_deref().map(Run::open).transpose()?;
    let train = options::train_config(args, settings)?;
    let stem = format!("{}-{}", source.stem(), args.cell.as_str());
    let out = Out::choose(args.out.as_ref(), args.force, &stem)?;
    let (options, corpus) = match &from {
        Some(run) => resume::read_with_vocab_of(run, args, settings, &source)?,
        None => {
            let options = corpus_options(args, &source);
            let corpus = source.read(&options)?;
            (options, corpus)
        }
    };
    let model = match &from {
        Some(run) => resume::model_of(run, args, settings)?,
        None => model_config(args, corpus.vocab.len()),
    };
    let record = CorpusRecord::new(&args.corpus, &options, &corpus);
    let (texts, validation) = Texts::divide(corpus, args)?;
    signals::listen()?;
    let config = RunConfig { validation, ..RunConfig::new(record, model, train) };
    device::run(&args.compute, false, Beginning { args, from, options, texts, config, out })
}

/// A training that nothing speaks against any more, but for its device.
struct Beginning<'a> {
    args: &'a TrainArgs,
    from: Option<Run>,
    options: CorpusOptions,
    texts: Texts,
    config: RunConfig,
    out: Out,
}

impl Work for Beginning<'_> {
    fn on<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let Self { args, from, options, texts, mut config, out } = self;
        let train = &config.train;
        let needed = memory::check(backend, &config.model, train)?;
        // an epoch is cut only to learn whether the text is long enough, and for the number of tokens
        Batches::new(train.sampling, texts.trained(), train.batch_size, train.num_steps, train.seed, 0)?;
        let mut trainer = Trainer::new(backend, &config.model, &config.train, args.compute.path.into())?;
        space::check(&out.path, trainer.checkpoint_bytes())?;
        if let Some(run) = &from {
            let weights = run.load(backend, args.compute.path.into())?.parameters().to_vec(backend)?;
            trainer.model_mut().parameters_mut().write(backend, &weights)?;
            config.init_from = Some(run.path().display().to_string());
        }
        let session =
            Session { args, texts: &texts, progress: Training::new(args.epochs, 0, args.sample_every, args.quiet) };
        session.introduce(&trainer, needed, &options);
        if let Some(run) = &config.init_from {
            session.progress.say(&format!("init    weights, sizes and vocabulary of {run}; all else begins anew"));
        }
        let writer = out.create(&config, &texts.corpus.vocab)?.keep_checkpoints(args.keep);
        let mut saver = Saver::new(writer, args.checkpoint_every, None);
        saver.save(&trainer)?;
        session.train(trainer, saver)
    }
}

/// How the text is read.
pub(crate) fn corpus_options(args: &TrainArgs, source: &Source) -> CorpusOptions {
    CorpusOptions {
        kind: args.token,
        normalization: args.normalize.unwrap_or(source.default_normalization()),
        min_freq: args.min_freq,
        max_tokens: args.max_tokens.unwrap_or(corpora::default_max_tokens(source.is_on_record())),
        reserved: Vec::new(),
    }
}

/// The model for a vocabulary of this size.
pub(crate) fn model_config(args: &TrainArgs, vocab_size: usize) -> ModelConfig {
    ModelConfig {
        cell: args.cell.with_options(args.nonlinearity, !args.reset_before),
        vocab_size,
        hidden_size: args.hidden_size,
        num_layers: args.num_layers,
        bidirectional: args.bidirectional,
        embedding_size: args.embedding_size,
        tie_weights: args.tie_weights,
    }
}

/// A training under way, and whom it talks to.
pub(crate) struct Session<'a> {
    pub(crate) args: &'a TrainArgs,
    pub(crate) texts: &'a Texts,
    pub(crate) progress: Training,
}

impl Session<'_> {
    /// What is trained on what.
    pub(crate) fn introduce<B: Recurrence>(&self, trainer: &Trainer<B>, needed: u128, options: &CorpusOptions) {
        let say = |text: &str| self.progress.say(text);
        say(&format!("text    {}", describe::text(&self.texts.corpus, options)));
        let config = trainer.model().config();
        let parameters = trainer.model().parameters().layout().len() as u64;
        say(&format!(
            "model   {}, {} parameters, {} of memory",
            describe::model(config),
            format::thousands(parameters),
            format::bytes(needed)
        ));
        if config.bidirectional {
            say(
                "warning: a bidirectional model reads the token that it is to predict, so its perplexity means nothing",
            );
            say("warning: no samples: its backward half reads what is yet to be said");
        }
        let train = trainer.config();
        say(&format!(
            "train   {} epochs of {} × {} tokens a minibatch, {}, seed {}",
            format::thousands(train.epochs),
            train.batch_size,
            train.num_steps,
            describe::training(train),
            train.seed
        ));
        if let Some(held_out) = self.texts.held_out() {
            let patience = match train.patience {
                0 => String::new(),
                patience => format!(", the end after {patience} epochs without a better score"),
            };
            say(&format!("check   {} tokens held out{patience}", format::thousands(held_out.len() as u64)));
        }
        say(&format!("on      {}, {}", trainer.model().backend().name(), devices::path_name(trainer.path())));
        let format = self.texts.corpus.text_format;
        if matches!(format.line_endings, LineEndings::Crlf | LineEndings::Mixed)
            && options.normalization == Normalization::None
        {
            say("note    the text has CRLF line ends, which are kept as they are");
        }
    }

    /// Trains to the end of the last epoch, from wherever `trainer` stands.
    pub(crate) fn train<B: Recurrence>(self, mut trainer: Trainer<B>, mut saver: Saver) -> Result<Exit> {
        for prefix in self.prefixes() {
            warn_unknown(&self.progress, &self.texts.corpus.vocab, prefix);
        }
        if trainer.position() == Position::default() {
            self.show_samples("untrained", &trainer, UNTRAINED_TOKENS)?;
        }
        let start = Instant::now();
        let mut reports = Vec::new();
        let outcome = self.epochs(&mut trainer, &mut saver, &mut reports);
        let seconds = start.elapsed().as_secs_f64();
        self.progress.finish();
        let run = saver.writer.run();
        // the curve is drawn whatever the outcome, and its own failure is not to hide a result
        let metrics = match &outcome {
            _ if trainer.position().epoch == 0 => Vec::new(),
            Ok(()) => run.metrics()?,
            Err(_) => run.metrics().unwrap_or_default(),
        };
        let drawn = chart::svg(&metrics, &saver.writer);
        outcome.map_err(|failure| failure.keeping(run.path(), &saver.last()))?;
        let position = trainer.position();
        let interrupted = position.epoch < trainer.config().epochs && !trainer.should_stop_early();
        if interrupted {
            crate::progress::error_line(&format!(
                "interrupted after epoch {} of {} and {}; the model is saved in {}",
                position.epoch,
                trainer.config().epochs,
                format::count(position.minibatch as u64, "minibatch step"),
                run.path().display()
            ));
        }
        self.conclude(&trainer, run, &reports, &metrics, seconds)?;
        drawn?;
        Ok(if interrupted { Exit::Interrupted } else { Exit::Success })
    }

    /// Epoch after epoch until all are done, patience is, or somebody asks for an end; saved on the way and at the end.
    fn epochs<B: Recurrence>(
        &self,
        trainer: &mut Trainer<B>,
        saver: &mut Saver,
        reports: &mut Vec<EpochReport>,
    ) -> Result<()> {
        let epochs = trainer.config().epochs;
        let is_done = |trainer: &Trainer<B>| trainer.position().epoch >= epochs || trainer.should_stop_early();
        while !is_done(trainer) && !signals::stop_requested() {
            let pauses = saver.interval.pauses(trainer.position().step);
            let mut report = trainer.epoch(self.texts.trained(), &pauses)?;
            if let Some(report) = &mut report {
                if trainer.validate(self.texts.held_out(), report)? {
                    saver.try_save_best(trainer, &self.progress)?;
                }
                saver.writer.log(report);
                self.progress.epoch(report);
                reports.push(*report);
            }
            if is_done(trainer) || signals::stop_requested() {
                break;
            }
            if saver.interval.is_due(trainer.position()) {
                self.check_finite(trainer)?;
                saver.try_save(trainer, &self.progress)?;
            }
            if let Some(report) = &report
                && self.args.sample_every > 0
                && report.epoch % self.args.sample_every == 0
            {
                self.show_samples(&format!("epoch {}", report.epoch), trainer, SAMPLE_TOKENS)?;
            }
        }
        self.check_finite(trainer)?;
        saver.save_last(trainer)
    }

    /// An error if the last update has left the numbers behind, which training itself sees only at the next minibatch.
    fn check_finite<B: Recurrence>(&self, trainer: &Trainer<B>) -> Result<()> {
        let (model, config) = (trainer.model(), trainer.config());
        let score = model.evaluate(&self.texts.trained()[..=config.num_steps])?;
        if score.perplexity().is_finite() {
            return Ok(());
        }
        let squares = trainer.gradients().to_vec(model.backend())?.into_iter().map(|g| f64::from(g).powi(2));
        let message = format!(
            "training diverged at step {}: the model it left has loss {}, gradient norm {}, learning rate {:?}",
            trainer.position().step,
            score.nats_per_token(),
            squares.sum::<f64>().sqrt(),
            config.lr
        );
        Err(Failure::diverged(message, config.lr))
    }

    /// What samples go on from: nothing where the model cannot go on from anything.
    fn prefixes(&self) -> &[String] {
        if self.args.bidirectional { &[] } else { &self.args.prefixes }
    }

    /// What the model says now, on standard error like all progress.
    fn show_samples<B: Recurrence>(&self, when: &str, trainer: &Trainer<B>, num_tokens: usize) -> Result<()> {
        if self.args.quiet {
            return Ok(());
        }
        for prefix in self.prefixes() {
            let text = sample(trainer, &self.texts.corpus.vocab, prefix, num_tokens)?;
            self.progress.say(&format!("{when}: {text}"));
        }
        Ok(())
    }

    /// The result: for people a line, samples and a chart, for programs one object.
    fn conclude<B: Recurrence>(
        &self,
        trainer: &Trainer<B>,
        run: &Run,
        epochs: &[EpochReport],
        metrics: &[Metrics],
        seconds: f64,
    ) -> Result<()> {
        let skipped = if epochs.len() > WARM_UP { WARM_UP } else { 0 };
        let mut rates: Vec<f64> = epochs[skipped..].iter().map(EpochReport::tokens_per_second).collect();
        let tokens_per_second = format::median(&mut rates);
        let mut samples = serde_json::Map::new();
        for prefix in self.prefixes() {
            samples.insert(prefix.clone(), sample(trainer, &self.texts.corpus.vocab, prefix, SAMPLE_TOKENS)?.into());
        }
        let device = trainer.model().backend().name();
        let (perplexity, best) = (metrics.last().map(|epoch| epoch.perplexity), trainer.position().best);
        let mut out = stdout().lock();
        match self.args.format {
            Format::Json => {
                let object = json!({
                    "perplexity": perplexity,
                    "val_perplexity": metrics.last().and_then(|epoch| epoch.val_perplexity),
                    "best": best.map(|best| json!({ "epoch": best.epoch, "val_perplexity": best.perplexity })),
                    "stopped_early": trainer.should_stop_early() && trainer.position().epoch < trainer.config().epochs,
                    "tokens_per_second": tokens_per_second,
                    "epochs": trainer.position().epoch,
                    "tokens_per_epoch": epochs.last().map(|epoch| epoch.tokens),
                    "device": device,
                    "path": devices::path_name(trainer.path()),
                    "seed": trainer.config().seed,
                    "run_dir": run.path().display().to_string(),
                    "parameters": trainer.model().parameters().layout().len(),
                    "seconds": seconds,
                    "samples": samples,
                });
                writeln!(out, "{object}").map_err(Failure::Stream)
            }
            Format::Text => {
                let speed = format::thousands(tokens_per_second.round() as u64);
                let perplexity = perplexity.map_or("not known".to_owned(), format::perplexity);
                let mut text = format!("perplexity {perplexity}, {speed} tokens/s on {device}\n");
                if let Some(best) = best {
                    let perplexity = format::perplexity(best.perplexity);
                    text.push_str(&format!(
                        "held out {perplexity} after epoch {}, the best; best.safetensors\n",
                        best.epoch
                    ));
                }
                for (_, sample) in &samples {
                    text.push_str(sample.as_str().unwrap_or_default());
                    text.push('\n');
                }
                if let Some(chart) = chart::terminal(metrics) {
                    text.push_str(&format!("perplexity by epoch\n{chart}\n"));
                }
                text.push_str(&format!("run {}\n", run.path().display()));
                out.write_all(text.as_bytes()).map_err(Failure::Stream)
            }
        }
    }
}

/// Prefix and continuation, greedy.
fn sample<B: Recurrence>(trainer: &Trainer<B>, vocab: &Vocab, prefix: &str, num_tokens: usize) -> Result<String> {
    let mut ids = vocab.encode_prefix(prefix).ids;
    if ids.is_empty() {
        ids.push(commonest(vocab));
    }
    let mut generator = Generator::new(trainer.model())?;
    let first = ids.clone();
    generator.generate(&first, num_tokens, &mut Sampler::Greedy, &mut |id| {
        ids.push(id);
        true
    })?;
    Ok(vocab.decode(&ids)?)
}

/// The token that stands for an empty prefix: the commonest, which is the first one after `<unk>`.
pub(crate) fn commonest(vocab: &Vocab) -> u32 {
    if vocab.len() > 1 { 1 } else { 0 }
}

/// Names the characters of a prefix that the vocabulary does not know.
fn warn_unknown(progress: &Training, vocab: &Vocab, prefix: &str) {
    let unknown = vocab.encode_prefix(prefix).unknown;
    if unknown.count() > 0 {
        let names: Vec<String> = unknown.distinct().iter().map(|token| format!("{:?}", token.token)).collect();
        progress.warn(&format!("warning: prefix {prefix:?} has tokens that are read as <unk>: {}", names.join(" ")));
    }
}
