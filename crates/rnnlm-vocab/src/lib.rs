//! From a text to the minibatches that train a language model: stages 1 to 3 of the walk.
//!
//! ```
//! use rnnlm_vocab::{Corpus, CorpusOptions, SequentialBatches};
//!
//! # fn main() -> rnnlm_vocab::Result<()> {
//! let text = b"The Time Traveller (for so it will be convenient to speak of him)\nwas expounding a matter to us.";
//! let corpus = Corpus::from_bytes(text, &CorpusOptions::default())?; // characters, normalised as in the book
//! assert_eq!(corpus.vocab.decode(&corpus.ids[..18])?, "the time traveller");
//! assert_eq!(corpus.vocab.encode("TIME").ids, corpus.ids[4..8]);
//!
//! let (batch_size, num_steps, seed, epoch) = (1, 35, 0, 0);
//! for minibatch in SequentialBatches::new(&corpus.ids, batch_size, num_steps, seed, epoch)? {
//!     let (inputs, targets) = (corpus.vocab.decode(&minibatch.inputs)?, corpus.vocab.decode(&minibatch.targets)?);
//!     assert_eq!(inputs[1..], targets[..34]); // what follows each character is what there is to predict
//! }
//! # Ok(())
//! # }
//! ```
//!
//! 1. **Text.** [`Corpus`] reads a path, a stream or bytes, line by line, and applies a [`Normalization`].
//! 2. **Tokens.** A [`TokenKind`] cuts it into characters, words or bytes; a [`Vocab`] gives them ids and takes them
//!    back. It carries the normalisation with it, so that its `vocab.json` is all that is needed to read another text
//!    in the same way.
//! 3. **Minibatches.** [`SequentialBatches`] and [`RandomBatches`] borrow the ids and cut them, seeded and in random
//!    access.
//!
//! Nothing here knows a tensor, prints, or reads the environment.
//!
//! # Features
//!
//! Both are off by default.
//!
//! - `corpora`: find a corpus by name in given folders and verify its checksum.
//! - `download`: fetch it over https when no folder holds it.

mod batches;
mod builder;
#[cfg(feature = "corpora")]
pub mod corpora;
mod corpus;
#[cfg(feature = "download")]
mod download;
mod error;
mod normalize;
pub mod rng;
mod stats;
mod text;
mod tokenize;
mod unknown;
mod vocab;
mod vocab_file;

pub use batches::{Batches, Minibatch, Minibatches, RandomBatches, Sampling, SequentialBatches};
pub use corpus::{Corpus, CorpusOptions};
#[cfg(feature = "corpora")]
pub use error::Attempt;
pub use error::{Error, Result};
pub use normalize::Normalization;
pub use stats::commonest;
pub use text::{LineEndings, TextFormat, TextSize};
pub use tokenize::TokenKind;
pub use unknown::{UnknownToken, UnknownTokens};
pub use vocab::{Encoding, MAX_TOKENS, UNKNOWN_ID, UNKNOWN_TOKEN, Vocab};
pub use vocab_file::VOCAB_FORMAT_VERSION;
