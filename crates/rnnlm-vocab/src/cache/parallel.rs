//! Tokenization of a text by several threads. The results are combined in the order of the text, so they do not depend on
//! the number of threads.
//!
//! ```text
//! this thread   reads segments │ starts a task for each │ combines the results in order
//! the pool      normalizes and tokenizes a segment, with a scanner of its own
//! ```

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, channel};

use rayon::{Scope, Yield};

use super::segments::{Segment, Segments};
use crate::corpus::{Files, Scan, Scanner, Token};
use crate::encoding::TextEncoding;
use crate::error::{Error, Result};
use crate::memory::{MemoryUse, Stop};
use crate::source::Source;

/// Number of bytes of a segment. The distinct words of a segment are few compared with all of its words, and the tables of
/// a segment fit into a second-level cache.
pub(super) const SEGMENT_BYTES: usize = 1 << 20;

/// What is made of the tokens of a segment.
pub(super) trait Sink: Send {
    /// Takes the next token.
    fn add(&mut self, token: Token<'_>, memory: &mut MemoryUse) -> Result<(), Stop>;

    /// The sink of the segment that continues this one.
    fn split(&mut self) -> Self;
}

/// How the tokens of a text are read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'v> {
    pub(super) scan: Scan<'v>,
    pub(super) encoding: TextEncoding,
    /// Limit of the memory that the combined results count, and of that which each task counts.
    pub(super) memory_limit: u64,
    /// [`SEGMENT_BYTES`].
    pub(super) segment_bytes: usize,
}

/// The progress of reading at the time when a result is combined.
pub(super) struct Combined {
    /// Number of bytes of the segment.
    pub(super) segment_bytes: usize,
    /// Number of bytes that were read of all files, after decompression.
    pub(super) bytes_read: u64,
}

impl<'v> Reading<'v> {
    /// Passes the tokens of each segment to a new sink, and the sinks to `combine`, in the order of the text.
    pub(super) fn read<'a, S: Sink>(
        self,
        sources: impl Iterator<Item = Result<Source<'a>>>,
        new_sink: impl Fn() -> S,
        mut combine: impl FnMut(S, &Combined, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<Files<'a>> {
        let mut segments = Segments::new(sources, self.encoding, self.scan, self.segment_bytes);
        let mut results = Results::new(self);
        let max_tasks = 2 * rayon::current_num_threads() + 1;
        rayon::in_place_scope(|scope| {
            loop {
                let segment = match segments.next() {
                    Ok(Some(segment)) => segment,
                    Ok(None) => break,
                    Err(error) => {
                        // an error in the text before it comes first
                        results.combine(0, &mut combine, segments.bytes_read())?;
                        return Err(error);
                    }
                };
                let max_running = if results.is_continued { 0 } else { max_tasks - 1 };
                results.combine(max_running, &mut combine, segments.bytes_read())?;
                results.start(scope, segment, &new_sink);
            }
            results.combine(0, &mut combine, segments.bytes_read())
        })?;
        let Segments { formats, last, .. } = segments;
        Files::of_scanner(results.total, results.memory, formats, last)
    }
}

/// A segment whose tokens were read.
struct Done<'v, S> {
    segment: Segment,
    scanner: Scanner<'v>,
    sink: S,
    outcome: Result<(), Error>,
}

/// The tasks, and what they found.
struct Results<'v, S> {
    reading: Reading<'v>,
    /// The results of the tasks that are not combined yet, in the order of the text.
    tasks: VecDeque<Receiver<Done<'v, S>>>,
    /// Whether the next segment continues the last one that was started.
    is_continued: bool,
    /// The scanner and the sink of the segment that the next one continues.
    continued: Option<(Scanner<'v>, S)>,
    total: Scanner<'v>,
    memory: MemoryUse,
}

impl<'v, S: Sink> Results<'v, S> {
    fn new(reading: Reading<'v>) -> Self {
        let (total, memory) = (Scanner::new(reading.scan), MemoryUse::new(reading.memory_limit));
        Self { reading, tasks: VecDeque::new(), is_continued: false, continued: None, total, memory }
    }

    /// Starts a task for a segment.
    fn start<'s>(&mut self, scope: &Scope<'s>, segment: Segment, new_sink: &impl Fn() -> S)
    where
        S: 's,
        'v: 's,
    {
        let Reading { scan, memory_limit, .. } = self.reading;
        let (mut scanner, mut sink) = self.continued.take().unwrap_or_else(|| (Scanner::new(scan), new_sink()));
        self.is_continued = !segment.is_end;
        let (sender, receiver) = channel();
        self.tasks.push_back(receiver);
        scope.spawn(move |_| {
            let outcome = tokenize(&segment, &mut scanner, &mut sink, memory_limit)
                .map_err(|stop| stop.in_file(&segment.name, segment.bytes_read));
            // nobody receives after an error in the text before it
            let _ = sender.send(Done { segment, scanner, sink, outcome });
        });
    }

    /// Combines results until at most `max_running` tasks have no combined result.
    fn combine(
        &mut self,
        max_running: usize,
        combine: &mut impl FnMut(S, &Combined, &mut MemoryUse) -> Result<(), Stop>,
        bytes_read: u64,
    ) -> Result<()> {
        while self.tasks.len() > max_running {
            let Some(task) = self.tasks.pop_front() else { break };
            let Done { segment, scanner, mut sink, outcome } = wait(&task);
            outcome?;
            let in_file = |stop: Stop| stop.in_file(&segment.name, segment.bytes_read);
            match segment.is_end {
                true => self.total.append(&scanner, &mut self.memory).map_err(in_file)?,
                false => self.continued = Some((scanner, sink.split())),
            }
            let combined = Combined { segment_bytes: segment.len(), bytes_read };
            combine(sink, &combined, &mut self.memory).map_err(in_file)?;
        }
        Ok(())
    }
}

/// Waits for the result of a task. A thread of the pool executes tasks meanwhile.
fn wait<T>(task: &Receiver<T>) -> T {
    loop {
        if let Ok(result) = task.try_recv() {
            return result;
        }
        match rayon::yield_now() {
            Some(Yield::Executed) => {}
            Some(Yield::Idle) => std::thread::yield_now(),
            None => return task.recv().expect("a task sends its result unless it panics"),
        }
    }
}

/// Passes the tokens of a segment to `sink`.
fn tokenize<S: Sink>(
    segment: &Segment,
    scanner: &mut Scanner<'_>,
    sink: &mut S,
    memory_limit: u64,
) -> Result<(), Stop> {
    let mut memory = MemoryUse::new(memory_limit);
    let mut add = |token: Token<'_>, _: bool, memory: &mut MemoryUse| sink.add(token, memory);
    for piece in segment.pieces() {
        scanner.push(piece, &mut memory, &mut add)?;
    }
    if segment.is_end { scanner.end_file(&mut memory, &mut add) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use super::*;
    use crate::documents::Documents;
    use crate::normalize::{LineEndConversion, Normalization};
    use crate::rng::SplitMix64;
    use crate::tokenize::TokenKind;

    /// The tokens; `None` is the end of a document.
    #[derive(Debug, Default, PartialEq)]
    struct Tokens(Vec<Option<Vec<u8>>>);

    impl Tokens {
        fn push(&mut self, token: Token<'_>) {
            self.0.push(match token {
                Token::Raw(raw) => Some(raw.to_vec()),
                Token::End => None,
            });
        }
    }

    impl Sink for Tokens {
        fn add(&mut self, token: Token<'_>, _: &mut MemoryUse) -> Result<(), Stop> {
            self.push(token);
            Ok(())
        }

        fn split(&mut self) -> Self {
            Self::default()
        }
    }

    /// Returns a few bytes at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1 + self.0.len() % 7).min(self.0.len());
            self.0.read(&mut buffer[..length])
        }
    }

    /// A text of about 6,000 bytes, so that it has more than the piece that reveals its encoding.
    fn text(seed: u64, line_end: &str) -> String {
        let parts =
            ["a", "be", "É", "İ", " ", "  ", "\t", ".", "'", "4", "\u{301}", "東", line_end, "\n", "\n\n", "\r"];
        let mut rng = SplitMix64::with_index(seed, 0);
        (0..4000).map(|_| parts[rng.below(parts.len() as u64) as usize]).collect()
    }

    fn check(scan: Scan<'_>, texts: &[String]) {
        let encoding = TextEncoding::UTF_8;
        let mut expected = Tokens::default();
        let whole = texts.iter().map(|text| Ok(Source::from_bytes(text.as_bytes())));
        let files = Files::read(whole, encoding, scan, |token, _, _| {
            expected.push(token);
            Ok(())
        });
        let files = files.expect("a text");
        for (segment_bytes, num_threads) in [(1, 1), (50, 3), (1000, 2)] {
            let reading = Reading { scan, encoding, memory_limit: u64::MAX, segment_bytes };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(num_threads).build().expect("a pool");
            pool.install(|| {
                let slow = texts.iter().map(|text| Ok(Source::from_reader(Slow(text.as_bytes()), "slow")));
                let mut found = Tokens::default();
                let mut num_segments = 0;
                let read = reading.read(slow, Tokens::default, |Tokens(tokens), _, _| {
                    num_segments += 1;
                    found.0.extend(tokens);
                    Ok(())
                });
                let read = read.expect("the same text");
                assert!(num_segments > 3, "{num_segments} segments");
                assert!(found == expected, "{segment_bytes} {num_threads}");
                assert_eq!(read.scanned, files.scanned);
                assert_eq!((read.formats.format(), read.formats.bytes), (files.formats.format(), files.formats.bytes));
            });
        }
    }

    #[test]
    fn a_text_in_segments_has_the_tokens_of_the_whole_text() {
        for (number, kind) in TokenKind::ALL.into_iter().enumerate() {
            for normalization in Normalization::ALL {
                for line_ends in LineEndConversion::ALL {
                    for documents in Documents::ALL {
                        let scan = Scan { kind, normalization, line_ends, documents, max_tokens: 0, subwords: None };
                        let texts = [text(number as u64, "\r\n"), text(7, "\n")];
                        check(scan, &texts);
                        // without line ends, every segment continues the one before
                        check(scan, &texts.map(|text| text.replace(['\r', '\n', ' ', '\t'], "x")));
                    }
                }
            }
        }
    }

    #[test]
    fn an_error_in_the_text_comes_before_one_that_follows() {
        let scan = Scan {
            kind: TokenKind::Word,
            normalization: Normalization::None,
            line_ends: LineEndConversion::Keep,
            documents: Documents::None,
            max_tokens: 0,
            subwords: None,
        };
        let reading = Reading { scan, encoding: TextEncoding::UTF_8, memory_limit: 1 << 14, segment_bytes: 100 };
        let text = ["word ".repeat(2000), "x".repeat(40_000), "y z".to_owned()].concat();
        let read = |text: &[u8]| {
            let source = Source::from_reader(Slow(text), "slow").with_memory_limit(u64::MAX);
            let outcome = reading.read(std::iter::once(Ok(source)), Tokens::default, |_, _, _| Ok(()));
            outcome.map(|_| ()).expect_err("it is refused").to_string()
        };
        let is_too_long = |error: &str| error.contains("`slow`") && error.ends_with("the limit is 16384");
        assert!(is_too_long(&read(text.as_bytes())), "{}", read(text.as_bytes()));
        let early = [&text.as_bytes()[..5000], b"\xFF ", text.as_bytes()].concat();
        assert_eq!(read(&early), "`slow` is not UTF-8: byte 0xFF at offset 5000, line 1");
        assert!(is_too_long(&read(&[text.as_bytes(), b"\xFF"].concat())));
    }
}
