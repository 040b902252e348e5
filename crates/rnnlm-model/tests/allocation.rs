//! A training step and a generated token allocate nothing: a counting allocator says so.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use rnnlm_model::{CellKind, Generator, LanguageModel, ModelConfig, TrainConfig, Trainer};
use rnnlm_rnn::ExecutionPath;
use rnnlm_tensor::{Backend, Cpu};
use rnnlm_vocab::{Batches, Minibatch, Sampling};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the system allocator's condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, that is from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// Allocations of a round of work, once what stays has been made: laid-out weights, and buffers of the threads, which a thread
/// makes when it first gets a piece of the work. On a busy machine one may get none for many rounds; work that allocates
/// each time settles never.
fn settled(mut round: impl FnMut()) -> usize {
    round();
    (0..50).map(|_| allocations(&mut round)).find(|&count| count == 0).unwrap_or_else(|| allocations(&mut round))
}

/// One test, because the count is of the whole process.
#[test]
fn steps_and_tokens_allocate_nothing() {
    let ids: Vec<u32> = (0..3000).map(|i| i * 7 % 28).collect();
    // the last with rows in pairs, on some CPUs
    let models = [(CellKind::Rnn, 0, 96), (CellKind::Rnn, 16, 96), (CellKind::Gru, 0, 96), (CellKind::Lstm, 0, 256)];
    for (cell, embedding_size, hidden_size) in models {
        for (path, threads) in [(ExecutionPath::Fused, 1), (ExecutionPath::Fused, 2), (ExecutionPath::Reference, 2)] {
            let cpu = Cpu::new(threads).unwrap();
            let config = ModelConfig { cell, hidden_size, num_layers: 2, embedding_size, ..ModelConfig::book(28) };
            let train = TrainConfig { num_steps: 20, ..TrainConfig::book() };
            let mut trainer = Trainer::new(&cpu, &config, &train, path).unwrap();
            let batches = Batches::new(Sampling::Sequential, &ids, 32, 20, 0, 0).unwrap();
            let mut minibatch = Minibatch::new(32, 20);
            batches.fill(0, &mut minibatch).unwrap();
            let in_steps = cpu.run(|| {
                settled(|| {
                    for _ in 0..10 {
                        trainer.step(&minibatch).unwrap();
                    }
                })
            });
            assert_eq!(in_steps, 0, "ten steps of {cell:?} on {path:?}, {threads} threads");

            let model = LanguageModel::new(&cpu, &config, path).unwrap();
            let mut generator = Generator::new(&model).unwrap();
            let in_tokens = cpu.run(|| {
                settled(|| {
                    for id in 0..10 {
                        generator.read(id).unwrap();
                    }
                })
            });
            assert_eq!(in_tokens, 0, "ten tokens of {cell:?} on {path:?}, {threads} threads");
        }
    }
}
