//! Token caches: the speed of building one, and of training from one relative to training from memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rnnlm_model::{ModelConfig, TrainConfig, Trainer};
use rnnlm_rnn::ExecutionPath;
use rnnlm_tensor::{Backend, Cpu};
use rnnlm_vocab::{CacheProgress, CorpusOptions, Ids, Normalization, PackedIds, TokenCache, TokenKind};
use serde::Serialize;

use crate::measure::{Failure, median};

/// The rows.
pub(crate) const NAMES: [&str; 3] = ["cache-chars", "cache-words", "train-from-cache"];

/// Number of bytes of the text that a cache is built from.
const TEXT_BYTES: usize = 128 << 20;
/// Number of bytes of the text of an epoch.
const EPOCH_BYTES: usize = 1 << 18;
/// Number of distinct words, whose frequencies follow Zipf's law with exponent 1.
const NUM_WORDS: usize = 100_000;
/// Words of a line.
const LINE_WORDS: usize = 12;

/// A row of the table: the median of its rounds, with the smallest and the largest value.
#[derive(Debug, Serialize)]
pub(crate) struct CacheRow {
    name: &'static str,
    rounds: usize,
    /// `MB/s`, or the throughput relative to memory.
    unit: &'static str,
    value: f64,
    min: f64,
    max: f64,
}

impl CacheRow {
    /// Measures the row `name`. `text` has natural language.
    pub(crate) fn measure(name: &'static str, text: &Path, cpu: &Cpu, rounds: usize) -> Result<Self, Failure> {
        let folder = Folder::new()?;
        let natural = fs::read_to_string(text)?;
        let rounds = rounds.max(1);
        let (unit, mut values) = match name {
            "cache-chars" => ("MB/s", folder.builds(cpu, rounds, TokenKind::Char, &repeat(&natural, TEXT_BYTES))?),
            "cache-words" => ("MB/s", folder.builds(cpu, rounds, TokenKind::Word, &zipf_words())?),
            _ => ("of memory", folder.training(cpu, rounds, &repeat(&natural, EPOCH_BYTES))?),
        };
        let value = median(&mut values); // sorts them
        let (min, max) = (values[0], values[values.len() - 1]); // at least one round
        Ok(Self { name, rounds, unit, value, min, max })
    }

    pub(crate) fn text(&self) -> String {
        let Self { name, unit, value, min, max, .. } = self;
        format!("{name:<22} {value:.3} {unit} ({min:.3} to {max:.3})")
    }
}

struct Silent;

impl CacheProgress for Silent {}

/// A folder in memory, where the system has one, so that the time of a disk is not measured. It is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = parent.join(format!("rnnlm-bench-caches-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// Builds the cache of a text, vocabulary included. Returns megabytes per second.
    fn builds(&self, cpu: &Cpu, rounds: usize, kind: TokenKind, text: &str) -> Result<Vec<f64>, Failure> {
        let path = self.0.join("text.txt");
        fs::write(&path, text)?;
        let build = || {
            let start = Instant::now();
            drop(self.build(cpu, &path, kind)?);
            let seconds = start.elapsed().as_secs_f64();
            fs::remove_dir_all(self.0.join("cache"))?;
            Ok(text.len() as f64 / 1e6 / seconds)
        };
        (0..rounds).map(|_| build()).collect()
    }

    fn build(&self, cpu: &Cpu, text: &Path, kind: TokenKind) -> Result<TokenCache, Failure> {
        let options = CorpusOptions { kind, normalization: Normalization::None, ..CorpusOptions::default() };
        let (target, texts) = (self.0.join("cache"), [text.to_owned()]);
        Ok(cpu.run(|| TokenCache::build(&target, &texts, &options, None, u64::MAX, &mut Silent))?)
    }

    /// Trains from a cache and from memory, alternately. Returns the ratios of throughput.
    fn training(&self, cpu: &Cpu, rounds: usize, text: &str) -> Result<Vec<f64>, Failure> {
        let path = self.0.join("text.txt");
        fs::write(&path, text)?;
        let cache = self.build(cpu, &path, TokenKind::Char)?;
        let vocab_size = cache.vocab().len();
        let packed = PackedIds::read(Ids::stored(&cache), vocab_size)?;
        let new = || Trainer::new(cpu, &ModelConfig::book(vocab_size), &TrainConfig::book(), ExecutionPath::Auto);
        let mut trainers = [(new()?, Ids::stored(&cache)), (new()?, Ids::stored(&packed))];
        let mut ratios = Vec::new();
        for round in 0..=rounds {
            let mut rates = [0.0; 2];
            for (rate, (trainer, ids)) in rates.iter_mut().zip(&mut trainers) {
                *rate = trainer.epoch(*ids, &|| false)?.ok_or("an epoch was stopped")?.tokens_per_second();
            }
            // the first round warms up
            ratios.extend((round > 0).then_some(rates[0] / rates[1]));
        }
        Ok(ratios)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // a folder that cannot be removed is left to the system
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn repeat(text: &str, bytes: usize) -> String {
    text.repeat(bytes.div_ceil(text.len().max(1)))
}

/// Words of two to eight letters, of which the most frequent ones are the shortest.
fn zipf_words() -> String {
    let mut text = String::with_capacity(TEXT_BYTES + 64);
    let mut state = 1_u64;
    let mut words = 0;
    while text.len() < TEXT_BYTES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (state >> 11) as f64 / 2_f64.powi(53);
        // the inverse of the distribution function ln(rank) / ln(number of words)
        let mut rank = (NUM_WORDS as f64).powf(uniform) as usize;
        loop {
            let [consonant, vowel] = [b"bdfghklmnprstvwxyzcj"[rank % 20], b"aeiou"[rank / 20 % 5]].map(char::from);
            text.extend([consonant, vowel]);
            rank /= 100;
            if rank == 0 {
                break;
            }
        }
        words += 1;
        text.push(if words % LINE_WORDS == 0 { '\n' } else { ' ' });
    }
    text
}
