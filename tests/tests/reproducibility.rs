//! The same seed gives the same bytes on every x86-64 CPU with AVX2 and FMA, with any number of threads: short training runs
//! of every cell have the digests in `tests/fixtures/digests.txt`, with the code for AVX2 and for AVX-512 and with 1, 2 and
//! 3 threads. The portable code has no fused multiply-add and is exempt.
//!
//! After an intended change of bits, this writes the file again:
//!
//! ```text
//! RNNLM_WRITE_DIGESTS=1 cargo test -p rnnlm-tests --test reproducibility
//! ```

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use rnnlm_model::{
    AdaptiveSoftmax, Corpus, CorpusOptions, Documents, Generator, Init, ModelConfig, OptimizerConfig, Sampler,
    Schedule, TextIds, TrainConfig, Trainer,
};
use rnnlm_rnn::{Cell, ExecutionPath};
use rnnlm_tensor::Cpu;
use rnnlm_tensor::cpu::Isa;
use rnnlm_tests::checks::model_config;
use rnnlm_tests::draw::Draw;
use rnnlm_vocab::Sampling;
use sha2::{Digest, Sha256};

const THREADS: [usize; 3] = [1, 2, 3];
const WRITE: &str = "RNNLM_WRITE_DIGESTS";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/digests.txt");
const HEADER: &str =
    "# SHA-256 of short training runs; tests/tests/reproducibility.rs describes how to write this file again.\n";

/// A short training run of two epochs with two minibatches each.
struct Run {
    name: &'static str,
    /// Whether the text is divided into documents.
    has_documents: bool,
    model: ModelConfig,
    train: TrainConfig,
}

/// Runs of a cell with batch sizes from 1 to 64, so that matrix multiplications with every tile shape occur, and with every
/// part that computes: optimizers, initializations, schedules, clipping, regularization, validation and sampling.
fn runs(cell: Cell) -> [Run; 7] {
    let book = TrainConfig { epochs: 2, seed: 1, ..TrainConfig::book() };
    let one_hot = Run {
        name: "one-hot",
        has_documents: false,
        model: model_config(cell, 28, 256, 1),
        train: TrainConfig { batch_size: 32, num_steps: 8, ..book },
    };
    let embedding = Run {
        name: "embedding",
        has_documents: false,
        model: ModelConfig { embedding_size: 24, ..model_config(cell, 1000, 300, 1) },
        train: TrainConfig {
            batch_size: 64,
            num_steps: 4,
            optimizer: OptimizerConfig::ADAM,
            lr: 0.01,
            schedule: Schedule::Cosine { min_lr: 0.001 },
            clip: 0.0,
            clip_value: 0.1,
            sampling: Sampling::Random,
            init: Init::Normal,
            ..book
        },
    };
    let two_layers = Run {
        name: "two-layers",
        has_documents: false,
        model: ModelConfig { bidirectional: true, ..model_config(cell, 28, 100, 2) },
        train: TrainConfig {
            batch_size: 3,
            num_steps: 7,
            optimizer: OptimizerConfig::RMSPROP,
            lr: 0.001,
            schedule: Schedule::Plateau { factor: 0.5, patience: 0 },
            dropout: 0.5,
            ..book
        },
    };
    let one_row = Run {
        name: "one-row",
        has_documents: false,
        model: ModelConfig { embedding_size: 33, tie_weights: true, ..model_config(cell, 28, 33, 1) },
        train: TrainConfig {
            batch_size: 1,
            num_steps: 10,
            optimizer: OptimizerConfig::ADAMW,
            lr: 0.01,
            schedule: Schedule::Exponential { gamma: 0.9, decay_after: 1 },
            warmup: 1,
            ..book
        },
    };
    let documents = Run {
        name: "documents",
        has_documents: true,
        model: model_config(cell, 28, 70, 2),
        train: TrainConfig { batch_size: 5, num_steps: 9, ..book },
    };
    [one_hot, embedding, two_layers, one_row, documents, regularized(cell, book.clone()), adaptive(cell, book)]
}

/// A run with an adaptive softmax and sparse updates.
fn adaptive(cell: Cell, book: TrainConfig) -> Run {
    let softmax = AdaptiveSoftmax { div_value: 2.0, head_bias: true, ..AdaptiveSoftmax::new(vec![20, 100, 400]) };
    Run {
        name: "adaptive-softmax",
        has_documents: false,
        model: ModelConfig { embedding_size: 24, adaptive_softmax: Some(softmax), ..model_config(cell, 1000, 70, 1) },
        train: TrainConfig { batch_size: 32, num_steps: 8, optimizer: OptimizerConfig::SPARSE_ADAM, lr: 0.01, ..book },
    }
}

/// A run with every technique of regularization.
fn regularized(cell: Cell, book: TrainConfig) -> Run {
    Run {
        name: "regularized",
        has_documents: true,
        model: ModelConfig { embedding_size: 21, residual: true, ..model_config(cell, 28, 70, 3) },
        train: TrainConfig {
            batch_size: 5,
            num_steps: 9,
            weight_drop: if cell.recurrent_blocks().is_empty() { 0.0 } else { 0.5 },
            dropout_embedding: 0.1,
            dropout_input: 0.4,
            dropout_hidden: 0.25,
            dropout_output: 0.4,
            ar: 2.0,
            tar: 1.0,
            label_smoothing: 0.1,
            ..book
        },
    }
}

impl Run {
    /// SHA-256 of the epochs' metrics, the trained parameters and sampled ids.
    fn digest(&self, cpu: &Cpu) -> String {
        let vocab_size = self.model.vocab_size;
        let mut draw = Draw::new(0xD165);
        let corpus = draw.ids((2 * self.train.batch_size + 1) * self.train.num_steps + 1, vocab_size);
        let documents_corpus = self.has_documents.then(|| documents(&corpus));
        let num_documents = documents_corpus.as_ref().map_or(0, |corpus| corpus.documents.len());
        let validation_set = draw.ids(40, vocab_size);
        let mut hash = Sha256::new();
        let mut trainer = Trainer::new(cpu, &self.model, &self.train, ExecutionPath::Auto).unwrap();
        for _ in 0..self.train.epochs {
            let text = |documents: std::ops::Range<usize>, ids| match &documents_corpus {
                Some(corpus) => TextIds::Documents(corpus.document_set(documents).unwrap()),
                None => TextIds::from(ids),
            };
            let mut report = trainer.epoch(text(3..num_documents, &corpus), &|| false).unwrap().unwrap();
            trainer.validate(Some(text(0..3, &validation_set)), &mut report).unwrap();
            for metric in [report.perplexity, report.gradient_norm, report.val_perplexity.unwrap()] {
                hash.update(metric.to_le_bytes());
            }
        }
        for value in trainer.model().parameters().to_vec(cpu).unwrap() {
            hash.update(value.to_le_bytes());
        }
        // A bidirectional model needs future tokens and cannot generate.
        let temperatures: &[f64] = if self.model.bidirectional { &[] } else { &[0.0, 0.8] };
        for &temperature in temperatures {
            let mut sampler = Sampler::new(temperature, 1).unwrap();
            let mut emit = |id: u32| {
                hash.update(id.to_le_bytes());
                true
            };
            Generator::new(trainer.model()).unwrap().generate(&[1, 2, 3], 40, &mut sampler, &mut emit).unwrap();
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// These ids as letters, in documents of 1 to 12 letters. The vocabulary has at most 28 tokens.
fn documents(ids: &[u32]) -> Corpus {
    let letters = ids.iter().map(|id| char::from(b'a' + (id % 26) as u8));
    let lines = letters.enumerate().flat_map(|(index, letter)| {
        let is_end = index % 17 == 16 || index % 12 == 0;
        [Some(letter), is_end.then_some('\n')].into_iter().flatten()
    });
    let options = CorpusOptions { documents: Documents::Lines, ..CorpusOptions::default() };
    Corpus::from_bytes(lines.collect::<String>().as_bytes(), &options).unwrap()
}

/// The instruction sets of this CPU that give the same bits.
fn instruction_sets() -> Vec<Isa> {
    Isa::available().filter(|isa| isa.name() != "portable").collect()
}

/// One line for each run: cell, run and digest.
fn digests(cpu: &Cpu) -> Vec<String> {
    let mut lines = Vec::new();
    for cell in Cell::ALL {
        let name = cell.name().replace(' ', "-");
        lines.extend(runs(cell).iter().map(|run| format!("{name} {} {}", run.name, run.digest(cpu))));
    }
    lines
}

#[test]
fn training_runs_have_the_committed_digests() {
    let instruction_sets = instruction_sets();
    if let (Some(_), [isa, ..]) = (std::env::var_os(WRITE), &instruction_sets[..]) {
        let lines = digests(&Cpu::new(1).unwrap().with_isa(*isa));
        std::fs::write(FILE, format!("{HEADER}{}\n", lines.join("\n"))).unwrap();
    }
    let file = std::fs::read_to_string(FILE).unwrap();
    let committed: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
    let mut differing = Vec::new();
    for isa in instruction_sets {
        for threads in THREADS {
            let found = digests(&Cpu::new(threads).unwrap().with_isa(isa));
            assert_eq!(found.len(), committed.len());
            let pairs = found.iter().zip(&committed).filter(|(found, committed)| found != committed);
            differing.extend(pairs.map(|(found, _)| format!("{} with {threads} threads: {found}", isa.name())));
        }
    }
    assert!(differing.is_empty(), "not the committed digests:\n{}", differing.join("\n"));
}
