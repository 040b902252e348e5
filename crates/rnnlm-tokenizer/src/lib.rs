//! Subword tokenizers for `rnnlm-vocab`: reads the `tokenizer.json` of Hugging Face's library `tokenizers`, and trains a
//! byte-level BPE.
//!
//! [`HfTokenizer`] is a tokenizer from a file, with the ids and the offsets of the library. [`install`] registers it, so that
//! [`Vocab::from_json`](rnnlm_vocab::Vocab::from_json), and so every run and every token cache, can read vocabularies of
//! subwords. [`train_bpe`] makes a `tokenizer.json` from texts.
//!
//! ```
//! use rnnlm_tokenizer::{BpeOptions, install, train_bpe};
//! use rnnlm_vocab::{Source, Vocab, load_subwords};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! install();
//! let options = BpeOptions { vocab_size: 260, ..BpeOptions::default() };
//! let json = train_bpe([Ok(Source::from_bytes(b"to be or not to be"))], &options)?;
//! let vocab = Vocab::from_tokenizer(load_subwords(&json)?)?;
//! let stored = Vocab::from_json(vocab.to_json()?.as_bytes())?;
//! assert_eq!(stored.decode(&stored.encode("to be or not").ids)?, "to be or not");
//! # Ok(())
//! # }
//! ```
//!
//! # Which files can be used
//!
//! Every id from 0 to the number of tokens minus 1 has one token. Every text can be encoded: the model has an unknown token,
//! or tokens for all 256 bytes. The text of a token is known without its neighbors: the decoder is `ByteLevel`, `Metaspace`,
//! `WordPiece`, `Fuse`, `ByteFallback`, `Replace`, `Strip` or none. Truncation and padding of the file are ignored. BPE with
//! dropout is refused, because a text would have other ids each time.
//!
//! # Special tokens
//!
//! In a stream, the name of a special token is that token, as in `tokenizers`. In documents it is ordinary text. The first
//! special token that is called `<eos>`, `<|endoftext|>`, `</s>`, `<|end_of_text|>`, `[EOS]` or `[SEP]` ends documents.

mod bpe;
mod decoder;
mod file;
mod split_point;
mod tokenizer;

pub use bpe::{BpeError, BpeOptions, MIN_BPE_VOCAB, train_bpe};
pub use tokenizer::{HfTokenizer, TokenizerError, install};

/// Runs the examples of the crate's README as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
