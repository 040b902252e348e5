//! The log-probabilities of a prompt, a few tokens at a time, so that other texts do not wait for a long one.

use std::sync::Arc;

use rnnlm_model::sampler::LogProbabilities;
use rnnlm_model::{DecodedToken, Generator, LanguageModel, Recurrence, Result};

/// A prompt that is being scored.
#[derive(Debug)]
pub(super) struct PromptScorer<'a, B: Recurrence> {
    generator: Generator<'a, B>,
    prompt: Arc<[u32]>,
    /// The token before the first one.
    context: u32,
    num_alternatives: usize,
    tokens: Vec<DecodedToken>,
}

impl<'a, B: Recurrence> PromptScorer<'a, B> {
    pub(super) fn new(
        model: &'a LanguageModel<B>,
        (context, end_token): (u32, Option<u32>),
        prompt: Arc<[u32]>,
        num_alternatives: usize,
    ) -> Result<Self> {
        let generator = Generator::new(model)?.with_end_token(end_token);
        Ok(Self { generator, prompt, context, num_alternatives, tokens: Vec::new() })
    }

    /// Scores at most `count` tokens. Returns the tokens if the prompt is complete.
    pub(super) fn advance(&mut self, count: usize) -> Result<Option<Vec<DecodedToken>>> {
        let first = self.tokens.len();
        let last = self.prompt.len().min(first + count);
        for position in first..last {
            let previous = position.checked_sub(1).map_or(self.context, |previous| self.prompt[previous]);
            let logits = self.generator.read(previous)?;
            let id = self.prompt[position];
            let mut token = DecodedToken::from_id(id);
            // what precedes the first token is not a part of the prompt
            if position > 0 {
                let log_probabilities = LogProbabilities::new(logits);
                token.log_probability = Some(log_probabilities.of(id));
                token.alternatives = log_probabilities.top(self.num_alternatives);
            }
            self.tokens.push(token);
        }
        Ok((last == self.prompt.len()).then(|| std::mem::take(&mut self.tokens)))
    }
}
