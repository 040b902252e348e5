//! The text of generated tokens: where it ends, and how much of it can be shown already.

use std::borrow::Cow;

use rnnlm_vocab::Vocab;

use crate::decoder::DecodedToken;

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A stop text was generated, or a constraint allows no further token.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// The document ended.
    Document,
}

impl Finish {
    /// The name in JSON: `stop`, `length` or `document`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Document => "document",
        }
    }
}

/// When a text ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopConditions {
    /// Texts before which the text ends. An empty one has no effect.
    pub stop: Vec<Vec<u8>>,
    /// The token at which the text ends, without being a part of it.
    pub end_token: Option<u32>,
    /// The limit of tokens.
    pub max_tokens: usize,
}

impl From<StopConditions> for Cow<'_, StopConditions> {
    fn from(conditions: StopConditions) -> Self {
        Self::Owned(conditions)
    }
}

impl<'a> From<&'a StopConditions> for Cow<'a, StopConditions> {
    fn from(conditions: &'a StopConditions) -> Self {
        Self::Borrowed(conditions)
    }
}

/// The generated part of a text, which grows token by token.
///
/// Text that could be the beginning of a stop text, or of a UTF-8 character, is withheld until it is certain.
///
/// ```
/// use rnnlm_model::{Continuation, Corpus, CorpusOptions, DecodedToken, Finish, Normalization, StopConditions};
///
/// let options = CorpusOptions { normalization: Normalization::None, ..CorpusOptions::default() };
/// let vocab = Corpus::from_bytes(b"ab. cd.", &options)?.vocab;
/// let conditions = StopConditions { stop: vec![b". ".to_vec()], max_tokens: 100, ..StopConditions::default() };
/// let mut text = Continuation::new(&vocab, None, &conditions);
/// let mut shown = Vec::new();
/// for id in vocab.encode("ab.cd. ab").ids {
///     text.push(DecodedToken::from_id(id));
///     shown.push(String::from_utf8(text.take_new().to_vec())?);
///     if text.finish() == Some(Finish::Stop) {
///         break;
///     }
/// }
/// assert_eq!(shown, ["a", "b", "", ".c", "d", "", ""]);
/// assert_eq!(text.bytes(), b"ab.cd");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Continuation<'a> {
    vocab: &'a Vocab,
    conditions: Cow<'a, StopConditions>,
    tokens: Vec<DecodedToken>,
    /// The offset of each token in `bytes`, before its separator.
    offsets: Vec<usize>,
    bytes: Vec<u8>,
    /// Number of bytes that [`Continuation::take_new`] returned.
    num_taken: usize,
    separator: &'static str,
    previous: Option<u32>,
    end: Option<DecodedToken>,
    finish: Option<Finish>,
}

impl<'a> Continuation<'a> {
    /// An empty text after a prefix whose last token is `previous`.
    pub fn new(vocab: &'a Vocab, previous: Option<u32>, conditions: impl Into<Cow<'a, StopConditions>>) -> Self {
        let conditions = conditions.into();
        Self {
            vocab,
            tokens: Vec::new(),
            offsets: Vec::new(),
            bytes: Vec::new(),
            num_taken: 0,
            separator: "",
            previous,
            end: None,
            finish: (conditions.max_tokens == 0).then_some(Finish::Length),
            conditions,
        }
    }

    /// Appends a token, unless the text has ended.
    pub fn push(&mut self, token: DecodedToken) {
        if self.finish.is_some() {
            return;
        }
        let Self { vocab, ref conditions, .. } = *self;
        let (end_token, max_tokens) = (conditions.end_token, conditions.max_tokens);
        if Some(token.id) == end_token {
            self.end = Some(token);
            self.finish = Some(Finish::Document);
            return;
        }
        let separator = vocab.separator(self.previous, token.id);
        self.offsets.push(self.bytes.len());
        if self.tokens.is_empty() {
            self.separator = separator;
        } else {
            self.bytes.extend_from_slice(separator.as_bytes());
        }
        let searched = self.bytes.len();
        self.bytes.extend(vocab.decode_bytes(&[token.id]).unwrap_or_default());
        self.previous = Some(token.id);
        let is_complete = token.is_complete;
        self.tokens.push(token);
        if let Some(start) = self.find_stop(searched) {
            self.bytes.truncate(start);
            let kept = self.offsets.partition_point(|&offset| offset < start);
            self.offsets.truncate(kept);
            self.tokens.truncate(kept);
            self.finish = Some(Finish::Stop);
        } else if self.tokens.len() == max_tokens {
            self.finish = Some(Finish::Length);
        } else if is_complete {
            self.finish = Some(Finish::Stop);
        }
    }

    /// Ends the text.
    pub fn set_finish(&mut self, finish: Finish) {
        self.finish = Some(finish);
    }

    /// Why the text ended; `None` while it grows.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// The tokens of the text. A token whose text is cut by a stop text is included.
    pub fn tokens(&self) -> &[DecodedToken] {
        &self.tokens
    }

    /// The end token, if the document ended.
    pub fn end(&self) -> Option<&DecodedToken> {
        self.end.as_ref()
    }

    /// The ids of the tokens.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.tokens.iter().map(|token| token.id)
    }

    /// The text, which is not always UTF-8.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text between the prefix and this text: a space between words.
    pub fn leading_separator(&self) -> &'static str {
        self.separator
    }

    /// What was added to the text since the last call and is certain. After the end, all of the rest.
    pub fn take_new(&mut self) -> &[u8] {
        let end = if self.finish.is_some() { self.bytes.len() } else { self.num_certain() };
        let start = self.num_taken.min(end);
        self.num_taken = end.max(start);
        &self.bytes[start..end]
    }

    /// The number of bytes before what could be the beginning of a stop text or of a character.
    fn num_certain(&self) -> usize {
        let is_beginning = |&length: &usize| {
            let end = &self.bytes[self.bytes.len() - length..];
            self.conditions.stop.iter().any(|stop| stop.len() > length && stop.starts_with(end))
        };
        let longest = self.conditions.stop.iter().map(Vec::len).max().unwrap_or(0);
        let withheld = (1..longest.min(self.bytes.len() + 1)).rev().find(is_beginning).unwrap_or(0);
        let certain = &self.bytes[..self.bytes.len() - withheld];
        certain.len() - incomplete_len(certain)
    }

    /// The offset of the first stop text that ends after offset `searched`.
    fn find_stop(&self, searched: usize) -> Option<usize> {
        let find = |stop: &Vec<u8>| {
            let first = (searched + 1).saturating_sub(stop.len());
            let windows = self.bytes.get(first..)?.windows(stop.len());
            windows.into_iter().position(|window| window == stop).map(|position| first + position)
        };
        self.conditions.stop.iter().filter(|stop| !stop.is_empty()).filter_map(find).min()
    }
}

impl DecodedToken {
    /// A token without log-probabilities.
    pub fn from_id(id: u32) -> Self {
        Self { id, log_probability: None, alternatives: Vec::new(), is_match: true, is_complete: false }
    }
}

/// The number of bytes at the end that are the beginning of a UTF-8 character.
fn incomplete_len(bytes: &[u8]) -> usize {
    let is_incomplete = |&length: &usize| {
        let end = &bytes[bytes.len() - length..];
        std::str::from_utf8(end).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (1..=3.min(bytes.len())).rev().find(is_incomplete).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rnnlm_vocab::{Corpus, CorpusOptions, Normalization, TokenKind};

    use super::*;

    fn bytes_vocab() -> Vocab {
        let options = CorpusOptions { kind: TokenKind::Byte, normalization: Normalization::None, ..Default::default() };
        Corpus::from_bytes(&(0..=255).collect::<Vec<u8>>(), &options).unwrap().vocab
    }

    /// What is shown after each byte of a text, and the whole text.
    fn shown(text: &[u8], stop: &[&str]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let vocab = bytes_vocab();
        let stop = stop.iter().map(|stop| stop.as_bytes().to_vec()).collect();
        let conditions = StopConditions { stop, max_tokens: text.len(), ..StopConditions::default() };
        let mut continuation = Continuation::new(&vocab, None, &conditions);
        let mut shown = Vec::new();
        for id in vocab.encode_normalized(text).unwrap().ids {
            continuation.push(DecodedToken::from_id(id));
            shown.push(continuation.take_new().to_vec());
            if continuation.finish().is_some() {
                break;
            }
        }
        (shown, continuation.bytes().to_vec())
    }

    #[test]
    fn half_a_character_is_withheld_until_it_is_complete() {
        let (pieces, text) = shown("aé€😀b".as_bytes(), &[]);
        let expected = ["a", "", "é", "", "", "€", "", "", "", "😀", "b"];
        assert_eq!(pieces, expected.map(|piece| piece.as_bytes().to_vec()));
        assert_eq!(text, "aé€😀b".as_bytes());
        // what cannot become a character is not withheld, and the end releases everything
        let (pieces, _) = shown(b"\xff\xe2\x82a\xc3", &[]);
        assert_eq!(pieces, [&b"\xff"[..], b"", b"", b"\xe2\x82a", b"\xc3"]);
    }

    #[test]
    fn the_beginning_of_a_stop_text_is_withheld_and_the_stop_text_is_never_shown() {
        let (pieces, text) = shown(b"a-b--c", &["--"]);
        assert_eq!(pieces, [&b"a"[..], b"", b"-b", b"", b""]);
        assert_eq!(text, b"a-b");
        // the longest beginning of any stop text; the stop text that starts first wins
        let (pieces, text) = shown(b"xaab", &["aaac", "aab"]);
        assert_eq!((pieces.concat(), text), (b"x".to_vec(), b"x".to_vec()));
        let (pieces, text) = shown(b"aaad", &["aab", "ad"]);
        assert_eq!(pieces, [&b""[..], b"", b"a", b"a"]);
        assert_eq!(text, b"aa");
        // of two that end with the same token, the one that starts first
        assert_eq!(shown(b"xaab", &["b", "aab"]).1, b"x");
        // half a character before the beginning of a stop text
        let (pieces, _) = shown(b"\xe2\x82\xac!?", &["!!"]);
        assert_eq!(pieces, [&b""[..], b"", "€".as_bytes(), b"", b"!?"]);
    }

    #[test]
    fn tokens_end_where_the_text_ends() {
        let options = CorpusOptions { kind: TokenKind::Word, normalization: Normalization::None, ..Default::default() };
        let vocab = Corpus::from_bytes(b"one two three four", &options).unwrap().vocab;
        let conditions = StopConditions { stop: vec![b"o th".to_vec()], max_tokens: 9, ..StopConditions::default() };
        let ids = vocab.encode("one two three four").ids;
        let mut continuation = Continuation::new(&vocab, Some(ids[3]), &conditions);
        for &id in &ids {
            continuation.push(DecodedToken::from_id(id));
        }
        assert_eq!((continuation.leading_separator(), continuation.bytes()), (" ", &b"one tw"[..]));
        assert_eq!(continuation.ids().collect::<Vec<_>>(), ids[..2]);
        assert_eq!(continuation.finish(), Some(Finish::Stop));
    }

    #[test]
    fn the_end_token_and_the_limit_end_a_text() {
        let vocab = bytes_vocab();
        let conditions = StopConditions { end_token: Some(11), max_tokens: 2, ..StopConditions::default() };
        let mut document = Continuation::new(&vocab, None, &conditions);
        [5, 11, 6].into_iter().for_each(|id| document.push(DecodedToken::from_id(id)));
        assert_eq!((document.finish(), document.ids().len()), (Some(Finish::Document), 1));
        assert_eq!(document.end().map(|token| token.id), Some(11));
        let mut long = Continuation::new(&vocab, None, &conditions);
        [5, 6, 7].into_iter().for_each(|id| long.push(DecodedToken::from_id(id)));
        assert_eq!((long.finish(), long.ids().len()), (Some(Finish::Length), 2));
    }
}
