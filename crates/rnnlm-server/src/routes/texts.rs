//! The texts of a response: pieces, log-probabilities and offsets.

use std::collections::BTreeMap;

use rnnlm_model::{DecodedToken, Finish};
use rnnlm_vocab::Vocab;

use super::completion_types::{Choice, Logprobs};

/// A text that grows. Bytes that are not UTF-8 become U+FFFD.
#[derive(Debug)]
pub(super) struct GrowingText<'a> {
    vocab: &'a Vocab,
    /// Whether log-probabilities are reported.
    has_logprobs: bool,
    /// What was not taken yet.
    text: String,
    logprobs: Logprobs,
    /// Characters of the text so far, with the tokens whose text is withheld.
    offset: usize,
    previous: Option<u32>,
    pub(super) num_tokens: usize,
    pub(super) finish: Option<Finish>,
}

impl<'a> GrowingText<'a> {
    pub(super) fn new(vocab: &'a Vocab, has_logprobs: bool) -> Self {
        Self {
            vocab,
            has_logprobs,
            text: String::new(),
            logprobs: Logprobs::default(),
            offset: 0,
            previous: None,
            num_tokens: 0,
            finish: None,
        }
    }

    /// Appends the prompt, as text and with its tokens.
    pub(super) fn echo(&mut self, text: &str, tokens: &[DecodedToken]) {
        self.text.push_str(text);
        tokens.iter().for_each(|token| self.push_token(token));
    }

    /// Appends a token without its text.
    pub(super) fn push_token(&mut self, token: &DecodedToken) {
        let piece = self.piece(token.id);
        if self.has_logprobs {
            let Logprobs { tokens, token_logprobs, top_logprobs, text_offset } = &mut self.logprobs;
            text_offset.push(self.offset);
            token_logprobs.push(token.log_probability);
            let top = |(id, logprob): &(u32, f64)| (self.vocab.token(*id).unwrap_or_default().to_owned(), *logprob);
            let alternatives: BTreeMap<String, f64> = token.alternatives.iter().map(top).collect();
            top_logprobs.push(token.log_probability.map(|_| alternatives));
            tokens.push(self.vocab.token(token.id).unwrap_or_default().to_owned());
        }
        self.offset += piece.chars().count();
        self.previous = Some(token.id);
    }

    /// The text of a token, with its separator.
    fn piece(&self, id: u32) -> String {
        let bytes = self.vocab.decode_bytes(&[id]).unwrap_or_default();
        format!("{}{}", self.vocab.separator(self.previous, id), String::from_utf8_lossy(&bytes))
    }

    /// Appends text that is certain.
    pub(super) fn push_text(&mut self, bytes: &[u8]) {
        self.text.push_str(&String::from_utf8_lossy(bytes));
    }

    /// What was added since the last call, as a choice.
    pub(super) fn take(&mut self, index: usize) -> Choice {
        let logprobs = std::mem::take(&mut self.logprobs);
        Choice {
            text: std::mem::take(&mut self.text),
            index,
            logprobs: self.has_logprobs.then_some(logprobs),
            finish_reason: self.finish.map(|finish| match finish {
                Finish::Length => "length",
                Finish::Stop | Finish::Document => "stop",
            }),
        }
    }
}
