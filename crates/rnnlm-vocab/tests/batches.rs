//! Stage 3: minibatches against the formulas in section 8.3 of *Dive into Deep Learning*. In the corpora here the id of
//! a token is its position, so the ids show where the corpus was cut.

use proptest::prelude::*;
use rnnlm_vocab::{Batches, Error, Minibatch, Sampling};

fn positions(len: usize) -> Vec<u32> {
    (0..len as u32).collect()
}

/// A corpus length, a batch_size and a num_steps that fit it, a seed and an epoch.
fn cases() -> impl Strategy<Value = (usize, usize, usize, u64, u64)> {
    (1..9_usize, 1..12_usize, 0..300_usize, any::<u64>(), 0..1_000_u64).prop_map(
        |(batch_size, num_steps, more, seed, epoch)| {
            (batch_size * num_steps + num_steps + 1 + more, batch_size, num_steps, seed, epoch)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sequential_partitioning_is_a_reshape_of_the_corpus((len, n, t, seed, epoch) in cases()) {
        let corpus = positions(len);
        let batches = Batches::sequential(&corpus, n, t, seed, epoch).unwrap();
        let offset = batches.offset();
        prop_assert!(offset <= t);
        // Xs = corpus[offset : offset + num_tokens].reshape(n, -1); X = Xs[:, i * t : (i + 1) * t]
        let num_tokens = (len - offset - 1) / n * n;
        let row_length = num_tokens / n;
        prop_assert_eq!(batches.num_minibatches(), row_length / t);
        for (i, minibatch) in batches.into_iter().enumerate() {
            for (index, (&input, &target)) in minibatch.inputs.iter().zip(&minibatch.targets).enumerate() {
                let (step, row) = (index / n, index % n);
                prop_assert_eq!(input as usize, offset + row * row_length + i * t + step);
                prop_assert_eq!(target, input + 1);
            }
        }
    }

    #[test]
    fn sequential_rows_continue_in_the_next_minibatch((len, n, t, seed, epoch) in cases()) {
        let corpus = positions(len);
        let minibatches: Vec<Minibatch> = Batches::sequential(&corpus, n, t, seed, epoch).unwrap().into_iter().collect();
        for pair in minibatches.windows(2) {
            prop_assert_eq!(&pair[0].targets[(t - 1) * n..], &pair[1].inputs[..n]);
        }
    }

    #[test]
    fn random_rows_are_distinct_subsequences_of_the_corpus((len, n, t, seed, epoch) in cases()) {
        let corpus = positions(len);
        let batches = Batches::random(&corpus, n, t, seed, epoch).unwrap();
        let offset = batches.offset();
        prop_assert!(offset < t);
        // corpus = corpus[offset:]; num_subseqs = (len(corpus) - 1) // t; num_batches = num_subseqs // n
        let num_subsequences = (len - offset - 1) / t;
        prop_assert_eq!(batches.num_minibatches(), num_subsequences / n);
        let mut starts = Vec::new();
        for minibatch in batches {
            for (row, &start) in minibatch.inputs[..n].iter().enumerate() {
                starts.push(start);
                for step in 0..t {
                    prop_assert_eq!(minibatch.inputs[step * n + row], start + step as u32);
                    prop_assert_eq!(minibatch.targets[step * n + row], start + step as u32 + 1);
                }
            }
        }
        let count = starts.len();
        starts.sort_unstable();
        starts.dedup();
        prop_assert_eq!((starts.len(), count), (count, num_subsequences / n * n));
        for start in starts {
            let from_offset = start as usize - offset;
            prop_assert!(from_offset.is_multiple_of(t) && from_offset / t < num_subsequences);
        }
    }

    #[test]
    fn minibatches_depend_only_on_seed_epoch_and_index((len, n, t, seed, epoch) in cases()) {
        let corpus = positions(len);
        for sampling in [Sampling::Sequential, Sampling::Random] {
            let batches = Batches::new(sampling, &corpus, n, t, seed, epoch).unwrap();
            let all: Vec<Minibatch> = batches.clone().into_iter().collect();
            prop_assert_eq!(all.len(), batches.num_minibatches());
            let again = Batches::new(sampling, &corpus, n, t, seed, epoch).unwrap();
            prop_assert_eq!(again.offset(), batches.offset());
            let mut minibatch = Minibatch::new(n, t);
            let memory = (minibatch.inputs.as_ptr(), minibatch.targets.as_ptr());
            for index in (0..all.len()).rev() {
                again.fill(index, &mut minibatch).unwrap();
                prop_assert_eq!(&minibatch, &all[index]);
            }
            prop_assert_eq!((minibatch.inputs.as_ptr(), minibatch.targets.as_ptr()), memory);
        }
    }

    #[test]
    fn a_short_corpus_is_refused_and_the_advised_size_fits(n in 1..9_usize, t in 1..12_usize, missing in 1..200_usize) {
        let needed = n * t + t + 1;
        let corpus = positions(needed.saturating_sub(missing));
        for sampling in [Sampling::Sequential, Sampling::Random] {
            let advice = match Batches::new(sampling, &corpus, n, t, 0, 0) {
                Err(Error::CorpusTooShort { tokens, needed: stated, advice, .. }) => {
                    prop_assert_eq!((tokens, stated), (corpus.len(), needed));
                    advice
                }
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            let number = |word: &str| advice.split_once(word).map(|(_, rest)| {
                rest.split_whitespace().next().map(|number| number.parse::<usize>())
            });
            if advice.ends_with("fits") {
                let fits = number("batch_size ").flatten().unwrap().unwrap();
                prop_assert!(Batches::new(sampling, &corpus, fits, t, 0, 0).is_ok());
                prop_assert!(Batches::new(sampling, &corpus, fits + 1, t, 0, 0).is_err());
            } else if advice.ends_with("would") {
                prop_assert!(Batches::new(sampling, &corpus, 1, t, 0, 0).is_err());
                let fits = number("num_steps ").flatten().unwrap().unwrap();
                prop_assert!(Batches::new(sampling, &corpus, 1, fits, 0, 0).is_ok());
                prop_assert!(Batches::new(sampling, &corpus, 1, fits + 1, 0, 0).is_err());
            } else {
                prop_assert!(corpus.len() < 3);
                prop_assert!(Batches::new(sampling, &corpus, 1, 1, 0, 0).is_err());
            }
        }
    }
}

#[test]
fn a_seed_and_an_epoch_give_the_same_rows_in_every_version() {
    // Computed by a separate Python program: SplitMix64 as published, Fisher–Yates, and the book's two iterators.
    let cases = [
        (Sampling::Sequential, 0, 0, 3, [[3, 21], [7, 25], [11, 29], [15, 33]]),
        (Sampling::Sequential, 7, 3, 2, [[2, 20], [6, 24], [10, 28], [14, 32]]),
        (Sampling::Random, 0, 0, 1, [[5, 29], [25, 9], [1, 13], [33, 17]]),
        (Sampling::Random, 7, 3, 1, [[21, 17], [9, 33], [29, 13], [25, 1]]),
    ];
    let corpus = positions(40);
    for (sampling, seed, epoch, offset, row_starts) in cases {
        let batches = Batches::new(sampling, &corpus, 2, 4, seed, epoch).unwrap();
        assert_eq!(batches.offset(), offset, "{sampling:?}");
        let found: Vec<Vec<u32>> = batches.into_iter().map(|minibatch| minibatch.inputs[..2].to_vec()).collect();
        assert_eq!(found, row_starts, "{sampling:?}");
    }
}

#[test]
fn ten_thousand_tokens_give_eight_minibatches_of_32_by_35_at_every_offset() {
    let corpus = positions(10_000);
    for (sampling, offsets) in [(Sampling::Sequential, 36), (Sampling::Random, 35)] {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..1_000 {
            let batches = Batches::new(sampling, &corpus, 32, 35, seed, 0).unwrap();
            assert_eq!(batches.num_minibatches(), 8);
            seen.insert(batches.offset());
        }
        assert_eq!(seen, (0..offsets).collect(), "{sampling:?}");
    }
}

#[test]
fn the_shortest_accepted_corpus_gives_one_minibatch_at_every_offset() {
    let corpus = positions(1_156);
    for sampling in [Sampling::Sequential, Sampling::Random] {
        for epoch in 0..500 {
            assert_eq!(Batches::new(sampling, &corpus, 32, 35, 0, epoch).unwrap().num_minibatches(), 1);
        }
    }
}

#[test]
fn different_epochs_and_seeds_give_different_minibatches() {
    let corpus = positions(10_000);
    let order = |seed, epoch| -> Vec<u32> {
        Batches::random(&corpus, 32, 35, seed, epoch).unwrap().into_iter().flat_map(|m| m.inputs).collect()
    };
    assert_ne!(order(0, 0), order(0, 1));
    assert_ne!(order(0, 0), order(1, 0));
    assert_ne!(order(0, 1), order(1, 0));
}

#[test]
fn random_rows_are_shuffled_anew_each_epoch() {
    let corpus = positions(10_000);
    // With one step the only offset is 0, so only the order can differ.
    let starts = |epoch| -> Vec<u32> {
        Batches::random(&corpus, 32, 1, 0, epoch).unwrap().into_iter().flat_map(|m| m.inputs).collect()
    };
    let (first, second) = (starts(0), starts(1));
    assert!(!first.is_sorted());
    assert_ne!(first, second);
    // In a uniform order half of the 9,983 neighboring pairs ascend: 4,992 ± 50.
    let ascending = first.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!(ascending.abs_diff(4_992) < 250, "{ascending}");
}
