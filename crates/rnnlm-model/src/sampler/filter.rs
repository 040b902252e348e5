//! The interface of a filter.

use std::fmt::Debug;

use super::{Candidates, History};

/// One step of a [`Chain`](super::Chain): changes logits or removes candidates.
pub trait Filter: Debug + Send + Sync {
    /// Changes the candidates of the next token. `history` is empty unless [`Filter::needs_history`].
    fn apply(&self, history: &History, candidates: &mut Candidates);

    /// Whether the filter reads the history.
    fn needs_history(&self) -> bool {
        false
    }

    /// Whether the filter selects candidates by comparing them, so that removing one candidate before it can change which
    /// others it keeps.
    fn truncates(&self) -> bool {
        true
    }
}
