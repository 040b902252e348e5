//! Before stage 1 of the walk: a corpus that no folder holds, over https.
//!
//! Nothing that comes over the wire is trusted: at most the length on record is read, and the file appears under its
//! name only when all of it has been written and its digest is right.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::corpora::{CHUNK_BYTES, CorpusEntry, Measure, Search, Verdict};
use crate::error::{Attempt, Error, Result};

/// How long a server may keep silent before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The path of the corpus in the first of `folders` or else in `cache` that has it unaltered; if none does, it is
/// downloaded into `cache`, which is created if need be. An altered copy in `cache` is replaced.
///
/// `proxy` is the URL of a proxy to go through. `progress` is called with the bytes received so far and those expected.
///
/// # Errors
///
/// [`Error::WrongCorpus`] if one of `folders` holds a file of that name and other content, and none the right one;
/// [`Error::CorpusUnavailable`] with every place and the reason why it did not give the corpus, the URL included;
/// [`Error::Write`]; [`Error::CorpusName`].
pub fn fetch(
    entry: &CorpusEntry,
    folders: &[impl AsRef<Path>],
    cache: &Path,
    proxy: Option<&str>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<PathBuf> {
    let mut tried = Vec::new();
    let mut altered = None;
    for (place, search) in [entry.search(folders), entry.search(&[cache])].into_iter().enumerate() {
        match search? {
            Search::Found(path) => return Ok(path),
            Search::Missed { tried: more, wrong } => {
                tried.extend(more);
                // Only the cache's copy is ours to replace.
                altered = altered.or(wrong.filter(|_| place == 0));
            }
        }
    }
    if let Some(altered) = altered {
        return Err(altered);
    }

    let reason = match &entry.url {
        None => Attempt { place: "https".to_owned(), reason: "no URL is on record".to_owned() },
        Some(url) => match request(url, proxy) {
            Ok(body) => match store(body, entry, cache, progress)? {
                Ok(path) => return Ok(path),
                Err(reason) => Attempt { place: url.clone(), reason },
            },
            Err(error) => Attempt { place: url.clone(), reason: error.to_string() },
        },
    };
    tried.push(reason);
    Err(entry.unavailable(tried, Some(cache)))
}

/// Asks for `url` and returns what will be sent.
fn request(url: &str, proxy: Option<&str>) -> Result<impl Read, ureq::Error> {
    let proxy = proxy.map(ureq::Proxy::new).transpose()?;
    let config = ureq::Agent::config_builder()
        .https_only(true)
        .proxy(proxy)
        .timeout_resolve(Some(PATIENCE))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .build();
    Ok(config.new_agent().get(url).call()?.into_body().into_reader())
}

/// Why what was sent is not the corpus.
type Refusal = String;

/// Writes what `body` gives to `NAME.txt` in `folder`, whole or not at all. The outer error is of the disk, the inner
/// one of the sender.
fn store(
    body: impl Read,
    entry: &CorpusEntry,
    folder: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Result<PathBuf, Refusal>> {
    let path = entry.path_in(folder)?;
    let write = |source| Error::Write { path: path.clone(), source };
    fs::create_dir_all(folder).map_err(write)?;
    let mut file = temporary_file(folder).map_err(write)?;
    if let Err(refusal) = receive(body, entry, &mut file, progress).map_err(write)? {
        return Ok(Err(refusal));
    }
    file.as_file().sync_all().map_err(write)?;
    file.persist(&path).map_err(|error| write(error.error))?;
    sync_folder(folder).map_err(write)?;
    Ok(Ok(path))
}

/// Copies `body` to `file`, stopping once it is longer than it should be, and judges it.
fn receive(
    mut body: impl Read,
    entry: &CorpusEntry,
    file: &mut impl Write,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<Result<(), Refusal>> {
    let mut measure = Measure::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut received = 0;
    loop {
        let length = match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Err(format!("{error} after {received} of {} bytes", entry.bytes))),
        };
        received += length as u64;
        if received > entry.bytes {
            return Ok(Err(format!("sent more than the {} bytes expected", entry.bytes)));
        }
        measure.add(&chunk[..length]);
        file.write_all(&chunk[..length])?;
        progress(received, entry.bytes);
    }
    Ok(match entry.judge(measure) {
        Verdict::Right => Ok(()),
        Verdict::Wrong { bytes, .. } if bytes < entry.bytes => {
            Err(format!("sent {bytes} bytes, {} were expected", entry.bytes))
        }
        Verdict::Wrong { sha1, .. } => Err(format!("sent a text with SHA-1 {sha1}, expected {}", entry.sha1)),
    })
}

/// A file that vanishes unless it is renamed, with the permissions of any other new file.
fn temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask
    builder.tempfile_in(folder)
}

/// Makes a rename outlast a power failure; other systems than Unix have no such call.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpora::tests::abc;

    /// Stores what `body` gives in a fresh folder; returns the outcome and the names of all files left.
    fn stored(body: impl Read) -> (Result<(), Refusal>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("a").join("cache");
        let outcome = store(body, &abc(), &cache, &mut |_, _| {}).unwrap();
        if let Ok(path) = &outcome {
            assert_eq!((path, fs::read(path).unwrap()), (&cache.join("abc.txt"), b"abc".to_vec()));
        }
        let names = fs::read_dir(&cache).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        (outcome.map(|_| ()), names.collect())
    }

    /// Gives its bytes and then fails.
    struct Broken(&'static [u8]);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::new(io::ErrorKind::ConnectionReset, "connection reset")),
                length => Ok(length),
            }
        }
    }

    #[test]
    fn a_right_body_is_stored_under_its_name_alone() {
        assert_eq!(stored(&b"abc"[..]), (Ok(()), vec!["abc.txt".to_owned()]));
    }

    #[test]
    fn any_other_body_leaves_nothing() {
        let wrong = "sent a text with SHA-1 cb4cc28df0fdbe0ecf9d9662e294b118092a5735, expected \
                     a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(stored(&b"abd"[..]), (Err(wrong.to_owned()), vec![]));
        assert_eq!(stored(&b"ab"[..]), (Err("sent 2 bytes, 3 were expected".to_owned()), vec![]));
        assert_eq!(stored(&b""[..]), (Err("sent 0 bytes, 3 were expected".to_owned()), vec![]));
        assert_eq!(stored(io::repeat(b'a')), (Err("sent more than the 3 bytes expected".to_owned()), vec![]));
        assert_eq!(stored(Broken(b"ab")), (Err("connection reset after 2 of 3 bytes".to_owned()), vec![]));
    }

    #[test]
    fn progress_counts_up_to_what_is_expected() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        let body = (&b"a"[..]).chain(&b"bc"[..]);
        store(body, &abc(), folder.path(), &mut |done, total| seen.push((done, total))).unwrap().unwrap();
        assert_eq!(seen, [(1, 3), (3, 3)]);
    }

    #[cfg(unix)]
    #[test]
    fn a_stored_file_has_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = store(&b"abc"[..], &abc(), folder.path(), &mut |_, _| {}).unwrap().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, "").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&other));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let cache = folder.path().join("file").join("cache");
        let error = store(&b"abc"[..], &abc(), &cache, &mut |_, _| {}).unwrap_err();
        assert_eq!(error.to_string(), format!("`{}` could not be written", cache.join("abc.txt").display()));
    }

    fn fetch_abc(url: &str, folders: &[&Path], cache: &Path) -> Result<PathBuf> {
        let entry = CorpusEntry { url: Some(url.to_owned()), ..abc() };
        fetch(&entry, folders, cache, None, &mut |_, _| {})
    }

    #[test]
    fn offline_every_place_the_url_and_the_remedy_are_named() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(cache.path().join("abc.txt"), "ab").unwrap(); // a damaged copy of ours: tried anew, not fatal
        let url = "https://127.0.0.1:1/abc.txt";
        let error = fetch_abc(url, &[folder.path()], cache.path()).unwrap_err().to_string();
        let [missing, damaged] = [folder.path(), cache.path()].map(|place| place.join("abc.txt").display().to_string());
        let remedy = format!("may be put at `{damaged}` (text: FIPS 180");
        let missing = format!("`{missing}`: does not exist; ");
        let damaged = format!("`{damaged}`: 2 bytes with SHA-1 da23614e02469a0d7c7bd1bdab5c9c474b1904dc; ");
        for part in [&missing, &damaged, &format!("`{url}`: "), &remedy] {
            assert!(error.contains(part.as_str()), "{part:?} is not in {error:?}");
        }
    }

    #[test]
    fn nothing_is_fetched_in_the_clear() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/abc.txt", listener.local_addr().unwrap());
        assert!(fetch_abc(&url, &[folder.path()], cache.path()).is_err());
        assert!(listener.accept().is_err(), "a connection was made");
    }

    #[test]
    fn a_server_without_tls_is_a_reason_like_any_other() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/abc.txt", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").unwrap();
            let _ = stream.read_to_end(&mut Vec::new()); // until the client has hung up
        });
        let error = fetch_abc(&url, &[folder.path()], cache.path()).unwrap_err();
        server.join().unwrap();
        assert!(matches!(error, Error::CorpusUnavailable { .. }), "{error}");
        assert!(!cache.path().join("abc.txt").exists());
    }

    #[test]
    fn an_altered_copy_of_the_users_own_is_reported_unless_the_cache_has_the_right_one() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("abc.txt"), "abd").unwrap();
        let error = fetch_abc("https://127.0.0.1:1/abc.txt", &[folder.path()], cache.path()).unwrap_err();
        assert!(matches!(error, Error::WrongCorpus { .. }), "{error}");
        fs::write(cache.path().join("abc.txt"), "abc").unwrap();
        let found = fetch_abc("https://127.0.0.1:1/abc.txt", &[folder.path()], cache.path()).unwrap();
        assert_eq!(found, cache.path().join("abc.txt"));
    }
}
