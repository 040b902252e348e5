//! Text to tokens to ids to minibatches, for training language models.
//!
//! This crate reads a text, builds or loads a vocabulary, encodes the text as token ids, and cuts the ids into
//! minibatches of inputs and targets. It depends on no tensor library: ids are `u32`, and a minibatch is two
//! `Vec<u32>`. Use it alone to feed a model in any framework; `rnnlm-model` uses it to train recurrent models.
//!
//! ```
//! use rnnlm_vocab::{Batches, Corpus, CorpusOptions};
//!
//! # fn main() -> rnnlm_vocab::Result<()> {
//! let text = b"The Time Traveller (for so it will be convenient to speak of him)\nwas expounding a matter to us.";
//! let corpus = Corpus::from_bytes(text, &CorpusOptions::default())?; // characters, normalized as in the book
//! assert_eq!(corpus.vocab.decode(&corpus.ids[..18])?, "the time traveller");
//! assert_eq!(corpus.vocab.encode("TIME").ids, corpus.ids[4..8]);
//!
//! let (batch_size, num_steps, seed, epoch) = (1, 35, 0, 0);
//! for minibatch in Batches::sequential(&corpus.ids, batch_size, num_steps, seed, epoch)? {
//!     let inputs = corpus.vocab.decode(&minibatch.inputs)?;
//!     let targets = corpus.vocab.decode(&minibatch.targets)?;
//!     assert_eq!(inputs[1..], targets[..34]); // the target of each character is the next character
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The crate covers the first three of the eight stages from text to parameter update:
//!
//! 1. **Text.** [`Corpus`] reads a [`Source`] (a file, a stream or bytes) piece by piece, converts it to UTF-8, and
//!    applies a [`LineEndConversion`] and a [`Normalization`].
//! 2. **Tokens.** A [`TokenKind`] splits the text into characters, words, bytes or the subwords of a
//!    [`SubwordTokenizer`]. A [`Vocab`] maps tokens to ids and back. It stores the token kind, the normalization, the conversion of line ends and the division into documents,
//!    so its `vocab.json` is enough to encode other texts.
//! 3. **Minibatches.** [`Batches`] cuts the ids by sequential partitioning or random sampling. The same seed and epoch
//!    always give the same minibatches, and any minibatch can be read by index.
//!
//! # Documents
//!
//! A text is one stream, or a sequence of independent [`Documents`]: its lines, or parts separated by blank lines. An
//! end token follows each document. [`Corpus::split_documents`] selects a validation set that does not depend on the
//! order of the text, [`Batches::documents`] shuffles the documents in every epoch, and [`DocumentReader`] reads the
//! documents of a stream one by one.
//!
//! ```
//! use rnnlm_vocab::{Batches, Corpus, CorpusOptions, Documents};
//!
//! # fn main() -> rnnlm_vocab::Result<()> {
//! let options = CorpusOptions { documents: Documents::Lines, ..CorpusOptions::default() };
//! let mut corpus = Corpus::from_bytes(b"ada\ngrace\nmary\nannie\nhedy\n", &options)?;
//! let (seed, epoch, shuffle) = (0, 0, true);
//! let num_training = corpus.split_documents(0.2, seed)?;
//! let training = corpus.document_set(0..num_training).unwrap();
//! let minibatch = Batches::documents(training, 1, 8, seed, epoch, shuffle)?.into_iter().next().unwrap();
//! assert_eq!(Some(minibatch.inputs[0]), corpus.vocab.end_token()); // a document starts after an end token
//! # Ok(())
//! # }
//! ```
//!
//! Nothing in this crate prints or reads the environment.
//!
//! # The book
//!
//! "The book" is *Dive into Deep Learning*, and section numbers are those of its Chinese edition: 8.2 (text
//! preprocessing) and 8.3 (language models and the data set). In the current English edition these are sections 9.2
//! and 9.3, which differ in three points: normalization turns a line end into a space, ids are in alphabetical order
//! of the tokens, and training sequences start at every token and overlap.
//!
//! # Features
//!
//! - `compression` (default): reads gzip and zstd files, with decoders in Rust.
//! - `encodings` (default): reads UTF-16 and the other encodings of the WHATWG's Encoding Standard. Without it, a text
//!   must be UTF-8.
//! - `cache`: stores the ids of texts that are larger than memory in files, as a `TokenCache`.
//! - `corpora`: finds a corpus by name in given folders and verifies its checksum.
//! - `download`: downloads a corpus over https if no folder has it.

mod batches;
mod builder;
mod byte_level;
#[cfg(feature = "cache")]
mod cache;
#[cfg(feature = "compression")]
mod compression;
mod content;
#[cfg(feature = "corpora")]
pub mod corpora;
mod corpus;
mod document_index;
mod document_reader;
mod document_set;
mod document_splitter;
mod documents;
mod encoding;
mod error;
mod ids;
mod memory;
mod normalize;
mod packed_ids;
mod reader;
mod records;
mod rng;
mod source;
mod stats;
mod subword_loader;
mod subwords;
mod text;
mod text_ids;
mod token_file;
mod tokenize;
mod tokenizer_json;
mod unknown;
mod vocab;
mod vocab_file;

pub use batches::{Batches, Minibatch, Minibatches, Sampling};
pub use byte_level::{byte_level_character, byte_of_character};
#[cfg(feature = "cache")]
pub use cache::{CachePass, CacheProgress, TokenCache};
pub use content::LikelyContent;
pub use corpus::{Corpus, CorpusOptions};
pub use document_index::DocumentIndex;
pub use document_reader::{Document, DocumentReader};
pub use document_set::{DocumentList, DocumentSet};
pub use documents::{Documents, EOS_TOKEN};
pub use encoding::{TextEncoding, UnknownEncoding};
#[cfg(feature = "corpora")]
pub use error::Attempt;
pub use error::{Error, Result};
pub use ids::{IdSource, Ids};
pub use normalize::{DroppedLetters, LineEndConversion, Normalization};
pub use packed_ids::PackedIds;
pub use records::looks_like_records;
pub use source::{Source, is_compressed};
pub use stats::most_frequent;
pub use subword_loader::{SubwordLoader, load_subwords, set_subword_loader};
pub use subwords::{SpecialTokens, SubwordToken, SubwordTokenizer};
pub use text::{LineEndings, TextFormat, TextSize};
pub use text_ids::TextIds;
pub use token_file::read_token_file;
pub use tokenize::TokenKind;
pub use unknown::{UNKNOWN_ID, UNKNOWN_TOKEN, UnknownToken, UnknownTokens};
pub use vocab::{ContextKind, DocumentFrame, DocumentToken, Encoding, MAX_TOKENS, Vocab};
pub use vocab_file::VOCAB_FORMAT_VERSION;

/// Runs the examples of the crate's README as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
