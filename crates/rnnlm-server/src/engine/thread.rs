//! The loop of the decoding thread.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use rnnlm_model::{
    Continuation, Decoder, Finish, LanguageModel, Recurrence, Request, Result, Scorer, Slot, TokenScore,
};
use rnnlm_vocab::{DocumentFrame, Vocab};

use super::job::{Command, ScoreJob, TextEvent, TextJob};
use super::prompt::PromptScorer;
use crate::metrics::Metrics;

/// Tokens of prompts that are scored between two steps.
const PROMPT_TOKENS: usize = 64;
/// Tokens of documents that are scored between two steps.
const SCORED_TOKENS: usize = 4096;

/// A text in a slot.
struct Active<'a> {
    job: TextJob,
    continuation: Continuation<'a>,
    /// Tokens that were reported.
    num_reported: usize,
}

/// A text whose prompt is being scored.
struct Scoring<'a, B: Recurrence> {
    job: TextJob,
    scorer: PromptScorer<'a, B>,
}

/// Documents that are being scored, group by group.
struct ScoringDocuments {
    job: ScoreJob,
    scores: Vec<Vec<TokenScore>>,
}

/// All that the thread works on.
struct Work<'a, B: Recurrence> {
    model: &'a LanguageModel<B>,
    vocab: &'a Vocab,
    frame: DocumentFrame,
    max_slots: usize,
    metrics: &'a Metrics,
    decoder: Decoder<'a, B>,
    waiting: VecDeque<TextJob>,
    prompts: VecDeque<Scoring<'a, B>>,
    documents: VecDeque<ScoringDocuments>,
    active: BTreeMap<Slot, Active<'a>>,
}

/// Works until all senders are gone.
pub(super) fn run<B: Recurrence>(
    model: &LanguageModel<B>,
    vocab: &Vocab,
    max_slots: usize,
    commands: &Receiver<Command>,
    metrics: &Metrics,
) {
    let frame = vocab.document_frame();
    // checked when the engine was made
    let Ok(decoder) = new_decoder(model, vocab, max_slots) else { return };
    let mut work = Work {
        model,
        vocab,
        frame,
        max_slots,
        metrics,
        decoder,
        waiting: VecDeque::new(),
        prompts: VecDeque::new(),
        documents: VecDeque::new(),
        active: BTreeMap::new(),
    };
    while let Ok(()) = work.receive(commands) {
        work.admit();
        work.score_prompt();
        work.score_documents();
        work.step();
    }
}

fn new_decoder<'a, B: Recurrence>(
    model: &'a LanguageModel<B>,
    vocab: &Vocab,
    max_slots: usize,
) -> Result<Decoder<'a, B>> {
    Ok(Decoder::new(model, max_slots)?.with_end_token(vocab.end_token()))
}

/// All senders are gone, and all work is done.
struct Done;

impl<B: Recurrence> Work<'_, B> {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.prompts.is_empty() && self.documents.is_empty() && self.active.is_empty()
    }

    /// Takes the commands that have arrived. Waits for one if there is nothing to do.
    fn receive(&mut self, commands: &Receiver<Command>) -> Result<(), Done> {
        if self.is_idle() {
            self.begin(commands.recv().map_err(|_| Done)?);
        }
        loop {
            match commands.try_recv() {
                Ok(command) => self.begin(command),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) if self.is_idle() => return Err(Done),
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    fn begin(&mut self, command: Command) {
        match command {
            Command::Generate(jobs) => self.waiting.extend(jobs),
            Command::Score(job) => {
                let scores = Vec::with_capacity(job.documents.len());
                self.documents.push_back(ScoringDocuments { job, scores });
            }
            Command::End => self.end_all(),
        }
    }

    /// Moves waiting texts to free slots, or to the scoring of their prompts.
    fn admit(&mut self) {
        while let Some(job) = self.waiting.pop_front() {
            if job.events.is_closed() {
                continue;
            }
            if job.scores_prompt {
                let context = (self.frame.context, self.vocab.end_token());
                match PromptScorer::new(self.model, context, job.prompt.clone(), job.logprobs.unwrap_or(0)) {
                    Ok(scorer) => self.prompts.push_back(Scoring { job, scorer }),
                    Err(error) => fail(&job, &error),
                }
                continue;
            }
            if !self.decoder.has_free_slot() {
                self.waiting.push_front(job);
                break;
            }
            self.start(job);
        }
        self.metrics.requests_deferred.set(self.waiting.len() as i64);
        self.metrics.requests_processing.set((self.active.len() + self.prompts.len() + self.documents.len()) as i64);
    }

    /// Starts a text in a free slot.
    fn start(&mut self, job: TextJob) {
        self.metrics.prompt_tokens.inc_by(job.prompt.len() as u64);
        let mut continuation = Continuation::new(self.vocab, job.prompt.last().copied(), job.stop.clone());
        if continuation.finish().is_some() {
            finish(&job, &mut continuation);
            return;
        }
        let request =
            Request { prefix: self.prefix(&job.prompt), sampler: job.sampler.clone(), logprobs: job.logprobs };
        match self.decoder.admit(request) {
            Ok(slot) => {
                self.active.insert(slot, Active { job, continuation, num_reported: 0 });
            }
            Err(error) => fail(&job, &error),
        }
    }

    /// What the model reads: a document starts with its context, and an empty prompt of a stream is the context.
    fn prefix(&self, prompt: &[u32]) -> Vec<u32> {
        let needs_context = self.vocab.end_token().is_some() || prompt.is_empty();
        needs_context.then_some(self.frame.context).into_iter().chain(prompt.iter().copied()).collect()
    }

    /// Scores some tokens of the first prompt that waits for it.
    fn score_prompt(&mut self) {
        let Some(mut scoring) = self.prompts.pop_front() else { return };
        if scoring.job.events.is_closed() {
            return;
        }
        match scoring.scorer.advance(PROMPT_TOKENS) {
            Ok(None) => self.prompts.push_back(scoring),
            Ok(Some(tokens)) => {
                let mut job = scoring.job;
                let event = TextEvent::Prompt { index: job.index, tokens };
                if job.events.send(event).is_ok() {
                    job.scores_prompt = false;
                    self.waiting.push_front(job);
                }
            }
            Err(error) => fail(&scoring.job, &error),
        }
    }

    /// Scores a group of documents.
    fn score_documents(&mut self) {
        let Some(mut scoring) = self.documents.pop_front() else { return };
        if scoring.job.reply.is_closed() {
            return;
        }
        let rest = &scoring.job.documents[scoring.scores.len()..];
        let mut tokens = 0;
        let group: Vec<&[u32]> = rest
            .iter()
            .take_while(|document| {
                let is_first = tokens == 0;
                tokens += document.len();
                is_first || tokens <= SCORED_TOKENS
            })
            .map(Vec::as_slice)
            .collect();
        let mut scores = vec![Vec::new(); group.len()];
        let scorer =
            Scorer::new(self.model).map(|scorer| if scoring.job.has_details { scorer.with_details() } else { scorer });
        let outcome = scorer.and_then(|mut scorer| {
            scorer.score(scoring.job.context, &group, &mut |document, score| scores[document].push(score))
        });
        if let Err(error) = outcome {
            let _ = scoring.job.reply.send(Err(error.to_string()));
            return;
        }
        self.metrics.scored_tokens.inc_by(scores.iter().map(Vec::len).sum::<usize>() as u64);
        scoring.scores.extend(scores);
        if scoring.scores.len() < scoring.job.documents.len() {
            self.documents.push_back(scoring);
        } else {
            let _ = scoring.job.reply.send(Ok(scoring.scores));
            drop(scoring.job.ticket);
        }
    }

    /// One step of all texts.
    fn step(&mut self) {
        if self.active.is_empty() {
            return;
        }
        let gone: Vec<Slot> =
            self.active.iter().filter(|(_, active)| active.job.events.is_closed()).map(|(&slot, _)| slot).collect();
        for slot in gone {
            self.release(slot);
        }
        let tokens = match self.decoder.step() {
            Ok(tokens) => tokens,
            Err(error) => return self.restart(&error),
        };
        self.metrics.tokens_predicted.inc_by(tokens.len() as u64);
        let now = Instant::now();
        for (slot, token) in tokens {
            let Some(active) = self.active.get_mut(&slot) else { continue };
            let reported = token.clone();
            active.continuation.push(token);
            if active.continuation.finish().is_none() && now >= active.job.deadline {
                active.continuation.set_finish(Finish::Length);
            }
            let text = active.continuation.take_new().to_vec();
            let event = TextEvent::Token { index: active.job.index, token: reported, text };
            active.num_reported += 1;
            let is_gone = active.job.events.send(event).is_err();
            if active.continuation.finish().is_some() {
                finish(&active.job, &mut active.continuation);
            }
            if is_gone || active.continuation.finish().is_some() {
                self.release(slot);
            }
        }
    }

    fn release(&mut self, slot: Slot) {
        self.active.remove(&slot);
        if let Err(error) = self.decoder.release(slot) {
            self.restart(&error);
        }
    }

    /// Ends all texts after an error of the device, and starts with an empty decoder.
    fn restart(&mut self, error: &rnnlm_model::Error) {
        for active in std::mem::take(&mut self.active).into_values() {
            fail(&active.job, error);
        }
        if let Ok(decoder) = new_decoder(self.model, self.vocab, self.max_slots) {
            self.decoder = decoder;
        }
    }

    /// Ends every text with what it has.
    fn end_all(&mut self) {
        for mut active in std::mem::take(&mut self.active).into_values() {
            active.continuation.set_finish(Finish::Length);
            finish(&active.job, &mut active.continuation);
        }
        if let Ok(decoder) = new_decoder(self.model, self.vocab, self.max_slots) {
            self.decoder = decoder;
        }
        let prompts = std::mem::take(&mut self.prompts).into_iter().map(|scoring| scoring.job);
        for job in prompts.chain(std::mem::take(&mut self.waiting)) {
            let reason = Finish::Length;
            let event = TextEvent::Finished { index: job.index, text: Vec::new(), num_tokens: 0, reason };
            let _ = job.events.send(event);
        }
        for scoring in std::mem::take(&mut self.documents) {
            let _ = scoring.job.reply.send(Err("the server is stopping".to_owned()));
        }
    }
}

/// Reports the end of a text.
fn finish(job: &TextJob, continuation: &mut Continuation<'_>) {
    let Some(reason) = continuation.finish() else { return };
    let num_tokens = continuation.tokens().len() + usize::from(continuation.end().is_some());
    let text = continuation.take_new().to_vec();
    let _ = job.events.send(TextEvent::Finished { index: job.index, text, num_tokens, reason });
}

fn fail(job: &TextJob, error: &rnnlm_model::Error) {
    let _ = job.events.send(TextEvent::Failed { message: error.to_string() });
}
