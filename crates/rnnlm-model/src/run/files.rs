//! Reading and writing whole files: a reader sees the old content or the new, never a part.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::{Error, Result};

/// Turns an I/O error into ours.
pub(crate) fn io_error<'a>(path: &'a Path, action: &'static str) -> impl Fn(std::io::Error) -> Error + 'a {
    move |source| Error::Io { path: path.to_owned(), action, source }
}

/// Puts `bytes` in place of `path`: a temporary file beside it, synced, renamed over it, and the folder synced, so that
/// a crash at any moment leaves the old file or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let error = io_error(path, "written");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".rnnlm-");
    #[cfg(unix)]
    {
        // the permissions of an ordinary new file, the umask applied; a temporary file would be the owner's alone
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(&error)?;
    file.write_all(bytes).map_err(&error)?;
    file.as_file().sync_all().map_err(&error)?;
    file.persist(path).map_err(|failed| error(failed.error))?;
    sync_folder(folder).map_err(&error)
}

/// Makes a rename in `folder` outlive a power cut, where the platform can open folders.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// All of a file that is expected to have at most `bound` bytes; a larger one is damaged and is not read.
pub(crate) fn read_bounded(path: &Path, bound: u64) -> Result<Vec<u8>> {
    let error = io_error(path, "read");
    let file = File::open(path).map_err(&error)?;
    let mut bytes = Vec::new();
    file.take(bound.saturating_add(1)).read_to_end(&mut bytes).map_err(&error)?;
    if bytes.len() as u64 > bound {
        let reason = format!("it has more than the {bound} bytes that it can have");
        return Err(Error::Damaged { path: path.to_owned(), reason });
    }
    Ok(bytes)
}
