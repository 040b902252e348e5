//! The order of samples: which one is decoded next, and which ones are printed.

use std::collections::{BTreeMap, HashSet};
use std::io::BufReader;
use std::path::Path;

use rnnlm_vocab::{DocumentReader, Documents, Vocab};

use crate::corpora::TextSource;
use crate::failure::Result;

/// The samples of a prefix that are decoded at most for each one that is printed.
const MAX_ATTEMPTS: u64 = 100;

/// A sample of a prefix. The order is that of the output.
pub(super) type Key = (usize, u64);

/// Accepts the first samples of each prefix that are new, in order.
///
/// Samples may be completed in any order. Those that are accepted do not depend on it.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    num_samples: u64,
    prefixes: Vec<Attempts>,
    /// The next sample in order.
    next: Key,
    /// Complete samples that are not the next one.
    complete: BTreeMap<Key, T>,
}

/// The samples of a prefix.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    started: u64,
    accepted: u64,
    rejected: u64,
}

impl<T> Schedule<T> {
    pub(super) fn new(num_prefixes: usize, num_samples: usize) -> Self {
        let prefixes = vec![Attempts::default(); num_prefixes];
        Self { num_samples: num_samples as u64, prefixes, next: (0, 0), complete: BTreeMap::new() }
    }

    /// The next sample to decode.
    pub(super) fn start(&mut self) -> Option<Key> {
        let prefix = self.waiting()?;
        self.prefixes[prefix].started += 1;
        Some((prefix, self.prefixes[prefix].started - 1))
    }

    /// Whether no sample is left to decode.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting().is_none()
    }

    /// The first prefix with a sample to decode.
    fn waiting(&self) -> Option<usize> {
        let is_waiting =
            |attempts: &Attempts| attempts.started < (self.num_samples + attempts.rejected).min(self.max_attempts());
        let mut prefixes = self.prefixes.iter().enumerate().skip(self.next.0);
        prefixes.find(|(_, attempts)| is_waiting(attempts)).map(|(prefix, _)| prefix)
    }

    /// Of each prefix.
    fn max_attempts(&self) -> u64 {
        self.num_samples.saturating_mul(MAX_ATTEMPTS)
    }

    /// Adds a complete sample.
    pub(super) fn complete(&mut self, key: Key, sample: T) {
        self.complete.insert(key, sample);
    }

    /// The next accepted sample, if it is complete. `accept` is called once for each sample, in order.
    pub(super) fn accepted(&mut self, mut accept: impl FnMut(&T) -> bool) -> Option<(Key, T)> {
        let limit = self.max_attempts();
        while let Some(sample) = self.complete.remove(&self.next) {
            let key = self.next;
            let attempts = &mut self.prefixes[key.0];
            let is_accepted = accept(&sample);
            *(if is_accepted { &mut attempts.accepted } else { &mut attempts.rejected }) += 1;
            let is_done = attempts.accepted == self.num_samples || key.1 + 1 == limit;
            self.next = if is_done { (key.0 + 1, 0) } else { (key.0, key.1 + 1) };
            if is_accepted {
                return Some((key, sample));
            }
        }
        None
    }

    /// The number of accepted samples, and of all that were considered.
    pub(super) fn counts(&self) -> [u64; 2] {
        let sum = |count: fn(&Attempts) -> u64| self.prefixes.iter().map(count).sum();
        [sum(|x| x.accepted), sum(|x| x.accepted + x.rejected)]
    }
}

/// Texts that are not printed again.
#[derive(Debug, Default)]
pub(super) struct SeenTexts {
    texts: HashSet<Vec<u32>>,
    is_unique: bool,
}

impl SeenTexts {
    /// The documents of a file, or its lines if the run is on a stream, as the run reads them.
    pub(super) fn new(vocab: &Vocab, file: Option<&Path>, is_unique: bool) -> Result<Self> {
        let mut texts = HashSet::new();
        if let Some(path) = file {
            let bytes = TextSource::Path(path.to_owned()).read_to_end()?;
            let documents = match vocab.documents() {
                Documents::None => Documents::Lines,
                documents => documents,
            };
            let name = path.display().to_string();
            let mut reader = DocumentReader::new(BufReader::new(&bytes[..]), name, documents, vocab.line_ends());
            while let Some(document) = reader.read()? {
                let mut ids = document.encode(vocab)?.ids;
                ids.truncate(ids.len() - usize::from(vocab.end_token().is_some()));
                texts.insert(ids);
            }
        }
        Ok(Self { texts, is_unique })
    }

    /// Whether the text is new.
    pub(super) fn accepts(&mut self, ids: Vec<u32>) -> bool {
        if self.is_unique { self.texts.insert(ids) } else { !self.texts.contains(&ids) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The accepted samples if they are completed in this order, a few at a time; a sample is its text.
    fn run(is_reversed: bool, at_a_time: usize, text: impl Fn(Key) -> u64) -> Vec<(Key, u64)> {
        let mut schedule = Schedule::new(3, 4);
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        loop {
            let mut started: Vec<Key> = std::iter::from_fn(|| schedule.start()).take(at_a_time).collect();
            if started.is_empty() {
                return found;
            }
            if is_reversed {
                started.reverse();
            }
            started.into_iter().for_each(|key| schedule.complete(key, text(key)));
            found.extend(std::iter::from_fn(|| schedule.accepted(|&text| text != 5 && seen.insert(text))));
        }
    }

    #[test]
    fn the_first_new_samples_of_each_prefix_are_accepted_in_any_order_of_completion() {
        // rejected: 5, and what occurred before, also for another prefix
        let text = |(prefix, sample): Key| {
            [[1, 5, 1, 2, 2, 3, 4, 9], [1, 6, 5, 7, 8, 10, 11, 12], [13; 8]][prefix]
                .get(sample as usize)
                .copied()
                .unwrap_or(100 + sample)
        };
        let expected = run(false, 1, text);
        let texts: Vec<u64> = expected.iter().map(|(_, text)| *text).collect();
        assert_eq!(texts, [1, 2, 3, 4, 6, 7, 8, 10, 13, 108, 109, 110]);
        for at_a_time in [2, 3, 7, 100] {
            assert_eq!(run(false, at_a_time, text), expected);
            assert_eq!(run(true, at_a_time, text), expected);
        }
    }

    #[test]
    fn attempts_are_limited() {
        let mut schedule = Schedule::new(1, 2);
        let mut attempts = 0;
        while let Some(key) = schedule.start() {
            schedule.complete(key, ());
            assert!(schedule.accepted(|()| false).is_none());
            attempts += 1;
        }
        assert_eq!((attempts, schedule.counts()), (200, [0, 200]));
    }
}
