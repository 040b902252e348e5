//! `rnnlm train`: everything that can be refused is refused first; then the folder is made, the model learns, and the run
//! is saved as it goes.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

use rnnlm_model::{
    CorpusRecord, EpochReport, Generator, Metrics, ModelConfig, Run, RunConfig, Sampler, TrainConfig, Trainer,
};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::{Batches, Corpus, CorpusOptions, LineEndings, Normalization, TokenKind, Vocab};
use serde_json::json;

use crate::args::{Format, TrainArgs};
use crate::corpora::Source;
use crate::failure::{Exit, Failure, Result};
use crate::progress::Training;
use crate::{chart, corpora, devices, format, memory, signals};

/// Tokens of the samples while training and at its end, and of what the untrained model says.
const SAMPLE_TOKENS: usize = 50;
const UNTRAINED_TOKENS: usize = 10;
/// Epochs between two saves.
const SAVE_EVERY: u64 = 10;
/// Epochs that warm caches and clocks up and do not count for the speed.
const WARM_UP: usize = 3;

pub(crate) fn run(args: &TrainArgs) -> Result<Exit> {
    let source = corpora::resolve(&args.corpus)?;
    let options = CorpusOptions {
        kind: args.token,
        normalization: args.normalize.unwrap_or(source.default_normalization()),
        min_freq: args.min_freq,
        max_tokens: args.max_tokens.unwrap_or(if source.is_on_record() { 10_000 } else { 0 }),
        reserved: Vec::new(),
    };
    let train = TrainConfig {
        epochs: args.epochs,
        batch_size: args.batch_size,
        num_steps: args.num_steps,
        lr: args.lr,
        clip: args.clip,
        sampling: args.sampling,
        reset_state: args.reset_state,
        init: args.init,
        seed: args.seed,
    };
    let mut out = Out::choose(args, &source)?;
    let corpus = source.read(&options)?;
    let model = ModelConfig {
        cell: args.cell,
        nonlinearity: args.nonlinearity,
        reset_before: args.reset_before,
        vocab_size: corpus.vocab.len(),
        hidden_size: args.hidden_size,
        num_layers: args.num_layers,
        bidirectional: args.bidirectional,
    };
    let needed = memory::check(&model, &train)?;
    // an epoch is cut only to learn whether the text is long enough, and for the number of tokens
    Batches::new(train.sampling, &corpus.ids, train.batch_size, train.num_steps, train.seed, 0)?;
    signals::listen()?;
    let cpu = devices::cpu(&args.compute)?;
    let trainer = Trainer::new(&cpu, &model, &train, args.compute.path.into())?;
    let config = RunConfig::new(CorpusRecord::new(&args.corpus, &options, &corpus), model, train);
    let session =
        Session { args, corpus: &corpus, progress: Training::new(args.epochs, 0, args.sample_every, args.quiet) };
    session.introduce(&trainer, needed, &options);
    session.train(trainer, &out.create(&config, &corpus.vocab)?)
}

/// Where the run goes.
struct Out {
    path: PathBuf,
    replace: bool,
    /// `runs/CORPUS-CELL` where no folder was asked for.
    stem: Option<String>,
}

impl Out {
    /// The folder that was asked for, or the first free one; refused now rather than after training.
    fn choose(args: &TrainArgs, source: &Source) -> Result<Self> {
        let Some(path) = &args.out else {
            let stem = format!("runs/{}-{}", source.stem(), args.cell.as_str());
            return Ok(Self { path: first_free(&stem), replace: false, stem: Some(stem) });
        };
        let exists = path.symlink_metadata().is_ok();
        if exists && !args.force {
            return Err(rnnlm_model::Error::Exists { path: path.clone() }.into());
        }
        if exists {
            // other programs' models have files of the same names: only what reads as a run is one
            Run::open(path).map_err(|error| Failure::not_replaced(path, error))?;
        }
        Ok(Self { path: path.clone(), replace: args.force, stem: None })
    }

    /// Makes the folder; the next free one if another training has taken the name meanwhile.
    fn create(&mut self, config: &RunConfig, vocab: &Vocab) -> Result<Run> {
        loop {
            match (Run::create(&self.path, self.replace, config.clone(), vocab.clone()), &self.stem) {
                (Err(rnnlm_model::Error::Exists { .. }), Some(stem)) => self.path = first_free(stem),
                (run, _) => {
                    let run = run?;
                    chart::remove(run.path())?;
                    return Ok(run);
                }
            }
        }
    }
}

/// `STEM-N` with the first `N` that is not taken.
fn first_free(stem: &str) -> PathBuf {
    let folder = |n: u64| PathBuf::from(format!("{stem}-{n}"));
    (1..).map(folder).find(|path| path.symlink_metadata().is_err()).unwrap_or_else(|| folder(0))
}

/// What a training has behind it.
#[derive(Default)]
struct Done {
    reports: Vec<EpochReport>,
    /// The epoch after which the model was last saved, 0 for the untrained one.
    saved: u64,
}

/// A training under way, and whom it talks to.
struct Session<'a> {
    args: &'a TrainArgs,
    corpus: &'a Corpus,
    progress: Training,
}

impl Session<'_> {
    /// What is trained on what.
    fn introduce<B: Recurrence>(&self, trainer: &Trainer<B>, needed: u128, options: &CorpusOptions) {
        let say = |text: &str| self.progress.say(text);
        say(&format!("text    {}", describe(self.corpus, options)));
        let config = trainer.model().config();
        let parameters = trainer.model().parameters().layout().len() as u64;
        say(&format!(
            "model   {}, {} parameters, {} of memory",
            name_model(config),
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
            "train   {} epochs of {} × {} tokens a minibatch, learning rate {}, clip {}, seed {}",
            format::thousands(train.epochs),
            train.batch_size,
            train.num_steps,
            train.lr,
            train.clip,
            train.seed
        ));
        say(&format!("on      {}, {}", trainer.model().backend().name(), devices::path_name(trainer.path())));
        let format = self.corpus.text_format;
        if matches!(format.line_endings, LineEndings::Crlf | LineEndings::Mixed)
            && options.normalization == Normalization::None
        {
            say("note    the text has CRLF line ends, which are kept as they are");
        }
    }

    fn train<B: Recurrence>(self, mut trainer: Trainer<B>, run: &Run) -> Result<Exit> {
        run.save(&trainer)?;
        for prefix in self.prefixes() {
            warn_unknown(&self.progress, &self.corpus.vocab, prefix);
        }
        self.show_samples("untrained", &trainer, UNTRAINED_TOKENS)?;
        let start = Instant::now();
        let mut done = Done::default();
        let outcome = self.epochs(&mut trainer, run, &mut done);
        let seconds = start.elapsed().as_secs_f64();
        self.progress.finish();
        // the curve is drawn whatever the outcome, and its own failure is not to hide a result
        let metrics = if done.reports.is_empty() { Vec::new() } else { run.metrics()? };
        let drawn = chart::svg(&metrics, run.path());
        outcome.map_err(|failure| failure.keeping(run.path(), done.saved))?;
        let interrupted = trainer.position().epoch < self.args.epochs;
        if interrupted {
            let position = trainer.position();
            crate::progress::error_line(&format!(
                "interrupted after epoch {} of {} and {}; the model is saved in {}",
                position.epoch,
                self.args.epochs,
                format::count(position.minibatch as u64, "minibatch step"),
                run.path().display()
            ));
        }
        self.conclude(&trainer, run, &done.reports, &metrics, seconds)?;
        drawn?;
        Ok(if interrupted { Exit::Interrupted } else { Exit::Success })
    }

    /// Epoch after epoch until all are done or somebody asks for an end, saved on the way and at the end.
    fn epochs<B: Recurrence>(&self, trainer: &mut Trainer<B>, run: &Run, done: &mut Done) -> Result<()> {
        while trainer.position().epoch < self.args.epochs && !signals::stop_requested() {
            let Some(report) = trainer.epoch(&self.corpus.ids, &signals::stop_requested)? else { break };
            run.log(&report)?;
            self.progress.epoch(&report);
            done.reports.push(report);
            if report.epoch == self.args.epochs {
                break;
            }
            if report.epoch % SAVE_EVERY == 0 {
                self.save(run, trainer)?;
                done.saved = report.epoch;
            }
            if self.args.sample_every > 0 && report.epoch % self.args.sample_every == 0 {
                self.show_samples(&format!("epoch {}", report.epoch), trainer, SAMPLE_TOKENS)?;
            }
        }
        self.save(run, trainer)
    }

    /// Saves, unless the last update has left the numbers behind, which training itself sees only at the next minibatch.
    fn save<B: Recurrence>(&self, run: &Run, trainer: &Trainer<B>) -> Result<()> {
        let (model, config) = (trainer.model(), trainer.config());
        let score = model.evaluate(&self.corpus.ids[..=config.num_steps])?;
        if score.perplexity().is_finite() {
            return Ok(run.save(trainer)?);
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
            let text = sample(trainer, &self.corpus.vocab, prefix, num_tokens)?;
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
            samples.insert(prefix.clone(), sample(trainer, &self.corpus.vocab, prefix, SAMPLE_TOKENS)?.into());
        }
        let device = trainer.model().backend().name();
        let perplexity = epochs.last().map(|epoch| epoch.perplexity);
        let mut out = stdout().lock();
        match self.args.format {
            Format::Json => {
                let object = json!({
                    "perplexity": perplexity,
                    "tokens_per_second": tokens_per_second,
                    "epochs": trainer.position().epoch,
                    "tokens_per_epoch": epochs.last().map(|epoch| epoch.tokens),
                    "device": device,
                    "path": devices::path_name(trainer.path()),
                    "seed": self.args.seed,
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

/// `rnn tanh, 256 hidden units`; `gru reset-before, 2 layers, both directions, 64 hidden units`.
fn name_model(config: &ModelConfig) -> String {
    let mut name = config.stack().cell.name().to_owned();
    if config.num_layers > 1 {
        name.push_str(&format!(", {} layers", config.num_layers));
    }
    if config.bidirectional {
        name.push_str(", both directions");
    }
    format!("{name}, {} hidden units", config.hidden_size)
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

/// `10,000 of 170,580 characters, 28 kinds, letters only, lower-case`.
pub(crate) fn describe(corpus: &Corpus, options: &CorpusOptions) -> String {
    let unit = match options.kind {
        TokenKind::Char => "characters",
        TokenKind::Word => "words",
        TokenKind::Byte => "bytes",
    };
    let used = format::thousands(corpus.ids.len() as u64);
    let all = format::thousands(corpus.tokens);
    let amount = if used == all { format!("all {all}") } else { format!("{used} of {all}") };
    let prepared = match options.normalization {
        Normalization::Book => "letters only, lower-case",
        Normalization::None => "as it is",
    };
    let kinds = format::thousands(corpus.vocab.len() as u64);
    let unknown = match corpus.unknown.count() {
        0 => String::new(),
        count => format!(", {} unknown", format::thousands(count as u64)),
    };
    format!("{amount} {unit}, {kinds} kinds, {prepared}{unknown}")
}
