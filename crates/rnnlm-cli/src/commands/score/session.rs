//! Scores the documents of a text in groups, and prints each group.

use rnnlm_model::Scorer;
use rnnlm_rnn::Recurrence;

use super::args::{ScoreArgs, ScoreFormat};
use super::document::{EncodedDocument, Encoder, Kept, ScoredDocument, Scores};
use super::feed::Feed;
use super::format::Format;
use super::mix::Mixture;
use super::sink::Sink;
use super::summary::Summary;
use super::threshold;
use crate::failure::{Exit, Failure, Result};
use crate::progress::error_line;
use crate::{human, output};

/// A group takes documents until it has this many tokens.
const GROUP_TOKENS: usize = 1 << 16;

/// Scores the documents of a text.
pub(super) struct Session<'a, B: Recurrence> {
    args: &'a ScoreArgs,
    encoder: Encoder<'a>,
    scorer: Scorer<'a, B>,
    kept: Kept,
    mixture: Option<Mixture>,
    summary: Summary,
    /// The surprisal of each document, for a calibration.
    surprisals: Vec<f64>,
    /// Number of documents beyond `--fail-above`.
    beyond: u64,
    /// Number of documents that were left out because they are not UTF-8, and the line of the first one.
    skipped: u64,
    first_skipped: u64,
}

/// Documents that are scored together, and what ended the text after them.
struct Group {
    documents: Vec<EncodedDocument>,
    end: Option<Result<()>>,
}

impl<'a, B: Recurrence> Session<'a, B> {
    pub(super) fn new(args: &'a ScoreArgs, encoder: Encoder<'a>, scorer: Scorer<'a, B>, kept: Kept) -> Result<Self> {
        let mixture = match (&args.mix, args.lambda) {
            (Some(path), Some(lambda)) => Some(Mixture::open(path, lambda)?),
            _ => None,
        };
        Ok(Self {
            args,
            encoder,
            scorer,
            kept,
            mixture,
            summary: Summary::default(),
            surprisals: Vec::new(),
            beyond: 0,
            skipped: 0,
            first_skipped: 0,
        })
    }

    /// Scores all documents, and prints them in a format or, without one, a threshold.
    pub(super) fn run(mut self, feed: &Feed, mut format: Option<Box<dyn Format + 'a>>) -> Result<Exit> {
        let mut out = Sink::new();
        if let Some(format) = &mut format {
            format.start(&mut out)?;
        }
        let mut index = 0;
        let mut is_at_end = false;
        while !is_at_end {
            out.flush()?;
            let group = self.next_group(feed, &mut index);
            let printed = self.print(group.documents, format.as_deref_mut(), &mut out);
            // the results before an error are printed, too
            let end = printed.and_then(|()| group.end.transpose());
            is_at_end = match end {
                Ok(end) => end.is_some(),
                Err(error) => {
                    out.flush()?;
                    return Err(error);
                }
            };
        }
        if let Some(mixture) = self.mixture.take() {
            mixture.finish()?;
        }
        if let Some(format) = &mut format {
            format.finish(&mut out)?;
        }
        out.flush()?;
        self.finish()
    }

    /// Waits for a document, and takes the following ones that are read already. `index` counts documents.
    fn next_group(&mut self, feed: &Feed, index: &mut u64) -> Group {
        let mut group = Group { documents: Vec::new(), end: None };
        let mut tokens = 0;
        while tokens < GROUP_TOKENS {
            let next = if group.documents.is_empty() { feed.wait() } else { feed.take() };
            let Some(raw) = next else {
                if group.documents.is_empty() {
                    group.end = Some(Ok(()));
                }
                break;
            };
            let encoded = raw.map_err(Failure::from).and_then(|raw| {
                let line = raw.line;
                Ok((self.encoder.encode(raw, *index)?, line))
            });
            match encoded {
                Ok((Some(document), _)) => {
                    tokens += document.ids.len();
                    group.documents.push(document);
                }
                Ok((None, line)) => {
                    self.first_skipped = if self.skipped == 0 { line } else { self.first_skipped };
                    self.skipped += 1;
                }
                Err(error) => {
                    group.end = Some(Err(error));
                    break;
                }
            }
            *index += 1;
        }
        group
    }

    /// Scores and prints the documents of a group.
    fn print(
        &mut self,
        documents: Vec<EncodedDocument>,
        mut format: Option<&mut (dyn Format + 'a)>,
        out: &mut Sink,
    ) -> Result<()> {
        let ids: Vec<&[u32]> = documents.iter().map(|document| &document.ids[..]).collect();
        let unknown = self.encoder.vocab.unknown_id();
        let mut scores: Vec<Scores> = ids.iter().map(|ids| Scores::new(self.kept, ids.len(), unknown)).collect();
        self.scorer.score(self.encoder.frame.context, &ids, &mut |document, score| scores[document].add(score))?;
        for (document, mut scores) in documents.into_iter().zip(scores) {
            if let Some(mixture) = &mut self.mixture {
                mixture.apply(&document, &mut scores)?;
            }
            let scored = ScoredDocument { document, scores };
            self.summary.add(&scored);
            self.print_document(&scored, format.as_deref_mut(), out)?;
        }
        Ok(())
    }

    fn print_document(
        &mut self,
        scored: &ScoredDocument,
        format: Option<&mut (dyn Format + 'a)>,
        out: &mut Sink,
    ) -> Result<()> {
        let args = self.args;
        let surprisal = args.threshold_unit().surprisal(scored.scores.log_probability, &scored.document.counts);
        let is_beyond = |threshold: Option<f64>| threshold.is_some_and(|threshold| surprisal > threshold);
        self.beyond += u64::from(is_beyond(args.fail_above));
        match format {
            Some(format) if args.above.is_none() || is_beyond(args.above) => format.document(scored, out),
            Some(_) => Ok(()),
            None => {
                // a document without characters has no surprisal per character
                self.surprisals.extend(Some(surprisal).filter(|surprisal| !surprisal.is_nan()));
                Ok(())
            }
        }
    }

    /// Prints the summary and the warnings, and the threshold of a calibration.
    fn finish(self) -> Result<Exit> {
        let Self { args, encoder, summary, surprisals, .. } = self;
        let note = |text: String| {
            if !args.quiet {
                error_line(&text);
            }
        };
        if self.skipped > 0 {
            let skipped = human::count(self.skipped, "document");
            let verb = if self.skipped == 1 { "is" } else { "are" };
            let first = self.first_skipped;
            error_line(&format!("warning: left out {skipped} that {verb} not UTF-8, the first at line {first}"));
        }
        if summary.documents == 0 && self.skipped == 0 {
            error_line(&format!("warning: `{}` has no documents", encoder.name));
        }
        if let Some(warning) = summary.warning() {
            error_line(&warning);
        }
        let has_own_summary = matches!(args.format, ScoreFormat::Kenlm | ScoreFormat::Srilm);
        if summary.documents > 0 && !has_own_summary {
            note(summary.text());
        }
        let words = args.threshold_unit().words();
        if let Some(quantile) = args.quantile {
            let count = surprisals.len();
            let threshold = threshold::of_quantile(&surprisals, quantile)
                .ok_or_else(|| Failure::failed(format!("`{}` has no documents to calibrate on", encoder.name)))?;
            let beyond = surprisals.iter().filter(|&&surprisal| surprisal > threshold).count();
            let share = human::percent(beyond, count);
            note(format!(
                "{beyond} of {} ({share}) are beyond {threshold} {words}",
                human::count(count as u64, "document")
            ));
            output::line(&threshold.to_string())?;
        }
        if let Some(threshold) = args.fail_above {
            let all = human::count(summary.documents, "document");
            note(format!("{} of {all} are beyond {threshold} {words}", human::thousands(self.beyond)));
        }
        Ok(if self.beyond > 0 { Exit::Failed } else { Exit::Success })
    }
}
