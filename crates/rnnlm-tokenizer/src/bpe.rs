//! Trains a byte-level BPE.

use std::collections::HashSet;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use rnnlm_vocab::{EOS_TOKEN, LineEndConversion, MAX_TOKENS, Source, TextEncoding};
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer, Trainer};

use crate::split_point::SplitRule;

/// The smallest vocabulary: all bytes, and the end token.
pub const MIN_BPE_VOCAB: usize = 257;

/// The length in bytes of the parts of the text whose words are counted together.
const PART_BYTES: usize = 1 << 16;

/// The most bytes of text, because the trainer counts with 32 bits.
const MAX_BYTES: u64 = i32::MAX as u64;

/// Settings of [`train_bpe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpeOptions {
    /// Number of tokens: the end token, 256 bytes, and the most frequent pairs. A short text can have fewer.
    pub vocab_size: usize,
    /// Minimum number of occurrences of a pair that becomes a token.
    pub min_frequency: u64,
    /// The encoding of the text, unless a byte order mark determines it.
    pub encoding: TextEncoding,
    /// The conversion of line ends.
    pub line_ends: LineEndConversion,
}

impl Default for BpeOptions {
    fn default() -> Self {
        Self { vocab_size: 8000, min_frequency: 2, encoding: TextEncoding::UTF_8, line_ends: LineEndConversion::Lf }
    }
}

/// Why [`train_bpe`] failed.
#[derive(Debug, thiserror::Error)]
pub enum BpeError {
    /// The text cannot be read.
    #[error(transparent)]
    Text(#[from] rnnlm_vocab::Error),
    /// The vocabulary has too few or too many tokens.
    #[error("the vocabulary size is {requested}, it must be from {MIN_BPE_VOCAB} to {MAX_TOKENS}")]
    VocabSize {
        /// The vocabulary size.
        requested: usize,
    },
    /// The text is too long.
    #[error("the text has more than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// The text has no word.
    #[error("the text is empty")]
    Empty,
    /// The library failed.
    #[error("the tokenizer cannot be trained: {reason}")]
    Library {
        /// Its message.
        reason: String,
    },
}

/// Trains a byte-level BPE on texts, and returns its `tokenizer.json`. The text is divided into words by GPT-2's pattern; no
/// token goes beyond a word. Every text can be encoded, because all bytes are tokens. The special token `<eos>` has id 0.
///
/// Source: R. Sennrich, B. Haddow, A. Birch, *Neural Machine Translation of Rare Words with Subword Units*, 2016; on bytes as
/// in GPT-2.
///
/// The file depends on the text and the options only, not on the number of threads.
///
/// # Errors
///
/// [`BpeError`].
pub fn train_bpe<'a>(
    sources: impl IntoIterator<Item = rnnlm_vocab::Result<Source<'a>>>,
    options: &BpeOptions,
) -> Result<String, BpeError> {
    let requested = options.vocab_size;
    if !(MIN_BPE_VOCAB..=MAX_TOKENS).contains(&requested) {
        return Err(BpeError::VocabSize { requested });
    }
    let library = |error: tokenizers::Error| BpeError::Library { reason: error.to_string() };
    let pre_tokenizer = ByteLevel::new(false, true, true);
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(requested)
        .min_frequency(options.min_frequency)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect::<HashSet<char>>())
        .special_tokens(vec![AddedToken::from(EOS_TOKEN, true)])
        .build();
    // a small capacity, so that reading waits for counting
    let (sender, parts) = sync_channel(16);
    let (read, counted) = thread::scope(|scope| {
        let trainer = &mut trainer;
        let counting = scope.spawn(move || trainer.feed(parts.into_iter(), |part| words(pre_tokenizer, part)));
        let read = send_parts(sources, options, &sender);
        drop(sender);
        (read, counting.join())
    });
    read?;
    let stopped = || BpeError::Library { reason: "counting stopped".to_owned() };
    counted.map_err(|_| stopped())?.map_err(library)?;
    if trainer.get_word_count() == 0 {
        return Err(BpeError::Empty);
    }
    let mut model = BPE::default();
    let special = trainer.train(&mut model).map_err(library)?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
    tokenizer.with_decoder(Some(DecoderWrapper::ByteLevel(pre_tokenizer)));
    tokenizer.add_special_tokens(special).map_err(library)?;
    Ok(tokenizer.to_string(true).map_err(library)? + "\n")
}

/// The words of a text, whose characters stand for bytes.
fn words(pre_tokenizer: ByteLevel, part: &str) -> tokenizers::Result<Vec<String>> {
    let mut text = PreTokenizedString::from(part);
    pre_tokenizer.pre_tokenize(&mut text)?;
    let splits = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
    Ok(splits.into_iter().map(|(word, ..)| word.to_owned()).collect())
}

/// Reads the texts and sends them in parts that end between two words.
fn send_parts<'a>(
    sources: impl IntoIterator<Item = rnnlm_vocab::Result<Source<'a>>>,
    options: &BpeOptions,
    sender: &SyncSender<String>,
) -> Result<(), BpeError> {
    let mut bytes = 0;
    for source in sources {
        let (mut text, mut wanted) = (String::new(), PART_BYTES);
        source?.for_each_text(options.encoding, options.line_ends, |piece| {
            bytes += piece.len() as u64;
            if bytes > MAX_BYTES {
                return Err(BpeError::TooLong { limit: MAX_BYTES });
            }
            text.push_str(piece);
            if text.len() >= wanted {
                match SplitRule::BeforeWhiteSpace.last(&text) {
                    Some(end) => {
                        let rest = text.split_off(end);
                        let part = std::mem::replace(&mut text, rest);
                        wanted = PART_BYTES.max(2 * text.len());
                        // counting has failed, and has the error
                        let _ = sender.send(part);
                    }
                    None => wanted = 2 * text.len(),
                }
            }
            Ok(())
        })?;
        if !text.is_empty() {
            let _ = sender.send(text);
        }
    }
    Ok(())
}
