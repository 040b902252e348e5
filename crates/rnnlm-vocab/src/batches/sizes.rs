//! The sizes of minibatches that fit a corpus.

use crate::error::{Error, Result};

/// The smallest number of tokens that gives a minibatch at every offset: N rows of T tokens, an offset of up to T, and
/// the target of the last token.
fn min_tokens(batch_size: usize, num_steps: usize) -> Option<usize> {
    batch_size.checked_mul(num_steps)?.checked_add(num_steps)?.checked_add(1)
}

/// An error unless the sizes are positive and fit the corpus.
pub(super) fn check_sizes(tokens: usize, batch_size: usize, num_steps: usize) -> Result<()> {
    for (name, size) in [("batch_size", batch_size), ("num_steps", num_steps)] {
        if size == 0 {
            return Err(Error::Zero { name });
        }
    }
    let needed = min_tokens(batch_size, num_steps).ok_or(Error::BatchOverflow { batch_size, num_steps })?;
    if tokens < needed {
        let advice = advice(tokens, num_steps);
        return Err(Error::CorpusTooShort { tokens, batch_size, num_steps, needed, advice });
    }
    Ok(())
}

/// The largest sizes that fit a corpus of `tokens`, from N·T + T + 1 ≤ `tokens`: N for the given T, else T for N = 1.
fn advice(tokens: usize, num_steps: usize) -> String {
    let max_rows_and_offset = tokens.saturating_sub(1) / num_steps; // N + 1
    let max_steps = tokens.saturating_sub(1) / 2;
    match (max_rows_and_offset, max_steps) {
        (2.., _) => format!("batch_size {} fits", max_rows_and_offset - 1),
        (_, 1..) => format!("even batch_size 1 does not fit, num_steps {max_steps} would"),
        _ => "every size needs at least 3 tokens".to_owned(),
    }
}
