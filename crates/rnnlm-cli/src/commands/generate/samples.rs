//! Samples: decoded as one batch, and written in order.

use std::collections::HashMap;

use rnnlm_model::{Continuation, Decoder, Finish, LanguageModel, Request, Slot};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::Vocab;

use super::args::{Format, GenerateArgs};
use super::output::{GivenPrefix, TextStream, TextWriter};
use super::schedule::{Key, Schedule, SeenTexts};
use super::settings::Settings;
use crate::failure::{Exit, Failure, Result};
use crate::progress::error_line;
use crate::repetition::Repetition;
use crate::signals;

/// The texts that are decoded at a time.
const MAX_SLOTS: usize = 64;

/// What samples are made of.
pub(super) struct Samples<'a> {
    pub(super) args: &'a GenerateArgs,
    pub(super) vocab: &'a Vocab,
    pub(super) prefixes: &'a [GivenPrefix],
    pub(super) settings: &'a Settings,
    pub(super) seen: SeenTexts,
}

/// A sample that is being decoded, or is complete.
struct Sample<'a> {
    key: Key,
    text: Continuation<'a>,
    is_match: bool,
}

impl<'a> Samples<'a> {
    /// Decodes and writes all samples.
    pub(super) fn run<B: Recurrence>(mut self, model: &LanguageModel<B>) -> Result<Exit> {
        let args = self.args;
        let num_samples = args.num_samples;
        let max_slots = MAX_SLOTS.min(num_samples.saturating_mul(self.prefixes.len()));
        let mut decoder = Decoder::new(model, max_slots)?.with_end_token(self.vocab.end_token());
        let mut schedule = Schedule::new(self.prefixes.len(), num_samples);
        let mut writer = TextWriter::new(args, self.vocab, self.prefixes, num_samples);
        let mut stream = self.stream()?;
        let mut repetition = Repetition::default();
        let mut active: HashMap<Slot, Sample<'a>> = HashMap::new();
        let mut num_mismatches = 0;
        while !signals::stop_requested() {
            while decoder.has_free_slot() {
                let Some(key) = schedule.start() else { break };
                let (sample, request) = self.start(key);
                if sample.text.finish().is_some() {
                    schedule.complete(key, sample);
                } else {
                    active.insert(decoder.admit(request)?, sample);
                }
            }
            for (slot, token) in decoder.step()? {
                let Some(sample) = active.get_mut(&slot) else { continue };
                repetition.push(token.id);
                sample.is_match = token.is_match;
                sample.text.push(token);
                if let Some(stream) = &mut stream {
                    stream.write(&mut sample.text)?;
                }
                if sample.text.finish().is_some() {
                    decoder.release(slot)?;
                    schedule.complete(sample.key, active.remove(&slot).expect("the sample was found above"));
                }
            }
            while let Some((key, sample)) = schedule.accepted(|sample| self.accepts(sample)) {
                num_mismatches += usize::from(!sample.is_match);
                if stream.is_none() {
                    writer.write(key, &sample.text, None)?;
                }
            }
            if decoder.num_active() == 0 && schedule.is_idle() {
                break;
            }
        }
        if let Some(stream) = stream {
            stream.finish()?;
        }
        writer.finish()?;
        if signals::stop_requested() {
            return Ok(Exit::Interrupted);
        }
        if args.temperature == 0.0 && self.prefixes.len() == 1 && repetition.is_loop() {
            error_line(
                "hint: the text repeats itself; --temperature 0.7 samples instead of taking the most probable token",
            );
        }
        self.check(num_mismatches, schedule.counts())
    }

    /// Whether the text is new.
    fn accepts(&mut self, sample: &Sample<'_>) -> bool {
        let prefix = self.prefixes[sample.key.0].prefix.text();
        self.seen.accepts(prefix.iter().copied().chain(sample.text.ids()).collect())
    }

    /// The stream of the only sample, if it is written as it is generated.
    fn stream(&self) -> Result<Option<TextStream>> {
        let args = self.args;
        let is_filtered = args.ends.unique || args.ends.not_in.is_some();
        match self.prefixes {
            [prefix] if args.num_samples == 1 && args.format == Format::Text && !is_filtered => {
                TextStream::new(self.vocab, prefix).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn start(&self, key: Key) -> (Sample<'a>, Request) {
        let prefix = &self.prefixes[key.0].prefix;
        let sampler = self.settings.sampler(key.0, key.1);
        let mut text = Continuation::new(self.vocab, prefix.ids.last().copied(), &self.settings.conditions);
        if sampler.is_complete() {
            text.set_finish(Finish::Stop);
        }
        let is_match = sampler.constraint().is_none_or(rnnlm_model::Constraint::is_match);
        let request = Request { prefix: prefix.ids.clone(), sampler, logprobs: self.settings.logprobs };
        (Sample { key, text, is_match }, request)
    }

    /// An error if not all texts are as requested.
    fn check(&self, num_mismatches: usize, [accepted, considered]: [u64; 2]) -> Result<Exit> {
        let requested = (self.args.num_samples * self.prefixes.len()) as u64;
        if accepted < requested {
            let message = format!("only {accepted} of {requested} texts are new after {considered} samples");
            return Err(Failure::failed(message).with_hint("raise --temperature, or reduce --num-samples"));
        }
        if num_mismatches > 0 {
            let limit = self.settings.conditions.max_tokens;
            let needed = self.settings.min_tokens();
            let message = format!(
                "{num_mismatches} of {accepted} texts do not match the regular expression, which needs at least {needed} \
                 tokens: they end at --num-tokens {limit}"
            );
            return Err(Failure::failed(message).with_hint(format!("use --num-tokens {}", needed.max(limit) * 2)));
        }
        Ok(Exit::Success)
    }
}
