//! One measurement, in a process of its own so that its peak memory is its own: epochs of training or rounds of decoding,
//! and in between the rate of the fastest matrix product that is linked in.

use std::path::Path;
use std::time::{Duration, Instant};

use ndarray::{Array2, Axis, linalg::general_mat_mul};
use rnnlm_model::{Generator, Init, LanguageModel, Sampler, Trainer};
use rnnlm_tensor::{Backend, Cpu, Tensor, Transpose, ops};
use rnnlm_vocab::{Corpus, CorpusOptions};
use serde::{Deserialize, Serialize};

use crate::sizes::{Size, Work};

/// Why a measurement has none.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Epochs or rounds before any that counts.
const WARM_UP: usize = 2;
/// Slices into which the time is cut, with the matrix product between them: the machine's speed drifts.
const SLICES: u32 = 4;
/// Tokens of a round of decoding.
const ROUND: usize = 1000;
/// Rows and columns of the product that stands for what the machine can do.
const SIDE: usize = 1024;
/// The product's share of each slice, and the fewest times that it is done.
const PRODUCTS: (f64, usize) = (0.25, 3);

/// What one process measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// Median over epochs or rounds.
    pub(crate) tokens_per_second: f64,
    /// `fused` or `reference`.
    pub(crate) path: String,
    /// Of the product of 1024³, the median of the fastest one's; in 10⁹ operations a second.
    pub(crate) sgemm_gflops: f64,
    /// What the tokens' matrix products come to, in the same unit.
    pub(crate) gflops: f64,
    /// Bytes that the process had in memory at the most before the large product, where the system says.
    pub(crate) peak_memory: Option<u64>,
}

/// Measures one row for about `seconds`.
pub(crate) fn measure(size: &Size, text: &Path, threads: usize, seconds: f64) -> Result<Measurement, Failure> {
    let options = CorpusOptions { kind: size.token, max_tokens: size.max_tokens, ..CorpusOptions::default() };
    let corpus = Corpus::from_path(text, &options)?;
    let (entries, cpu) = (corpus.vocab.len(), Cpu::new(threads)?);
    let slice = Duration::from_secs_f64(seconds / f64::from(SLICES));
    match size.work {
        Work::Train => {
            let path = rnnlm_rnn::ExecutionPath::Auto;
            let mut trainer = Trainer::new(&cpu, &size.model(entries), &size.train(), path)?;
            let path = path_name(trainer.path());
            let round = || {
                let report = trainer.epoch(&corpus.ids, &|| false)?.ok_or("an epoch was stopped")?;
                Ok(report.tokens_per_second())
            };
            in_slices(&cpu, slice, size.flops(entries), path, round)
        }
        Work::Generate => {
            let mut model = LanguageModel::new(&cpu, &size.model(entries), rnnlm_rnn::ExecutionPath::Auto)?;
            model.initialize(Init::Uniform, 0)?;
            let path = path_name(model.workspace(1, 1)?.memory().path());
            let mut generator = Generator::new(&model)?;
            let round = || {
                let start = Instant::now();
                generator.generate(&[0], ROUND, &mut Sampler::Greedy, &mut |_| true)?;
                Ok(ROUND as f64 / start.elapsed().as_secs_f64())
            };
            in_slices(&cpu, slice, size.flops(entries), path, round)
        }
    }
}

fn path_name(path: rnnlm_rnn::ExecutionPath) -> &'static str {
    if path == rnnlm_rnn::ExecutionPath::Fused { "fused" } else { "reference" }
}

/// Calls `round`, which returns its own rate, for the time of a slice, then the large product, and so on.
fn in_slices(
    cpu: &Cpu,
    slice: Duration,
    flops: f64,
    path: &str,
    mut round: impl FnMut() -> Result<f64, Failure>,
) -> Result<Measurement, Failure> {
    for _ in 0..WARM_UP {
        round()?;
    }
    let peak_memory = peak_memory();
    let mut products = Products::new(cpu)?;
    let (mut rates, mut own, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SLICES {
        let start = Instant::now();
        while start.elapsed() < slice {
            rates.push(round()?);
        }
        let start = Instant::now();
        let mut times = 0;
        while times < PRODUCTS.1 || start.elapsed() < slice.mul_f64(PRODUCTS.0) {
            own.push(timed(|| products.own())?);
            other.push(timed(|| products.matrixmultiply())?);
            times += 1;
        }
    }
    let tokens_per_second = median(&mut rates);
    let seconds = median(&mut own).min(median(&mut other));
    Ok(Measurement {
        tokens_per_second,
        path: path.to_owned(),
        sgemm_gflops: 2.0 * (SIDE * SIDE * SIDE) as f64 / seconds / 1e9,
        gflops: tokens_per_second * flops / 1e9,
        peak_memory,
    })
}

fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// The large product, by each implementation that is linked in, on the same threads.
struct Products {
    cpu: Cpu,
    own: [Tensor<Cpu>; 3],
    other: [Array2<f32>; 3],
}

impl Products {
    fn new(cpu: &Cpu) -> Result<Self, Failure> {
        let values: Vec<f32> = (0..SIDE * SIDE).map(|i| (i * 7919 % 1013) as f32 / 506.5 - 1.0).collect();
        let tensor = || Tensor::from_slice(cpu, SIDE, SIDE, &values);
        let array = || Array2::from_shape_vec((SIDE, SIDE), values.clone());
        Ok(Self { cpu: cpu.clone(), own: [tensor()?, tensor()?, tensor()?], other: [array()?, array()?, array()?] })
    }

    /// The product of `rnnlm-tensor`.
    fn own(&mut self) -> Result<(), Failure> {
        let [a, b, c] = &mut self.own;
        let (a, b, out) = (a.view(), b.view(), c.view_mut());
        let cpu = &self.cpu;
        Ok(cpu.run(|| ops::gemm(cpu, Transpose::NN, a, b, false, out))?)
    }

    /// The product of the crate `matrixmultiply`, which `ndarray` calls, a block of rows for each thread.
    fn matrixmultiply(&mut self) -> Result<(), Failure> {
        let [a, b, c] = &mut self.other;
        let rows = SIDE.div_ceil(self.cpu.threads());
        std::thread::scope(|scope| {
            let b = &*b;
            for (a, mut c) in a.axis_chunks_iter(Axis(0), rows).zip(c.axis_chunks_iter_mut(Axis(0), rows)) {
                scope.spawn(move || general_mat_mul(1.0, &a, b, 0.0, &mut c));
            }
        });
        Ok(())
    }
}

/// The middle of the values, or 0 where there are none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let len = values.len();
    let around = values.get(len.saturating_sub(1) / 2..len / 2 + 1).unwrap_or_default();
    around.iter().sum::<f64>() / around.len().max(1) as f64
}

/// Bytes that this process has had in memory at the most.
fn peak_memory() -> Option<u64> {
    peak_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The peak that a process's status file of Linux states.
pub(crate) fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.split_whitespace().next()?.parse::<u64>().ok()?)
}
