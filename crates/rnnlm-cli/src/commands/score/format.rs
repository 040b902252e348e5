//! The interface of the formats of the results.

use rnnlm_vocab::{DocumentFrame, Vocab};

use super::document::ScoredDocument;
use super::sink::Sink;
use super::unit::Unit;
use crate::failure::Result;

/// A format of the results.
pub(super) trait Format {
    /// Before the first document.
    fn start(&mut self, _: &mut Sink) -> Result<()> {
        Ok(())
    }

    /// The result of a document.
    fn document(&mut self, scored: &ScoredDocument, out: &mut Sink) -> Result<()>;

    /// After the last document.
    fn finish(&mut self, _: &mut Sink) -> Result<()> {
        Ok(())
    }
}

/// What a format needs to know about the model and the settings.
pub(super) struct Setting<'a> {
    pub(super) vocab: &'a Vocab,
    pub(super) frame: DocumentFrame,
    /// The digest of the model.
    pub(super) model: String,
    pub(super) unit: Unit,
    /// Whether there is a row for each token.
    pub(super) has_tokens: bool,
    /// Whether there is a column with the text.
    pub(super) has_text: bool,
    /// Other settings that change scores, for a header: `unknown=skip`.
    pub(super) other: Vec<String>,
}
