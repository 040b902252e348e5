//! The formats of the results.

mod kenlm;
mod lines;
mod srilm;
mod surface;
mod table;

pub(super) use self::kenlm::Kenlm;
pub(super) use self::lines::{Lines, Nbest};
pub(super) use self::srilm::Srilm;
pub(super) use self::table::{Jsonl, Tsv};
