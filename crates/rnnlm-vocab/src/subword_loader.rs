//! Stage 2, subwords: the function that reads tokenizers, which a program registers.

use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::subwords::SubwordTokenizer;

/// Reads the content of a `tokenizer.json`, or returns the reason why it cannot be used.
pub type SubwordLoader = fn(&str) -> Result<Arc<dyn SubwordTokenizer>, String>;

static LOADER: OnceLock<SubwordLoader> = OnceLock::new();

/// Sets the function that reads tokenizers, for the whole program. Only the first call has an effect.
pub fn set_subword_loader(loader: SubwordLoader) {
    LOADER.get_or_init(|| loader);
}

/// Reads the content of a `tokenizer.json` with the function of [`set_subword_loader`].
///
/// # Errors
///
/// [`Error::NoSubwords`] without such a function, [`Error::Tokenizer`] if the content is not a tokenizer that can be used.
pub fn load_subwords(json: &str) -> Result<Arc<dyn SubwordTokenizer>> {
    let loader = LOADER.get().ok_or(Error::NoSubwords)?;
    loader(json).map_err(|reason| Error::Tokenizer { reason })
}
