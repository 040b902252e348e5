//! The documents of a text, read ahead by a thread into a queue of bounded size.

use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rnnlm_vocab::DocumentReader;

use crate::failure::{Failure, Result};

/// The thread waits while documents of this many bytes are queued. A single document may be longer.
const MAX_QUEUED_BYTES: usize = 8 << 20;

/// A document as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawDocument {
    pub(super) bytes: Vec<u8>,
    /// The line where it starts, counted from 1.
    pub(super) line: u64,
    /// Its offset in the text, in bytes.
    pub(super) offset: u64,
}

/// Reads the documents of a text in a thread of its own.
pub(super) struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// The queue has changed.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    documents: VecDeque<rnnlm_vocab::Result<RawDocument>>,
    bytes: usize,
    is_at_end: bool,
}

impl Feed {
    /// Starts the thread. It ends with the text or with the first error. It does not keep the process alive.
    pub(super) fn start(mut reader: DocumentReader<impl BufRead + Send + 'static>) -> Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let queue = shared.clone();
        let read_all = move || {
            loop {
                let document = match reader.read() {
                    Ok(Some(document)) => {
                        let (bytes, line, offset) = (document.bytes().to_vec(), document.line(), document.offset());
                        Ok(RawDocument { bytes, line, offset })
                    }
                    Ok(None) => break,
                    Err(error) => Err(error),
                };
                let is_error = document.is_err();
                queue.push(document);
                if is_error {
                    break;
                }
            }
            queue.lock().is_at_end = true;
            queue.changed.notify_all();
        };
        let spawned = thread::Builder::new().name("documents".to_owned()).spawn(read_all);
        spawned.map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
        Ok(Self { shared })
    }

    /// The next document; waits for it. `None` at the end of the text.
    pub(super) fn wait(&self) -> Option<rnnlm_vocab::Result<RawDocument>> {
        let mut queue = self.shared.lock();
        while queue.documents.is_empty() && !queue.is_at_end {
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        self.shared.pop(queue)
    }

    /// The next document, if it is already read.
    pub(super) fn take(&self) -> Option<rnnlm_vocab::Result<RawDocument>> {
        self.shared.pop(self.shared.lock())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, document: rnnlm_vocab::Result<RawDocument>) {
        let mut queue = self.lock();
        while queue.bytes >= MAX_QUEUED_BYTES {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.bytes += size_of_document(&document);
        queue.documents.push_back(document);
        self.changed.notify_all();
    }

    fn pop(&self, mut queue: MutexGuard<'_, Queue>) -> Option<rnnlm_vocab::Result<RawDocument>> {
        let document = queue.documents.pop_front()?;
        queue.bytes -= size_of_document(&document);
        self.changed.notify_all();
        Some(document)
    }
}

/// The memory of a document in the queue.
fn size_of_document(document: &rnnlm_vocab::Result<RawDocument>) -> usize {
    size_of::<RawDocument>() + document.as_ref().map_or(0, |document| document.bytes.len())
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use rnnlm_vocab::{Documents, LineEndConversion};

    use super::*;

    /// An endless text that counts the bytes read of it.
    struct Endless(Arc<AtomicUsize>);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(b'\n');
            self.0.fetch_add(buffer.len(), Ordering::SeqCst);
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_full_queue_stops_the_reader() {
        let bytes = Arc::new(AtomicUsize::new(0));
        let reader = BufReader::new(Endless(bytes.clone()));
        let feed =
            Feed::start(DocumentReader::new(reader, "x", Documents::Lines, LineEndConversion::Keep)).expect("a thread");
        // an empty document takes the size of its struct
        let most = MAX_QUEUED_BYTES / size_of::<RawDocument>() + (16 << 10);
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(100));
            assert!(bytes.load(Ordering::SeqCst) <= most, "{bytes:?} of {most}");
        }
        for line in 1..=1000 {
            let document = feed.wait().expect("it is endless").expect("it is read");
            assert_eq!((document.line, document.bytes.len()), (line, 0));
        }
    }

    #[test]
    fn the_documents_of_a_text_arrive_in_order() {
        let text = "a\nbc\n\nd";
        let feed = Feed::start(DocumentReader::new(text.as_bytes(), "x", Documents::Lines, LineEndConversion::Keep));
        let feed = feed.expect("a thread");
        let documents = std::iter::from_fn(|| feed.wait()).map(|document| document.expect("it is read"));
        let documents: Vec<_> = documents.map(|document| (document.line, document.bytes)).collect();
        assert_eq!(documents, [(1, b"a".to_vec()), (2, b"bc".to_vec()), (3, Vec::new()), (4, b"d".to_vec())]);
        assert!(feed.take().is_none());
    }
}
