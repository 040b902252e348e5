//! The figures of a row, computed from the measurements of its rounds, and their text.

use serde::Serialize;

use crate::measure::{Measurement, median};
use crate::peer::PeerMeasurement;
use crate::program::Program;
use crate::sizes::Size;

/// A row of the table: medians over its rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) threads: usize,
    pub(crate) rounds: usize,
    pub(crate) path: String,
    pub(crate) tokens_per_second: f64,
    pub(crate) gflops: f64,
    /// The speed of a 1024³ matrix multiplication in the same process.
    pub(crate) sgemm_gflops: f64,
    /// Median over the processes of `gflops / sgemm_gflops`.
    pub(crate) share: f64,
    /// Peak memory in bytes, if the system reports it.
    pub(crate) peak_memory: Option<u64>,
    pub(crate) peer: Option<PeerRow>,
}

/// PyTorch's figures of a row.
#[derive(Debug, Serialize)]
pub(crate) struct PeerRow {
    pub(crate) tokens_per_second: f64,
    pub(crate) peak_memory: Option<u64>,
    /// Median of the ratios of consecutive runs, this build's tokens per second over PyTorch's.
    pub(crate) ratio: f64,
}

impl Row {
    /// The medians over rounds. Each round has a measurement of this build and optionally one of PyTorch.
    pub(crate) fn new(size: &Size, threads: usize, rounds: &[(Measurement, Option<PeerMeasurement>)]) -> Self {
        let of = |figure: fn(&Measurement) -> f64| {
            median(&mut rounds.iter().map(|(rnnlm, _)| figure(rnnlm)).collect::<Vec<_>>())
        };
        let pairs: Vec<_> = rounds.iter().filter_map(|(rnnlm, peer)| Some((rnnlm, peer.as_ref()?))).collect();
        let of_pairs = |figure: fn(&(&Measurement, &PeerMeasurement)) -> f64| {
            median(&mut pairs.iter().map(figure).collect::<Vec<_>>())
        };
        Self {
            name: size.name,
            threads,
            rounds: rounds.len(),
            path: rounds.first().map(|(rnnlm, _)| rnnlm.path.clone()).unwrap_or_default(),
            tokens_per_second: of(|rnnlm| rnnlm.tokens_per_second),
            gflops: of(|rnnlm| rnnlm.gflops),
            sgemm_gflops: of(|rnnlm| rnnlm.sgemm_gflops),
            share: of(|rnnlm| rnnlm.gflops / rnnlm.sgemm_gflops),
            peak_memory: rounds.iter().filter_map(|(rnnlm, _)| rnnlm.peak_memory).max(),
            peer: (!pairs.is_empty()).then(|| PeerRow {
                tokens_per_second: of_pairs(|(_, peer)| peer.median),
                peak_memory: pairs.iter().filter_map(|(_, peer)| peer.peak_memory).max(),
                ratio: of_pairs(|(rnnlm, peer)| rnnlm.tokens_per_second / peer.median),
            }),
        }
    }

    /// The row's line of the table, below [`HEADER`].
    pub(crate) fn text(&self) -> String {
        let Self { name, threads, path, tokens_per_second, gflops, share, .. } = self;
        let memory = megabytes(self.peak_memory);
        let mut line = format!(
            "{name:<20} {threads:>7} {path:<9} {tokens_per_second:>10.0} {gflops:>8.1} {:>7.0} % {memory:>7}",
            share * 100.0
        );
        if let Some(PeerRow { tokens_per_second, peak_memory, ratio }) = &self.peer {
            line.push_str(&format!(" {tokens_per_second:>10.0} {:>7} {ratio:>7.2} ×", megabytes(*peak_memory)));
        }
        line
    }
}

/// The first line of the table.
pub(crate) const HEADER: &str =
    "row                  threads path        tokens/s  GFLOP/s  of sgemm    MB    PyTorch      MB    ratio";

/// The line below the table.
pub(crate) fn program_text(program: &Program) -> String {
    let mut text = format!(
        "rnnlm train: {:.1} ms to the first epoch, {} MB peak memory; the binary has {:.1} MB",
        1e3 * program.seconds_to_first_epoch,
        megabytes(program.peak_memory),
        program.binary_bytes as f64 / 1e6
    );
    if let Some(seconds) = program.build_seconds {
        text.push_str(&format!("; a clean release build takes {seconds:.0} s"));
    }
    text
}

fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1e6))
}
