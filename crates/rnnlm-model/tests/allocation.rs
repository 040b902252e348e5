//! Training steps and generated tokens allocate no memory, measured with a counting allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use rnnlm_model::{
    AdaptiveSoftmax, Backend, Batches, Cell, Cpu, ExecutionPath, Generator, LanguageModel, Minibatch, ModelConfig,
    Nonlinearity, Sampling, TrainConfig, Trainer,
};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller guarantees the conditions of the system allocator, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer is from `alloc` above, and so from the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The number of allocations while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// The number of allocations of a round of work after warm-up. Packed weights and the buffers of a thread are allocated when
/// they are first used. On a busy machine a thread may get no work for many rounds, so up to 50 rounds are tried; work that
/// always allocates never has a round without allocations.
fn allocations_after_warm_up(mut round: impl FnMut()) -> usize {
    round();
    (0..50).map(|_| allocations(&mut round)).find(|&count| count == 0).unwrap_or_else(|| allocations(&mut round))
}

/// A single test, because the count is for the whole process.
#[test]
fn steps_and_tokens_do_not_allocate() {
    let ids: Vec<u32> = (0..3000).map(|i| i * 7 % 28).collect();
    let rnn = Cell::Rnn(Nonlinearity::Tanh);
    let models = [
        (rnn, 0, 96),
        (rnn, 16, 96),
        (Cell::Gru { reset_after: true }, 0, 96),
        (Cell::Lstm, 0, 256),
        (Cell::MinGru, 0, 96),
        (Cell::MinLstm, 0, 96),
    ];
    let linear = models.map(|(cell, embedding_size, hidden_size)| (cell, embedding_size, hidden_size, None));
    // sparse updates, too: of the embedding's rows
    let adaptive = (Cell::Lstm, 8, 64, Some(AdaptiveSoftmax::new(vec![4, 12])));
    for (cell, embedding_size, hidden_size, adaptive_softmax) in linear.into_iter().chain([adaptive]) {
        for (path, threads) in [(ExecutionPath::Fused, 1), (ExecutionPath::Fused, 2), (ExecutionPath::Reference, 2)] {
            let cpu = Cpu::new(threads).unwrap();
            let adaptive_softmax = adaptive_softmax.clone();
            let is_regularized = embedding_size > 0 && adaptive_softmax.is_none();
            let sizes = ModelConfig { cell, hidden_size, num_layers: 2, embedding_size, ..ModelConfig::book(28) };
            let config = ModelConfig { adaptive_softmax, ..sizes };
            let plain = TrainConfig { num_steps: 20, ..TrainConfig::book() };
            let regularized = TrainConfig {
                weight_drop: 0.5,
                dropout_embedding: 0.1,
                dropout_input: 0.4,
                dropout_hidden: 0.25,
                dropout_output: 0.4,
                ar: 2.0,
                tar: 1.0,
                label_smoothing: 0.1,
                ..plain.clone()
            };
            let train = if is_regularized { regularized } else { plain };
            let mut trainer = Trainer::new(&cpu, &config, &train, path).unwrap();
            let batches = Batches::new(Sampling::Sequential, &ids, 32, 20, 0, 0).unwrap();
            let mut minibatch = Minibatch::new(32, 20);
            batches.fill(0, &mut minibatch).unwrap();
            let in_steps = cpu.run(|| {
                allocations_after_warm_up(|| {
                    for _ in 0..10 {
                        trainer.step(&minibatch).unwrap();
                    }
                })
            });
            assert_eq!(in_steps, 0, "ten steps of {cell:?} on {path:?}, {threads} threads");

            let model = LanguageModel::new(&cpu, &config, path).unwrap();
            let mut generator = Generator::new(&model).unwrap();
            let in_tokens = cpu.run(|| {
                allocations_after_warm_up(|| {
                    for id in 0..10 {
                        generator.read(id).unwrap();
                    }
                })
            });
            assert_eq!(in_tokens, 0, "ten tokens of {cell:?} on {path:?}, {threads} threads");
        }
    }
}
