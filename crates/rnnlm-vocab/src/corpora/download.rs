//! Downloading a corpus over https if no folder has it.
//!
//! The server is not trusted. A response longer than the corpus is rejected, and the file gets its name only after it is
//! completely written and its checksum is verified.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::NamedTempFile;

use super::entry::{CHUNK_BYTES, Checksum, CorpusEntry, Search, Verification};
use crate::error::{Attempt, Error, Result, count};

/// The timeout for each network operation.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Finds a corpus or downloads it, and returns its path.
///
/// Searches `folders`, then `cache`, for a file with the right checksum. If there is none, downloads the corpus into
/// `cache`, which is created if it does not exist. A wrong file in `cache` is replaced.
///
/// `proxy` is the URL of a proxy. `progress` is called with the number of bytes received and the number expected.
///
/// # Errors
///
/// [`Error::WrongCorpus`] if one of `folders` has a file with the right name and different content, and neither
/// `folders` nor `cache` has the right file; [`Error::CorpusUnavailable`] with every location, including the URL, and
/// the reason for its failure; [`Error::Write`]; [`Error::CorpusName`].
pub fn fetch(
    entry: &CorpusEntry,
    folders: &[impl AsRef<Path>],
    cache: &Path,
    proxy: Option<&str>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<PathBuf> {
    let (mut tried, wrong) = match entry.search(folders)? {
        Search::Found(path) => return Ok(path),
        Search::NotFound { tried, wrong } => (tried, wrong),
    };
    match entry.search(&[cache])? {
        Search::Found(path) => return Ok(path),
        // A wrong file in the cache is not an error, because the download replaces it.
        Search::NotFound { tried: in_cache, .. } => tried.extend(in_cache),
    }
    if let Some(wrong) = wrong {
        return Err(wrong);
    }

    let attempt = match &entry.url {
        None => Attempt { location: "https".to_owned(), reason: "no URL is listed".to_owned() },
        Some(url) => match request(url, proxy) {
            Ok(body) => match store(body, entry, cache, progress)? {
                Ok(path) => return Ok(path),
                Err(reason) => Attempt { location: url.clone(), reason },
            },
            Err(error) => Attempt { location: url.clone(), reason: error.to_string() },
        },
    };
    tried.push(attempt);
    Err(entry.unavailable(tried, Some(cache)))
}

/// Requests `url` and returns the response body.
fn request(url: &str, proxy: Option<&str>) -> Result<impl Read, ureq::Error> {
    check_clock(SystemTime::now())?;
    let proxy = proxy.map(ureq::Proxy::new).transpose()?;
    let config = ureq::Agent::config_builder()
        .https_only(true)
        .proxy(proxy)
        .timeout_resolve(Some(TIMEOUT))
        .timeout_connect(Some(TIMEOUT))
        .timeout_recv_response(Some(TIMEOUT))
        .timeout_per_read(Some(TIMEOUT))
        .build();
    Ok(config.new_agent().get(url).call()?.into_body().into_reader())
}

/// An error if the clock is before 1970. The validity of certificates cannot be checked then, and rustls would panic.
fn check_clock(now: SystemTime) -> io::Result<()> {
    match now.duration_since(UNIX_EPOCH) {
        Ok(_) => Ok(()),
        Err(_) => Err(io::Error::other("the clock of this machine is before 1970, so certificates cannot be checked")),
    }
}

/// The reason why a response is not the corpus.
type Rejection = String;

/// Writes `body` to `NAME.txt` in `folder`, completely or not at all. The outer error is from the disk, the inner one
/// from the server.
fn store(
    body: impl Read,
    entry: &CorpusEntry,
    folder: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Result<PathBuf, Rejection>> {
    let path = entry.path_in(folder)?;
    let to_error = |source| Error::Write { path: path.clone(), source };
    fs::create_dir_all(folder).map_err(to_error)?;
    let mut file = temporary_file(folder).map_err(to_error)?;
    if let Err(rejection) = receive(body, entry, &mut file, progress).map_err(to_error)? {
        return Ok(Err(rejection));
    }
    file.as_file().sync_all().map_err(to_error)?;
    file.persist(&path).map_err(|error| to_error(error.error))?;
    sync_folder(folder).map_err(to_error)?;
    Ok(Ok(path))
}

/// Copies `body` to `file` and verifies the checksum. Stops if `body` is longer than the corpus.
fn receive(
    mut body: impl Read,
    entry: &CorpusEntry,
    file: &mut impl Write,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<Result<(), Rejection>> {
    let mut checksum = Checksum::default();
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
            return Ok(Err(format!("sent more than the expected {} bytes", entry.bytes)));
        }
        checksum.update(&chunk[..length]);
        file.write_all(&chunk[..length])?;
        progress(received, entry.bytes);
    }
    Ok(match entry.verify(checksum) {
        Verification::Match => Ok(()),
        Verification::Mismatch { bytes, .. } if bytes < entry.bytes => {
            Err(format!("sent {}, expected {}", count(bytes, "byte"), entry.bytes))
        }
        Verification::Mismatch { sha1, .. } => Err(format!("sent a text with SHA-1 {sha1}, expected {}", entry.sha1)),
    })
}

/// A file that is deleted unless it is renamed, with the default permissions of a new file.
fn temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // the umask still applies
    builder.tempfile_in(folder)
}

/// Makes a rename durable. Only Unix can sync a folder.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpora::entry::tests::abc;

    #[test]
    fn a_clock_before_1970_is_an_error() {
        assert!(check_clock(UNIX_EPOCH).is_ok() && check_clock(SystemTime::now()).is_ok());
        let error = check_clock(UNIX_EPOCH - Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.contains("before 1970"), "{error}");
    }

    /// Stores `body` in a new folder. Returns the outcome and the names of all files in the folder.
    fn stored(body: impl Read) -> (Result<(), Rejection>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("a").join("cache");
        let outcome = store(body, &abc(), &cache, &mut |_, _| {}).unwrap();
        if let Ok(path) = &outcome {
            assert_eq!((path, fs::read(path).unwrap()), (&cache.join("abc.txt"), b"abc".to_vec()));
        }
        let names = fs::read_dir(&cache).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        (outcome.map(|_| ()), names.collect())
    }

    /// A reader that returns its bytes and then fails.
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
    fn a_correct_response_is_stored_and_leaves_no_other_file() {
        assert_eq!(stored(&b"abc"[..]), (Ok(()), vec!["abc.txt".to_owned()]));
    }

    #[test]
    fn an_incorrect_response_leaves_no_file() {
        let wrong = "sent a text with SHA-1 cb4cc28df0fdbe0ecf9d9662e294b118092a5735, expected \
                     a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(stored(&b"abd"[..]), (Err(wrong.to_owned()), vec![]));
        assert_eq!(stored(&b"ab"[..]), (Err("sent 2 bytes, expected 3".to_owned()), vec![]));
        assert_eq!(stored(&b""[..]), (Err("sent 0 bytes, expected 3".to_owned()), vec![]));
        assert_eq!(stored(io::repeat(b'a')), (Err("sent more than the expected 3 bytes".to_owned()), vec![]));
        assert_eq!(stored(Broken(b"ab")), (Err("connection reset after 2 of 3 bytes".to_owned()), vec![]));
    }

    #[test]
    fn progress_reports_received_and_expected_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        let body = (&b"a"[..]).chain(&b"bc"[..]);
        store(body, &abc(), folder.path(), &mut |done, total| seen.push((done, total))).unwrap().unwrap();
        assert_eq!(seen, [(1, 3), (3, 3)]);
    }

    #[cfg(unix)]
    #[test]
    fn a_stored_file_has_default_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = store(&b"abc"[..], &abc(), folder.path(), &mut |_, _| {}).unwrap().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, "").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&other));
    }

    #[test]
    fn the_error_names_a_file_whose_folder_cannot_be_created() {
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
    fn a_failed_download_reports_every_location_and_how_to_add_the_corpus() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(cache.path().join("abc.txt"), "ab").unwrap(); // a wrong file in the cache is not fatal
        let url = "https://127.0.0.1:1/abc.txt";
        let error = fetch_abc(url, &[folder.path()], cache.path()).unwrap_err().to_string();
        let [missing, damaged] =
            [folder.path(), cache.path()].map(|folder| folder.join("abc.txt").display().to_string());
        let advice = format!("SHA-1 a9993e364706816aba3e25717850c26c9cd0d89d at `{damaged}` (text: FIPS 180");
        let missing = format!("`{missing}`: does not exist; ");
        let damaged = format!("`{damaged}`: 2 bytes with SHA-1 da23614e02469a0d7c7bd1bdab5c9c474b1904dc; ");
        for part in [&missing, &damaged, &format!("`{url}`: "), &advice] {
            assert!(error.contains(part.as_str()), "{part:?} is not in {error:?}");
        }
    }

    #[test]
    fn plain_http_is_refused_without_a_connection() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/abc.txt", listener.local_addr().unwrap());
        assert!(fetch_abc(&url, &[folder.path()], cache.path()).is_err());
        assert!(listener.accept().is_err(), "a connection was made");
    }

    #[test]
    fn a_server_without_tls_makes_the_corpus_unavailable() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/abc.txt", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").unwrap();
            let _ = stream.read_to_end(&mut Vec::new()); // until the client closes the connection
        });
        let error = fetch_abc(&url, &[folder.path()], cache.path()).unwrap_err();
        server.join().unwrap();
        assert!(matches!(error, Error::CorpusUnavailable { .. }), "{error}");
        assert!(!cache.path().join("abc.txt").exists());
    }

    #[test]
    fn a_wrong_file_in_a_folder_is_an_error_unless_the_cache_has_the_right_one() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("abc.txt"), "abd").unwrap();
        let error = fetch_abc("https://127.0.0.1:1/abc.txt", &[folder.path()], cache.path()).unwrap_err();
        assert!(matches!(error, Error::WrongCorpus { .. }), "{error}");
        fs::write(cache.path().join("abc.txt"), "abc").unwrap();
        let found = fetch_abc("https://127.0.0.1:1/abc.txt", &[folder.path()], cache.path()).unwrap();
        assert_eq!(found, cache.path().join("abc.txt"));
    }
}
