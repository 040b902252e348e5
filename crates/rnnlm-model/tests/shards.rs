//! Data-parallel training: any number of ranks has the bits of one process with the same number of shards.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod ranks;

use std::sync::Arc;

use ranks::Threads;
use rnnlm_model::{
    Cell, Collective, Corpus, CorpusOptions, Cpu, Documents, ExecutionPath, ModelConfig, Nonlinearity, Single,
    Snapshot, TrainConfig, Trainer,
};

const TEXT: &str = "the tide comes in\nand the tide goes out\nno one waits\nfor the tide\n";

/// A text with its documents, if it has any.
fn corpus(documents: bool) -> Corpus {
    let documents = if documents { Documents::Lines } else { Documents::None };
    let options = CorpusOptions { documents, ..CorpusOptions::default() };
    Corpus::from_bytes(TEXT.repeat(12).as_bytes(), &options).unwrap()
}

struct Case {
    model: ModelConfig,
    train: TrainConfig,
    corpus: Corpus,
    path: ExecutionPath,
}

impl Case {
    fn new(cell: Cell, documents: bool) -> Self {
        let corpus = corpus(documents);
        let model = ModelConfig { cell, hidden_size: 12, num_layers: 2, ..ModelConfig::book(corpus.vocab.len()) };
        let train = TrainConfig { epochs: 2, batch_size: 8, num_steps: 5, shards: 4, ..TrainConfig::book() };
        Self { model, train, corpus, path: ExecutionPath::Auto }
    }

    /// Trains all epochs, or resumes from `start`, until `end` steps are done.
    fn train(&self, collective: Arc<dyn Collective>, threads: usize, start: Option<&Snapshot>, end: u64) -> Snapshot {
        let cpu = Cpu::new(threads).unwrap();
        let mut trainer = Trainer::with_collective(&cpu, &self.model, &self.train, self.path, collective).unwrap();
        if let Some(start) = start {
            trainer.restore(start).unwrap();
        }
        while trainer.position().epoch < self.train.epochs && trainer.position().step < end {
            let mut step = trainer.position().step;
            let after_step = &mut |_: &_| {
                step += 1;
                step == end
            };
            trainer.epoch_with_progress(&self.corpus, after_step).unwrap();
        }
        trainer.snapshot().unwrap()
    }

    /// The snapshots of all ranks.
    fn train_on(&self, size: usize, start: Option<&Snapshot>, end: u64) -> Vec<Snapshot> {
        let ranks = Threads::group(size);
        std::thread::scope(|scope| {
            let train = |rank: Threads| scope.spawn(move || self.train(Arc::new(rank), 1, start, end));
            let running: Vec<_> = ranks.into_iter().map(train).collect();
            running.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    #[track_caller]
    fn equals_one_process(&self) -> Snapshot {
        let expected = self.train(Arc::new(Single), 2, None, u64::MAX);
        assert!(expected.position.step > 4, "{:?}", expected.position);
        for size in 1..=4 {
            for (rank, found) in self.train_on(size, None, u64::MAX).iter().enumerate() {
                assert!(*found == expected, "rank {rank} of {size}: {:?} {:?}", found.position, expected.position);
            }
        }
        expected
    }
}

fn cells() -> [Cell; 3] {
    [Cell::Rnn(Nonlinearity::Tanh), Cell::ALL.into_iter().find(|cell| cell.as_str() == "gru").unwrap(), Cell::Lstm]
}

#[test]
fn every_number_of_ranks_has_the_bits_of_one_process() {
    for cell in cells() {
        Case::new(cell, false).equals_one_process();
    }
}

#[test]
fn dropout_and_documents_are_functions_of_the_row_of_the_minibatch() {
    for (cell, documents) in cells().into_iter().zip([false, true, true]) {
        let mut case = Case::new(cell, documents);
        case.model.embedding_size = 6;
        let plain = case.equals_one_process();
        case.train = TrainConfig {
            dropout_hidden: 0.3,
            dropout_input: 0.2,
            dropout_output: 0.4,
            dropout_embedding: 0.1,
            weight_drop: 0.3,
            ar: 2.0,
            tar: 1.0,
            label_smoothing: 0.1,
            ..case.train
        };
        let regularized = case.equals_one_process();
        assert_ne!(plain.parameters, regularized.parameters);
        case.train = TrainConfig { dropout: 0.5, dropout_hidden: 0.0, ..case.train };
        assert_ne!(case.equals_one_process().parameters, regularized.parameters);
    }
}

#[test]
fn tied_weights_both_directions_and_the_reference_path_have_the_same_bits_on_every_number_of_ranks() {
    let mut case = Case::new(Cell::Lstm, false);
    (case.model.embedding_size, case.model.tie_weights) = (12, true);
    case.equals_one_process();
    let mut case = Case::new(Cell::Rnn(Nonlinearity::Relu), false);
    (case.model.bidirectional, case.model.residual) = (true, true);
    case.train.sampling = rnnlm_model::Sampling::Random;
    case.equals_one_process();
    case.path = ExecutionPath::Reference;
    case.equals_one_process();
}

#[test]
fn a_run_can_be_resumed_on_another_number_of_ranks() {
    let case = Case::new(Cell::Lstm, true);
    let expected = case.train(Arc::new(Single), 1, None, u64::MAX);
    let four = case.train_on(4, None, 3).swap_remove(0);
    assert_eq!(four.position.step, 3);
    let one = case.train(Arc::new(Single), 1, Some(&four), 5);
    let two = case.train_on(2, Some(&one), u64::MAX).swap_remove(1);
    assert!(two == expected);
}

#[test]
fn one_shard_has_the_bits_of_a_run_without_shards_and_several_differ_only_by_rounding() {
    let mut case = Case::new(Cell::Lstm, false);
    let four = case.train(Arc::new(Single), 1, None, 1);
    case.train.shards = 1;
    let one = case.train(Arc::new(Single), 1, None, 1);
    assert_ne!(one.parameters, four.parameters);
    // a step of learning rate 1 whose gradients have a norm of at most 1, summed in another order
    for (a, b) in one.parameters.iter().zip(&four.parameters) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn fewer_shards_than_ranks_and_uneven_shards_are_refused_with_both_values() {
    let mut case = Case::new(Cell::Lstm, false);
    let new = |case: &Case, rank: Threads| {
        let cpu = Cpu::new(1).unwrap();
        Trainer::with_collective(&cpu, &case.model, &case.train, case.path, Arc::new(rank)).unwrap_err().to_string()
    };
    let error = new(&case, Threads::group(5).swap_remove(0));
    assert_eq!(error, "`shards` is 4 with 5 ranks, it must be at least the number of ranks");
    case.train.shards = 3;
    let error = new(&case, Threads::group(1).swap_remove(0));
    assert_eq!(error, "`shards` is 3, it must be a power of two");
    (case.train.shards, case.train.batch_size) = (4, 6);
    let error = new(&case, Threads::group(1).swap_remove(0));
    assert_eq!(error, "`batch_size` is 6 with `shards` 4, it must be a multiple of `shards`");
    (case.train.batch_size, case.train.variable_bptt) = (8, true);
    let error = new(&case, Threads::group(1).swap_remove(0));
    assert_eq!(error, "`variable_bptt` is true with `shards` 4, it must be false unless `shards` is 1");
}
