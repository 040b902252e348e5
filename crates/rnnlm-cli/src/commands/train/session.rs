//! The training loop of a new or a resumed run: epochs, validation, checkpoints, samples and the result.

use std::time::Instant;

use rnnlm_model::{
    Best, EpochProgress, EpochReport, Generator, Metrics, Position, Run, Sampler, TokenSize, TokenSizes, TrainConfig,
    Trainer,
};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::{CorpusOptions, LineEndConversion, LineEndings, Normalization, TextEncoding};
use serde_json::{Map, Value, json};

use super::args::TrainArgs;
use super::checkpoint::Saver;
use super::split::Split;
use crate::args::Format;
use crate::failure::{Exit, Failure, Result};
use crate::memory::Estimate;
use crate::prefix::{Prefix, PrefixText, Unknown};
use crate::process_memory::ProcessMemory;
use crate::progress::{TrainingProgress, error_line};
use crate::ranks::Ranks;
use crate::{chart, describe, human, output, signals};

/// Tokens of a sample during training and at its end.
const SAMPLE_TOKENS: usize = 50;
/// Tokens of a sample of the untrained model.
const UNTRAINED_SAMPLE_TOKENS: usize = 10;
/// Epochs at the start that the reported speed leaves out, while caches and clock rates settle.
const WARM_UP_EPOCHS: usize = 3;

/// A training run in progress.
pub(crate) struct Session<'a> {
    pub(crate) args: &'a TrainArgs,
    pub(crate) ranks: &'a Ranks,
    pub(crate) split: &'a Split,
    pub(crate) prefixes: &'a [PrefixText],
    pub(crate) progress: TrainingProgress,
    pub(crate) memory: Estimate,
}

impl Session<'_> {
    /// Prints what is trained, on what, and how.
    pub(crate) fn print_header<B: Recurrence>(&self, trainer: &Trainer<B>, options: &CorpusOptions) {
        let info = |text: &str| self.progress.info(text);
        info(&format!("text    {}", describe::text(&self.split.text.corpus, self.split.text.ids().len(), options)));
        let model = trainer.model();
        info(&format!(
            "model   {}, {} parameters, {}",
            describe::model(model.config()),
            human::thousands(model.parameters().layout().len() as u64),
            describe::memory(self.memory)
        ));
        if model.config().bidirectional {
            info("warning: a bidirectional model reads the token that it predicts, so its perplexity is meaningless");
            info("warning: no samples: the backward layers need future tokens");
        }
        let train = trainer.config();
        info(&format!(
            "train   {}, minibatches of {} × {} tokens, {}, seed {}",
            human::count(train.epochs, "epoch"),
            train.batch_size,
            train.num_steps,
            describe::training(train),
            train.seed
        ));
        if let Some(text) = self.split.validation() {
            let patience = match train.patience {
                0 => String::new(),
                patience => format!(", stop after {} without improvement", human::count(patience, "epoch")),
            };
            info(&format!("val     {}{patience}", describe::size(&text)));
        }
        info(&format!("save    every {}", self.args.checkpoint_every.describe()));
        info(&format!("device  {}, {}", model.backend().name(), describe::execution_path(trainer.path())));
        let line_endings = self.split.text.corpus.text_format.line_endings;
        if line_endings != LineEndings::Lf && options.normalization != Normalization::Book {
            let treatment = match options.line_ends {
                LineEndConversion::Keep => "are kept",
                LineEndConversion::Lf => "are read as LF; --line-ends keep keeps them",
            };
            info(&format!("note    the text has {line_endings} line endings, which {treatment}"));
        }
        if self.split.text.corpus.looks_like_records {
            info("note    the text looks like records; --documents lines trains on each line as a document");
        }
        let encoding = self.split.text.corpus.encoding;
        if encoding != TextEncoding::UTF_8 {
            info(&format!("note    the text is converted from {encoding} to UTF-8"));
        }
    }

    /// Trains from the position of `trainer` to the end of the last epoch, and prints the result.
    pub(crate) fn train<B: Recurrence>(self, mut trainer: Trainer<B>, mut saver: Saver) -> Result<Exit> {
        for prefix in self.prefixes {
            if let Some(warning) = self.encode(prefix)?.warning {
                self.progress.warn(&warning);
            }
        }
        if trainer.position() == Position::default() {
            self.print_samples("untrained", &trainer, UNTRAINED_SAMPLE_TOKENS)?;
        }
        let start = Instant::now();
        self.progress.start(self.done(&trainer)?);
        let mut reports = Vec::new();
        let outcome = self.run_epochs(&mut trainer, &mut saver, &mut reports);
        let seconds = start.elapsed().as_secs_f64();
        self.progress.finish();
        let Some(writer) = &saver.writer else { return outcome.map(|()| self.exit(&trainer)) };
        let run = writer.run();
        // The chart is drawn after a failure, too. An error of the chart must not hide the outcome of the training.
        let metrics = match &outcome {
            Ok(()) if trainer.position().epoch > 0 => run.all_metrics()?,
            // in the first epoch there may be no line yet, and no file
            _ => run.all_metrics().unwrap_or_default(),
        };
        let chart_written = chart::write(&metrics, writer);
        outcome.map_err(|failure| {
            failure.with_kept_model(run.path(), &saver.last_checkpoint()).with_settings(trainer.config())
        })?;
        let exit = self.exit(&trainer);
        if exit == Exit::Interrupted {
            let message = Self::interruption(&trainer, run, &writer.config().corpus.name);
            message.lines().for_each(error_line);
        }
        if !self.args.is_part_of_sweep {
            self.print_result(&trainer, run, &reports, &metrics, seconds)?;
        }
        chart_written?;
        Ok(exit)
    }

    /// The exit code after training.
    fn exit<B: Recurrence>(&self, trainer: &Trainer<B>) -> Exit {
        let is_done = trainer.position().epoch >= trainer.config().epochs || trainer.should_stop_early();
        if is_done { Exit::Success } else { Exit::Interrupted }
    }

    /// The epochs that `trainer` has done, with the part of the current one.
    fn done<B: Recurrence>(&self, trainer: &Trainer<B>) -> Result<f64> {
        let Position { epoch, minibatch, .. } = trainer.position();
        if minibatch == 0 {
            return Ok(epoch as f64);
        }
        let TrainConfig { batch_size, num_steps, .. } = *trainer.config();
        let tokens = self.split.training().num_tokens() as f64;
        Ok(epoch as f64 + minibatch as f64 * (batch_size * num_steps) as f64 / tokens)
    }

    /// The message after a run that was interrupted: what is saved, and how to continue.
    fn interruption<B: Recurrence>(trainer: &Trainer<B>, run: &Run, corpus: &str) -> String {
        let position = trainer.position();
        let steps = match trainer.progress() {
            Some(EpochProgress { minibatch, num_minibatches, .. }) => {
                let all = human::count(num_minibatches as u64, "minibatch step");
                format!("{} of {all}", human::thousands(minibatch as u64))
            }
            None => human::count(position.minibatch as u64, "minibatch step"),
        };
        let run = run.path().display();
        let corpus = match corpus {
            "-" => " --corpus FILE`, where FILE has the text of standard input",
            _ => "`",
        };
        let (epoch, epochs) = (position.epoch, trainer.config().epochs);
        format!(
            "interrupted after epoch {epoch} of {epochs} and {steps}\nthe model is saved in {run}\n\
             continue with `rnnlm train --resume {run}{corpus}"
        )
    }

    /// Runs epochs until all are done, there is no improvement, or a stop is requested. Saves checkpoints meanwhile and
    /// at the end.
    fn run_epochs<B: Recurrence>(
        &self,
        trainer: &mut Trainer<B>,
        saver: &mut Saver,
        reports: &mut Vec<EpochReport>,
    ) -> Result<()> {
        let epochs = trainer.config().epochs;
        let is_done = |trainer: &Trainer<B>| trainer.position().epoch >= epochs || trainer.should_stop_early();
        let stop_requested = || self.ranks.any(signals::stop_requested());
        while !is_done(trainer) && !stop_requested()? {
            let mut step = trainer.position().step;
            let mut report = trainer.epoch_with_progress(self.split.training(), &mut |progress| {
                step += 1;
                self.progress.step(progress);
                if progress.is_log_due {
                    saver.log_progress(progress);
                }
                self.ranks.stops(signals::stop_requested() || saver.is_due_within_epoch(step))
            })?;
            if let Some(report) = &mut report {
                if trainer.validate(self.split.validation(), report)? {
                    saver.try_save_best(trainer, &self.progress)?;
                }
                saver.check_validation(report, &self.progress);
                saver.log(report);
                self.progress.epoch(report);
                reports.push(*report);
            }
            if is_done(trainer) || stop_requested()? {
                break;
            }
            if self.ranks.any(saver.is_due(trainer.position()))? {
                self.check_finite(trainer)?;
                saver.try_save(trainer, &self.progress)?;
            }
            if let Some(report) = &report
                && self.args.sample_every > 0
                && report.epoch % self.args.sample_every == 0
            {
                self.print_samples(&format!("epoch {}", report.epoch), trainer, SAMPLE_TOKENS)?;
            }
        }
        self.check_finite(trainer)?;
        saver.save_last(trainer)
    }

    /// An error if the last update made the loss non-finite. Training itself would notice only at the next minibatch.
    fn check_finite<B: Recurrence>(&self, trainer: &Trainer<B>) -> Result<()> {
        let model = trainer.model();
        let config = trainer.config();
        let start = self.split.training().start(config.num_steps + 1)?;
        let evaluation = model.evaluate(&start)?;
        if evaluation.perplexity().is_finite() {
            return Ok(());
        }
        let squares = trainer.gradients().to_vec(model.backend())?.into_iter().map(|g| f64::from(g).powi(2));
        let message = format!(
            "training diverged at step {}: the updated model has loss {}, gradient norm {}, learning rate {:?}",
            trainer.position().step,
            evaluation.nats_per_token(),
            squares.sum::<f64>().sqrt(),
            config.lr
        );
        Err(Failure::Diverged { message, lr: config.lr, settings: None, kept: None })
    }

    fn encode(&self, prefix: &PrefixText) -> Result<Prefix> {
        Prefix::encode(&self.split.text.corpus.vocab, prefix, Unknown::Unk)
    }

    /// Generates a sample greedily, at most to the end of a document, and returns it with its prefix.
    fn sample<B: Recurrence>(&self, trainer: &Trainer<B>, prefix: &PrefixText, num_tokens: usize) -> Result<String> {
        let vocab = &self.split.text.corpus.vocab;
        let prefix = self.encode(prefix)?;
        let mut ids = prefix.text().to_vec();
        let mut generator = Generator::new(trainer.evaluated_model())?.with_end_token(vocab.end_token());
        generator.generate(&prefix.ids, num_tokens, &mut Sampler::greedy(), &mut |id| {
            let is_end = Some(id) == vocab.end_token();
            ids.extend((!is_end).then_some(id));
            !is_end
        })?;
        Ok(vocab.decode(&ids)?)
    }

    /// Prints a sample of each prefix as progress.
    fn print_samples<B: Recurrence>(&self, label: &str, trainer: &Trainer<B>, num_tokens: usize) -> Result<()> {
        if self.args.quiet {
            return Ok(());
        }
        for prefix in self.prefixes {
            let text = self.sample(trainer, prefix, num_tokens)?;
            self.progress.text(&format!("{label}: {}", without_line_start(&text)));
        }
        Ok(())
    }

    /// Prints the result: text with samples and a chart, or one JSON object.
    fn print_result<B: Recurrence>(
        &self,
        trainer: &Trainer<B>,
        run: &Run,
        reports: &[EpochReport],
        metrics: &[Metrics],
        seconds: f64,
    ) -> Result<()> {
        let partial = trainer.progress();
        let tokens_per_second = speed(reports, partial.as_ref());
        let mut samples = Map::new();
        for prefix in self.prefixes {
            samples.insert(prefix.to_string(), self.sample(trainer, prefix, SAMPLE_TOKENS)?.into());
        }
        let device = trainer.model().backend().name();
        let position = trainer.position();
        let epochs: Vec<&Metrics> = metrics.iter().filter(|line| line.minibatch.is_none()).collect();
        let perplexity =
            epochs.last().map(|epoch| epoch.perplexity).or(partial.and_then(|progress| progress.perplexity));
        let val_perplexity = epochs.last().and_then(|epoch| epoch.val_perplexity);
        let TokenSizes { training, validation } = self.split.sizes()?;
        let of_validation = |bits: fn(&TokenSize, f64) -> Option<f64>| bits(&validation?, val_perplexity?);
        if self.args.format == Format::Json {
            return output::json(&json!({
                "perplexity": perplexity,
                "bits_per_char": perplexity.and_then(|perplexity| training.bits_per_char(perplexity)),
                "bits_per_byte": perplexity.and_then(|perplexity| training.bits_per_byte(perplexity)),
                "val_perplexity": val_perplexity,
                "val_bits_per_char": of_validation(TokenSize::bits_per_char),
                "val_bits_per_byte": of_validation(TokenSize::bits_per_byte),
                "val_perplexity_reason": epochs.last().and_then(|epoch| epoch.val_perplexity_reason),
                "best": position.best.map(|best| json!({ "epoch": best.epoch, "val_perplexity": best.perplexity })),
                "stopped_early": trainer.should_stop_early() && position.epoch < trainer.config().epochs,
                "tokens_per_second": tokens_per_second,
                "epochs": position.epoch,
                "partial_epoch": partial.as_ref().map(Metrics::from),
                "tokens_per_epoch": reports.last().map(|epoch| epoch.tokens),
                "device": device,
                "path": describe::execution_path(trainer.path()),
                "seed": trainer.config().seed,
                "run_dir": run.path().display().to_string(),
                "parameters": trainer.model().parameters().layout().len(),
                "seconds": seconds,
                "memory_estimate": self.memory.host,
                "peak_memory": ProcessMemory::of_this_process().map(|memory| memory.peak),
                "samples": samples,
            }));
        }
        let speed = human::thousands(tokens_per_second.round() as u64);
        let bits = perplexity.and_then(|perplexity| human::bits(&training, perplexity));
        let perplexity = perplexity.map_or("unknown".to_owned(), human::perplexity);
        let so_far = partial
            .filter(|_| epochs.is_empty())
            .map_or(String::new(), |progress| format!(" over {}", human::count(progress.minibatch as u64, "step")));
        let mut text = format!("perplexity {perplexity}{so_far}, {speed} tokens/s on {device}\n");
        text.extend(bits.map(|bits| format!("{bits}\n")));
        text.extend(position.best.map(|best| best_result(best, validation)));
        for sample in samples.values().filter_map(Value::as_str) {
            text.push_str(&format!("{}\n", without_line_start(sample)));
        }
        if let Some(chart) = chart::terminal(metrics, output::columns()) {
            text.push_str(&format!("perplexity by epoch, logarithmic scale\n{chart}\n"));
        }
        text.push_str(&format!("run {}\n", run.path().display()));
        output::text(&text)
    }
}

/// The lines of the best model on a validation set of this size.
fn best_result(best: Best, size: Option<TokenSize>) -> String {
    let Best { epoch, perplexity } = best;
    let bits = size.and_then(|size| human::bits(&size, perplexity));
    let bits = bits.map_or(String::new(), |bits| format!("{bits} of the validation set\n"));
    let perplexity = human::perplexity(perplexity);
    format!("best validation perplexity {perplexity} in epoch {epoch}, best.safetensors\n{bits}")
}

/// A sample without the line end that stands for the start of a line.
fn without_line_start(sample: &str) -> &str {
    sample.strip_prefix('\n').unwrap_or(sample)
}

/// The usual speed of an epoch, without those at the start; that of a part of an epoch if none is finished.
fn speed(reports: &[EpochReport], partial: Option<&EpochProgress>) -> f64 {
    let skipped = if reports.len() > WARM_UP_EPOCHS { WARM_UP_EPOCHS } else { 0 };
    let mut rates: Vec<f64> = reports[skipped..].iter().map(EpochReport::tokens_per_second).collect();
    match partial {
        Some(progress) if rates.is_empty() => progress.tokens_per_second(),
        _ => median(&mut rates),
    }
}

/// The middle value, or the mean of the two middle values; 0 without values.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        len if len.is_multiple_of(2) => (values[len / 2 - 1] + values[len / 2]) / 2.0,
        len => values[len / 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut []), 0.0);
    }
}
