//! `cargo xtask emulation`: builds the emulated CUDA driver and compiler of `tests/emulation/` with the system's C++
//! compiler into the target folder, where the table of checks finds them, and runs their self-test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// The folder of the sources, relative to the workspace.
const SOURCES: &str = "tests/emulation";
/// Compiler flags. `_FORTIFY_SOURCE` and the stack protector would reject the jumps between fibers.
const FLAGS: &[&str] =
    &["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-fno-stack-protector"];
/// Further flags of libraries. A library stays loaded after `dlclose`, since host code may still call it, and its
/// thread-local variables are accessed without a function call.
const LIBRARY_FLAGS: &[&str] = &["-fPIC", "-shared", "-Wl,-z,nodelete", "-ftls-model=initial-exec"];
/// The sources of the driver.
const DRIVER: &[&str] = &["fibers.cpp", "scheduler.cpp", "memory.cpp", "driver.cpp", "streams.cpp", "modules.cpp"];

/// Variable of the emulated compiler: the folder for compiled kernels.
const CACHE: &str = "RNNLM_EMULATION_CACHE";

/// The emulated libraries, built.
pub(crate) struct Emulation {
    pub(crate) folder: PathBuf,
}

/// Why the emulated libraries could not be built or run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BuildError {
    /// This machine does not support them.
    Unavailable(String),
    /// A command failed.
    Failed(String),
}

impl Emulation {
    /// Builds each library that is older than its sources.
    pub(crate) fn build() -> Result<Self, BuildError> {
        if !cfg!(target_os = "linux") {
            return Err(BuildError::Unavailable("the emulation requires Linux".to_owned()));
        }
        let compiler = compiler()?;
        let emulation = Self { folder: target_folder()?.join("emulation") };
        for folder in [emulation.libraries(), emulation.cache()] {
            std::fs::create_dir_all(&folder)
                .map_err(|error| BuildError::Failed(format!("`{}` cannot be created: {error}", folder.display())))?;
        }
        let sources = crate::process::root().join(SOURCES);
        emulation.build_part(&compiler, &sources, DRIVER, "lib/libcuda.so", &[])?;
        let headers_flag = format!("-DEMULATION_HEADERS=\"{}\"", sources.display());
        let compiler_flag = format!("-DEMULATION_COMPILER=\"{}\"", compiler.to_string_lossy());
        emulation.build_part(
            &compiler,
            &sources,
            &["compiler.cpp"],
            "lib/libnvrtc.so",
            &[&headers_flag, &compiler_flag],
        )?;
        Ok(emulation)
    }

    /// Environment variables for the table of checks and the emulated compiler.
    pub(crate) fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("RNNLM_EMULATION_LIBRARIES", self.libraries()), (CACHE, self.cache())]
    }

    /// The folder of the libraries.
    pub(crate) fn libraries(&self) -> PathBuf {
        self.folder.join("lib")
    }

    fn cache(&self) -> PathBuf {
        self.folder.join("kernels")
    }

    /// Compiles and links one file, `part`, unless it is newer than all sources.
    fn build_part(
        &self,
        compiler: &OsString,
        sources: &Path,
        files: &[&str],
        part: &str,
        flags: &[&str],
    ) -> Result<(), BuildError> {
        let path = self.folder.join(part);
        if is_newer(&path, sources) {
            return Ok(());
        }
        // a rename is atomic, so that a process that runs at the same time never loads an incomplete library
        let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
        let mut command = Command::new(compiler);
        command.args(FLAGS).args(flags);
        command.args(if part.ends_with(".so") { LIBRARY_FLAGS } else { &[] });
        command.args(files.iter().map(|file| sources.join(file)));
        command.arg("-L").arg(self.libraries()).arg("-o").arg(&unfinished);
        command.args(if part.ends_with(".so") { ["-ldl", "-pthread"] } else { ["-lcuda", "-lnvrtc"] });
        let output = command.stdin(Stdio::null()).output();
        let output = output.map_err(|error| BuildError::Failed(format!("{command:?}: {error}")))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(BuildError::Failed(format!("`{part}` does not build: {command:?}\n{}", errors.trim())));
        }
        std::fs::rename(&unfinished, &path).map_err(|error| BuildError::Failed(format!("`{part}`: {error}")))
    }

    /// Builds and runs the self-test.
    pub(crate) fn self_test(&self) -> Result<bool, BuildError> {
        let sources = crate::process::root().join(SOURCES);
        self.build_part(&compiler()?, &sources, &["self_test.cpp"], "self_test", &[])?;
        let mut command = Command::new(self.folder.join("self_test"));
        command.env("LD_LIBRARY_PATH", self.libraries()).env(CACHE, self.cache());
        let status = command.status();
        Ok(status.map_err(|error| BuildError::Failed(format!("{command:?}: {error}")))?.success())
    }
}

/// The first C++ compiler that runs: that of the environment, then the usual names.
fn compiler() -> Result<OsString, BuildError> {
    let names = std::env::var_os("CXX").into_iter().chain(["c++", "g++", "clang++"].map(OsString::from));
    let runs = |name: &OsString| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    let reason = "no C++ compiler found: none of $CXX, c++, g++ and clang++ runs";
    names.into_iter().find(runs).ok_or_else(|| BuildError::Unavailable(reason.to_owned()))
}

/// Cargo's target folder: this program is in its `debug` or `release`.
fn target_folder() -> Result<PathBuf, BuildError> {
    let program =
        std::env::current_exe().map_err(|error| BuildError::Failed(format!("the path of this program: {error}")))?;
    let folder = program.ancestors().nth(2).map(Path::to_owned);
    folder.ok_or_else(|| BuildError::Failed(format!("`{}` is not in a target folder", program.display())))
}

/// Whether `file` exists and is newer than everything in `folder`.
fn is_newer(file: &Path, folder: &Path) -> bool {
    let time = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    let Some(built) = time(file) else { return false };
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().all(|entry| time(&entry.path()).unwrap_or(SystemTime::now()) < built)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_older_files_are_not_newer() {
        let folder = crate::process::root().join(SOURCES);
        assert!(!is_newer(&folder.join("no-such-file"), &folder));
        assert!(!is_newer(&folder.join("driver.h"), &folder));
        assert!(is_newer(&std::env::current_exe().unwrap(), &folder.join("..").join("..").join("data")));
    }

    #[test]
    fn every_source_is_built() {
        let entries = std::fs::read_dir(crate::process::root().join(SOURCES)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".cpp"));
        names.sort_unstable();
        let mut parts = [DRIVER, &["compiler.cpp", "self_test.cpp"]].concat();
        parts.sort_unstable();
        assert_eq!(names, parts);
    }
}
