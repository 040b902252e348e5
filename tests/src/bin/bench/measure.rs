//! One measurement, in a separate process to get its peak memory: epochs of training or rounds of decoding or scoring, alternating with
//! the fastest linked matrix multiplication.

use std::path::Path;
use std::time::{Duration, Instant};

use ndarray::{Array2, Axis, linalg::general_mat_mul};
use rnnlm_model::{Decoder, Generator, Init, LanguageModel, Request, Sampler, Scorer, Trainer};
use rnnlm_tensor::{Backend, Cpu, Tensor, Transpose, ops};
use rnnlm_vocab::{Corpus, CorpusOptions};
use serde::{Deserialize, Serialize};

use crate::sizes::{Size, Work};

/// Why a measurement failed.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Epochs or rounds before the measured ones.
const WARM_UP: usize = 2;
/// The time is divided into slices with matrix multiplications between them, because the machine's speed drifts.
const SLICES: u32 = 4;
/// Tokens per round of decoding.
const ROUND_TOKENS: usize = 1000;
/// Documents per round of scoring.
const NUM_DOCUMENTS: usize = 1000;
/// Rows and columns of the matrix multiplication that measures the machine's peak speed.
const GEMM_SIZE: usize = 1024;
/// The time of matrix multiplications after each slice, as a fraction of the slice.
const GEMM_FRACTION: f64 = 0.25;
/// The minimum number of matrix multiplications after each slice.
const MIN_GEMMS: usize = 3;

/// The results of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// Median over epochs or rounds.
    pub(crate) tokens_per_second: f64,
    /// `fused` or `reference`.
    pub(crate) path: String,
    /// Median speed of the fastest 1024³ matrix multiplication, in GFLOP/s.
    pub(crate) sgemm_gflops: f64,
    /// Speed of the model's matrix multiplications, in GFLOP/s.
    pub(crate) gflops: f64,
    /// Peak memory in bytes before the 1024³ matrix multiplications, if the system reports it.
    pub(crate) peak_memory: Option<u64>,
}

/// Measures one row for about `seconds`.
pub(crate) fn measure(size: &Size, text: &Path, threads: usize, seconds: f64) -> Result<Measurement, Failure> {
    let (ids, vocab_size) = ids(size, text)?;
    let cpu = Cpu::new(threads)?;
    let slice = Duration::from_secs_f64(seconds / f64::from(SLICES));
    let run = |path, round: &mut Round<'_>| in_slices(&cpu, slice, size.flops(vocab_size), path, round);
    if size.work == Work::Train {
        let path = rnnlm_rnn::ExecutionPath::Auto;
        let mut trainer = Trainer::new(&cpu, &size.model(vocab_size), &size.train(), path)?;
        let path = path_name(trainer.path());
        return run(path, &mut || {
            let report = trainer.epoch(&ids, &|| false)?.ok_or("an epoch was stopped")?;
            Ok(report.tokens_per_second())
        });
    }
    let mut model = LanguageModel::new(&cpu, &size.model(vocab_size), rnnlm_rnn::ExecutionPath::Auto)?;
    model.initialize(Init::Uniform, 0)?;
    let path = path_name(model.workspace(1, 1)?.memory().path());
    match size.work {
        Work::Train | Work::Generate => generate(&model, |round| run(path, round)),
        Work::GenerateBatch => generate_batch(&model, size.batch_size, |round| run(path, round)),
        Work::Score => score(&model, size.batch_size, &ids, |round| run(path, round)),
    }
}

/// The ids of a row's text, and the number of distinct tokens.
fn ids(size: &Size, text: &Path) -> Result<(Vec<u32>, usize), Failure> {
    if size.is_zipf {
        return Ok((size.zipf_ids(), size.vocab_size));
    }
    let options = CorpusOptions { kind: size.token, max_tokens: size.max_tokens, ..CorpusOptions::default() };
    let corpus = Corpus::from_path(text, &options)?;
    Ok((corpus.ids, corpus.vocab.len()))
}

/// One round, which returns its tokens per second.
type Round<'a> = dyn FnMut() -> Result<f64, Failure> + 'a;

/// Greedy decoding of one sequence.
fn generate(
    model: &LanguageModel<Cpu>,
    mut run: impl FnMut(&mut Round<'_>) -> Result<Measurement, Failure>,
) -> Result<Measurement, Failure> {
    let mut generator = Generator::new(model)?;
    run(&mut || {
        let start = Instant::now();
        generator.generate(&[0], ROUND_TOKENS, &mut Sampler::greedy(), &mut |_| true)?;
        Ok(ROUND_TOKENS as f64 / start.elapsed().as_secs_f64())
    })
}

/// Sampling of `batch_size` sequences at a time.
fn generate_batch(
    model: &LanguageModel<Cpu>,
    batch_size: usize,
    mut run: impl FnMut(&mut Round<'_>) -> Result<Measurement, Failure>,
) -> Result<Measurement, Failure> {
    let mut decoder = Decoder::new(model, batch_size)?;
    for sample in 0..batch_size as u64 {
        let sampler = Sampler::new(1.0, sample)?;
        decoder.admit(Request { prefix: vec![0], sampler, logprobs: None })?;
    }
    run(&mut || {
        let start = Instant::now();
        let mut tokens = 0;
        while tokens < ROUND_TOKENS {
            tokens += decoder.step()?.len();
        }
        Ok(tokens as f64 / start.elapsed().as_secs_f64())
    })
}

/// Scoring of documents.
fn score(
    model: &LanguageModel<Cpu>,
    batch_size: usize,
    ids: &[u32],
    mut run: impl FnMut(&mut Round<'_>) -> Result<Measurement, Failure>,
) -> Result<Measurement, Failure> {
    let documents = documents(ids)?;
    let tokens: usize = documents.iter().map(|document| document.len()).sum();
    let mut scorer = Scorer::new(model)?.with_batch_size(batch_size);
    run(&mut || {
        let start = Instant::now();
        let mut sums = vec![0.0; documents.len()];
        scorer.score(0, &documents, &mut |document, score| sums[document] += f64::from(score.log_probability))?;
        std::hint::black_box(sums);
        Ok(tokens as f64 / start.elapsed().as_secs_f64())
    })
}

/// Documents of 20 to 200 tokens, cut from anywhere in the text, as `xtask/bench/torch_lm.py` cuts them.
fn documents(ids: &[u32]) -> Result<Vec<&[u32]>, Failure> {
    let positions = ids.len().checked_sub(200).filter(|&positions| positions > 0);
    let positions =
        positions.ok_or_else(|| format!("scoring needs more than 200 tokens, the text has {}", ids.len()))?;
    let document = |index: usize| {
        let start = index * 104_729 % positions;
        &ids[start..start + 20 + index * 7919 % 181]
    };
    Ok((0..NUM_DOCUMENTS).map(document).collect())
}

fn path_name(path: rnnlm_rnn::ExecutionPath) -> &'static str {
    if path == rnnlm_rnn::ExecutionPath::Fused { "fused" } else { "reference" }
}

/// Alternates slices of `round`, which returns its tokens per second, and 1024³ matrix multiplications.
fn in_slices(
    cpu: &Cpu,
    slice: Duration,
    flops: f64,
    path: &str,
    round: &mut Round<'_>,
) -> Result<Measurement, Failure> {
    for _ in 0..WARM_UP {
        round()?;
    }
    let peak_memory = peak_memory();
    let mut gemms = Gemms::new(cpu)?;
    let mut rates = Vec::new();
    let mut rnnlm = Vec::new();
    let mut matrixmultiply = Vec::new();
    for _ in 0..SLICES {
        let start = Instant::now();
        while start.elapsed() < slice {
            rates.push(round()?);
        }
        let start = Instant::now();
        let mut times = 0;
        while times < MIN_GEMMS || start.elapsed() < slice.mul_f64(GEMM_FRACTION) {
            rnnlm.push(timed(|| gemms.rnnlm())?);
            matrixmultiply.push(timed(|| gemms.matrixmultiply())?);
            times += 1;
        }
    }
    let tokens_per_second = median(&mut rates);
    let seconds = median(&mut rnnlm).min(median(&mut matrixmultiply));
    Ok(Measurement {
        tokens_per_second,
        path: path.to_owned(),
        sgemm_gflops: 2.0 * (GEMM_SIZE * GEMM_SIZE * GEMM_SIZE) as f64 / seconds / 1e9,
        gflops: tokens_per_second * flops / 1e9,
        peak_memory,
    })
}

fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// The 1024³ matrix multiplication by each linked implementation, with the same number of threads.
struct Gemms {
    cpu: Cpu,
    rnnlm: [Tensor<Cpu>; 3],
    matrixmultiply: [Array2<f32>; 3],
}

impl Gemms {
    fn new(cpu: &Cpu) -> Result<Self, Failure> {
        let values: Vec<f32> = (0..GEMM_SIZE * GEMM_SIZE).map(|i| (i * 7919 % 1013) as f32 / 506.5 - 1.0).collect();
        let tensor = || Tensor::from_slice(cpu, GEMM_SIZE, GEMM_SIZE, &values);
        let array = || Array2::from_shape_vec((GEMM_SIZE, GEMM_SIZE), values.clone());
        Ok(Self {
            cpu: cpu.clone(),
            rnnlm: [tensor()?, tensor()?, tensor()?],
            matrixmultiply: [array()?, array()?, array()?],
        })
    }

    /// The matrix multiplication of `rnnlm-tensor`.
    fn rnnlm(&mut self) -> Result<(), Failure> {
        let [a, b, c] = &mut self.rnnlm;
        let cpu = &self.cpu;
        Ok(cpu.run(|| ops::gemm(cpu, Transpose::NN, a.view(), b.view(), false, c.view_mut()))?)
    }

    /// The matrix multiplication of the crate `matrixmultiply`, which `ndarray` calls, with a block of rows per thread.
    fn matrixmultiply(&mut self) -> Result<(), Failure> {
        let [a, b, c] = &mut self.matrixmultiply;
        let rows = GEMM_SIZE.div_ceil(self.cpu.threads());
        std::thread::scope(|scope| {
            let b = &*b;
            for (a, mut c) in a.axis_chunks_iter(Axis(0), rows).zip(c.axis_chunks_iter_mut(Axis(0), rows)) {
                scope.spawn(move || general_mat_mul(1.0, &a, b, 0.0, &mut c));
            }
        });
        Ok(())
    }
}

/// The median of the values, or 0 if there are none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let len = values.len();
    let middle = values.get(len.saturating_sub(1) / 2..len / 2 + 1).unwrap_or_default();
    middle.iter().sum::<f64>() / middle.len().max(1) as f64
}

/// The peak memory of this process in bytes.
fn peak_memory() -> Option<u64> {
    peak_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The peak memory in a Linux `/proc/PID/status` file.
pub(crate) fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.split_whitespace().next()?.parse::<u64>().ok()?)
}
