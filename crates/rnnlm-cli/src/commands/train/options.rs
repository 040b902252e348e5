//! The options of a run: `config.json` stores them, and a resumed run keeps them unless a flag replaces them.

use std::path::Path;

use rnnlm_model::{Error, RunConfig, RunOptions, Trainer, UsedDevice, UsedPath};
use rnnlm_rnn::{ExecutionPath, Recurrence};

use super::args::TrainArgs;
use crate::args::ComputePath;
use crate::compute;
use crate::failure::Result;
use crate::prefix::PrefixText;

/// The options of a run that `trainer` trains with `args`.
pub(crate) fn record<B: Recurrence>(args: &TrainArgs, prefixes: &[PrefixText], trainer: &Trainer<B>) -> RunOptions {
    let path = match trainer.path() {
        ExecutionPath::Fused => UsedPath::Fused,
        ExecutionPath::Auto | ExecutionPath::Reference => UsedPath::Reference,
    };
    let device = if compute::is_cpu::<B>() { UsedDevice::Cpu } else { UsedDevice::Cuda };
    RunOptions {
        checkpoint_every: Some(args.checkpoint_every.to_string()),
        keep: Some(args.keep),
        prefixes: Some(prefixes.iter().map(PrefixText::to_string).collect()),
        sample_every: Some(args.sample_every),
        path: Some(path),
        device: Some(device),
    }
}

/// The arguments for a resumed run: the options of the run in `folder`, except those that the user set.
///
/// # Errors
/// [`Error::Damaged`] if `config.json` has an option that no flag accepts.
pub(crate) fn of_run(args: &TrainArgs, config: &RunConfig, folder: &Path) -> Result<TrainArgs> {
    let mut args = args.clone();
    let RunOptions { checkpoint_every, keep, prefixes, sample_every, path, device: _ } = &config.options;
    let settings = args.settings.clone();
    let is_from_run = |name: &str| !settings.is_explicit(name);
    if let Some(interval) = checkpoint_every.as_ref().filter(|_| is_from_run("checkpoint_every")) {
        args.checkpoint_every = interval.parse().map_err(|error| {
            let reason = format!("`options.checkpoint_every` is `{interval}`: {error}");
            Error::Damaged { path: folder.join("config.json"), reason }
        })?;
    }
    if let Some(keep) = keep.filter(|_| is_from_run("keep")) {
        args.keep = keep;
    }
    if let Some(prefixes) = prefixes.as_ref().filter(|_| is_from_run("prefix") && args.prefix_file.is_none()) {
        let parsed: Result<Vec<PrefixText>, String> = prefixes.iter().map(|prefix| prefix.parse()).collect();
        args.prefixes = parsed.map_err(|error| {
            let reason = format!("`options.prefixes` is {prefixes:?}: {error}");
            Error::Damaged { path: folder.join("config.json"), reason }
        })?;
    }
    if let Some(sample_every) = sample_every.filter(|_| is_from_run("sample_every")) {
        args.sample_every = sample_every;
    }
    // a run on the fused path may continue on a device without one, with a warning
    if *path == Some(UsedPath::Reference) && is_from_run("path") {
        args.compute.path = ComputePath::Reference;
    }
    args.bidirectional = config.model.bidirectional;
    Ok(args)
}

/// Warnings if a resumed run is computed in another way than before, which changes bits.
pub(crate) fn changes(before: &RunOptions, now: &RunOptions) -> Vec<String> {
    let path = |path| match path {
        UsedPath::Fused => "the fused path",
        UsedPath::Reference => "the reference path",
    };
    let device = |device| match device {
        UsedDevice::Cpu => "a CPU",
        UsedDevice::Cuda => "a GPU",
    };
    let paths = before.path.zip(now.path).map(|(before, now)| (path(before), path(now)));
    let devices = before.device.zip(now.device).map(|(before, now)| (device(before), device(now)));
    let changed = [devices, paths].into_iter().flatten().filter(|(before, now)| before != now);
    let warning = |(before, now)| {
        format!(
            "warning: the run was trained on {before} and continues on {now}, so it does not end with the bits of an \
             uninterrupted run"
        )
    };
    changed.map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_change_of_path_or_device_is_reported() {
        let options = |path, device| RunOptions { path, device, ..RunOptions::default() };
        let unknown = RunOptions::default();
        let fused = options(Some(UsedPath::Fused), Some(UsedDevice::Cpu));
        assert_eq!(changes(&unknown, &fused), [""; 0]);
        assert_eq!(changes(&fused, &RunOptions { keep: Some(3), ..fused.clone() }), [""; 0]);
        let found = changes(&fused, &options(Some(UsedPath::Reference), Some(UsedDevice::Cuda)));
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("on a CPU and continues on a GPU"), "{found:?}");
        assert!(found[1].contains("on the fused path and continues on the reference path"), "{found:?}");
    }
}
