//! Formats with one line for each document: rnnlm's log-probabilities, and n-best lists.

use super::super::document::ScoredDocument;
use super::super::format::Format;
use super::super::record::NbestList;
use super::super::sink::Sink;
use super::super::unit::{Base, Unit};
use crate::failure::Result;

/// The log-probability to base 10 of each document, as rnnlm prints it for n-best lists.
pub(crate) struct Lines;

impl Format for Lines {
    fn document(&mut self, scored: &ScoredDocument, out: &mut Sink) -> Result<()> {
        out.add(format_args!("{:.6}\n", Base::Ten.convert(scored.scores.log_probability)))
    }
}

/// The lines of an n-best list with their scores.
pub(crate) struct Nbest {
    list: NbestList,
    /// The unit of a column of the log-probability.
    unit: Unit,
}

impl Nbest {
    pub(crate) fn new(list: NbestList, unit: Unit) -> Self {
        Self { list, unit }
    }
}

impl Format for Nbest {
    fn document(&mut self, scored: &ScoredDocument, out: &mut Sink) -> Result<()> {
        let (document, nats) = (&scored.document, scored.scores.log_probability);
        let line = &document.raw.bytes;
        let (before, after) = line.split_at(document.fields.insert);
        out.add_bytes(before)?;
        match self.list {
            // not a negation, which would turn 0 into −0
            NbestList::Kaldi => return out.add(format_args!(" {:.6}\n", 0.0 - nats)),
            NbestList::Moses => out.add(format_args!(" RNNLM0= {nats:.6}"))?,
            NbestList::Tsv => out.add(format_args!("\t{:.6}", self.unit.convert(nats, &document.counts)))?,
        }
        out.add_bytes(after)?;
        out.add(format_args!("\n"))
    }
}
