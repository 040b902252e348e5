//! Room on the disk, looked at before training starts.

use std::path::Path;

use crate::failure::{Failure, Result};
use crate::format;

/// Refuses to start where two saves of `bytes` each would not fit beside each other, which is what replacing one whole
/// file by another takes. Where nothing is known of the disk, writing itself is the judge.
pub(crate) fn check(run: &Path, bytes: u64) -> Result<()> {
    let here = Path::new(".");
    let folder = run.ancestors().find(|path| path.is_dir()).unwrap_or(here);
    judge(run, bytes, fs4::available_space(folder).ok())
}

fn judge(run: &Path, bytes: u64, available: Option<u64>) -> Result<()> {
    let needed = bytes.saturating_mul(2);
    match available {
        Some(available) if available < needed => Err(Failure::new(
            format!(
                "two saves need {} where `{}` is to be, {} are free",
                format::bytes(needed.into()),
                run.display(),
                format::bytes(available.into())
            ),
            "--out on another disk, or a smaller model",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_two_saves_is_needed() {
        let run = Path::new("runs/x");
        assert!(judge(run, 500, Some(1000)).is_ok());
        assert!(judge(run, 500, None).is_ok());
        let refusal = judge(run, 1_200_000, Some(1_900_000)).unwrap_err().to_string();
        assert_eq!(refusal, "two saves need 2.4 MB where `runs/x` is to be, 1.9 MB are free");
    }
}
