//! `cargo xtask emulation`, beside the walk: the stand-ins of `tests/emulation/` for CUDA's driver and compiler, built by
//! the system's C++ compiler into the target folder, and their own test. The table of checks finds them there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::SystemTime;

use crate::waits;

/// Where the sources are, from the root of the workspace.
const SOURCES: &str = "tests/emulation";
/// What every part is built with. Fibers leave their stacks in ways that fortified sources take for an attack.
const FLAGS: &[&str] =
    &["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-fno-stack-protector"];
/// What a library is built with besides; it stays loaded, since host code may close it and go on calling, and its few bytes
/// for each thread have a place that needs no call to be found.
const LIBRARY_FLAGS: &[&str] = &["-fPIC", "-shared", "-Wl,-z,nodelete", "-ftls-model=initial-exec"];
/// The driver's parts.
const DRIVER: &[&str] = &["fibers.cpp", "scheduler.cpp", "memory.cpp", "driver.cpp", "streams.cpp", "modules.cpp"];

/// Where the compiler's stand-in keeps compiled kernels.
const CACHE: &str = "RNNLM_EMULATION_CACHE";

/// The stand-ins, built.
pub(crate) struct Emulation {
    folder: PathBuf,
}

/// Why there are no stand-ins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// This machine cannot have them.
    Unavailable(String),
    /// They do not build.
    Broken(String),
}

impl Emulation {
    /// Builds what is older than its sources.
    pub(crate) fn build() -> Result<Self, Absence> {
        if !cfg!(target_os = "linux") {
            return Err(Absence::Unavailable("the emulation's stand-ins are for Linux".to_owned()));
        }
        let compiler = compiler()?;
        let emulation = Self { folder: target_folder()?.join("emulation") };
        for folder in [emulation.libraries(), emulation.cache()] {
            std::fs::create_dir_all(&folder)
                .map_err(|error| Absence::Broken(format!("`{}` cannot be made: {error}", folder.display())))?;
        }
        let sources = crate::root().join(SOURCES);
        emulation.build_part(&compiler, &sources, DRIVER, "lib/libcuda.so", &[])?;
        let headers = format!("-DEMULATION_HEADERS=\"{}\"", sources.display());
        let host = format!("-DEMULATION_COMPILER=\"{}\"", compiler.to_string_lossy());
        emulation.build_part(&compiler, &sources, &["compiler.cpp"], "lib/libnvrtc.so", &[&headers, &host])?;
        Ok(emulation)
    }

    /// What the table of checks, and the stand-ins, find in the environment: where the libraries are, and where compiled
    /// kernels are kept.
    pub(crate) fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("RNNLM_EMULATION_LIBRARIES", self.libraries()), (CACHE, self.cache())]
    }

    /// Where the libraries are.
    pub(crate) fn libraries(&self) -> PathBuf {
        self.folder.join("lib")
    }

    fn cache(&self) -> PathBuf {
        self.folder.join("kernels")
    }

    /// Compiles and links one part, unless it is newer than every source there.
    fn build_part(
        &self,
        compiler: &OsString,
        sources: &Path,
        files: &[&str],
        part: &str,
        flags: &[&str],
    ) -> Result<(), Absence> {
        let path = self.folder.join(part);
        if is_newer(&path, sources) {
            return Ok(());
        }
        // built beside and renamed, so that who runs at the same time never loads half a library
        let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
        let mut command = Command::new(compiler);
        command.args(FLAGS).args(flags);
        command.args(if part.ends_with(".so") { LIBRARY_FLAGS } else { &[] });
        command.args(files.iter().map(|file| sources.join(file)));
        command.arg("-L").arg(self.libraries()).arg("-o").arg(&unfinished);
        command.args(if part.ends_with(".so") { ["-ldl", "-pthread"] } else { ["-lcuda", "-lnvrtc"] });
        let output = command.stdin(Stdio::null()).output();
        let output = output.map_err(|error| Absence::Broken(format!("{command:?}: {error}")))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(Absence::Broken(format!("`{part}` does not build: {command:?}\n{}", words.trim())));
        }
        std::fs::rename(&unfinished, &path).map_err(|error| Absence::Broken(format!("`{part}`: {error}")))
    }

    /// Builds and runs the emulation's own test.
    fn self_test(&self) -> Result<bool, Absence> {
        let sources = crate::root().join(SOURCES);
        self.build_part(&compiler()?, &sources, &["self_test.cpp"], "self_test", &[])?;
        let mut command = Command::new(self.folder.join("self_test"));
        command.env("LD_LIBRARY_PATH", self.libraries()).env(CACHE, self.cache());
        let status = command.status();
        Ok(status.map_err(|error| Absence::Broken(format!("{command:?}: {error}")))?.success())
    }
}

/// Builds the stand-ins, runs their own test, and lets them count how often the host waits.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if let Some(argument) = arguments.first() {
        return crate::usage_error(&format!("emulation takes no argument, and got `{argument}`"));
    }
    let check = |emulation: Emulation| Ok(emulation.self_test()? && waits::check(&emulation, &emulation.folder)?);
    match Emulation::build().and_then(check) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Absence::Unavailable(reason)) => {
            println!("SKIPPED: {reason}");
            ExitCode::SUCCESS
        }
        Err(Absence::Broken(how)) => {
            eprintln!("error: {how}");
            ExitCode::FAILURE
        }
    }
}

/// The first C++ compiler that runs: the environment's choice, then the usual names.
fn compiler() -> Result<OsString, Absence> {
    let names = std::env::var_os("CXX").into_iter().chain(["c++", "g++", "clang++"].map(OsString::from));
    let runs = |name: &OsString| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    let reason = "no C++ compiler here: none of CXX, c++, g++ and clang++ runs";
    names.into_iter().find(runs).ok_or_else(|| Absence::Unavailable(reason.to_owned()))
}

/// The folder that cargo builds into: this program lies in its `debug` or `release`.
fn target_folder() -> Result<PathBuf, Absence> {
    let program = std::env::current_exe().map_err(|error| Absence::Broken(format!("where am I: {error}")))?;
    let folder = program.ancestors().nth(2).map(Path::to_owned);
    folder.ok_or_else(|| Absence::Broken(format!("`{}` lies in no target folder", program.display())))
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
    fn what_is_missing_or_older_is_built() {
        let folder = crate::root().join(SOURCES);
        assert!(!is_newer(&folder.join("no-such-file"), &folder));
        assert!(!is_newer(&folder.join("driver.h"), &folder));
        assert!(is_newer(&std::env::current_exe().unwrap(), &folder.join("..").join("..").join("data")));
    }

    #[test]
    fn every_source_belongs_to_a_part() {
        let entries = std::fs::read_dir(crate::root().join(SOURCES)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".cpp"));
        names.sort_unstable();
        let mut parts = [DRIVER, &["compiler.cpp", "self_test.cpp"]].concat();
        parts.sort_unstable();
        assert_eq!(names, parts);
    }
}
