//! The properties of the table on generated inputs.

use proptest::prelude::*;
use rnnlm_rnn::Cell;
use rnnlm_tests::cases::{Condition, StackCase, Width};
use rnnlm_tests::check::Check;
use rnnlm_tests::checks::{properties, text};
use rnnlm_tests::paths::{Target, paths};
use rnnlm_tests::table::Status;
use rnnlm_vocab::TokenKind;

fn targets() -> Vec<Target> {
    paths().expect("the threads of the CPU start").targets().cloned().collect()
}

/// Runs the checks, all of which must pass.
fn assert_all(checks: impl IntoIterator<Item = Check>) -> Result<(), TestCaseError> {
    for check in checks {
        let row = check.run();
        prop_assert!(row.status == Status::Ok, "{row:?}");
    }
    Ok(())
}

prop_compose! {
    fn stacks()(
        cell in prop::sample::select(Cell::ALL.to_vec()),
        num_steps in 1..6_usize,
        batch_size in 2..20_usize,
        width in prop_oneof![(2..9_usize).prop_map(Width::Dense), (2..40_usize).prop_map(Width::OneHot)],
        hidden_size in 1..40_usize,
        num_layers in 1..3_usize,
        bidirectional in any::<bool>(),
        condition in prop::sample::select(vec![Condition::State, Condition::ZeroState, Condition::Carried]),
    ) -> StackCase {
        StackCase { cell, num_steps, batch_size, width, hidden_size, num_layers, bidirectional, condition }
    }
}

fn gradients() -> impl Strategy<Value = Vec<Vec<f32>>> {
    let one = (1..30_usize, -3..3_i32).prop_flat_map(|(len, exponent)| {
        let bound = 10.0_f32.powi(exponent);
        prop::collection::vec(-bound..bound, len)
    });
    prop::collection::vec(one, 1..5).prop_filter("a norm above zero", |all| all.iter().flatten().any(|&g| g != 0.0))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn clipping_scales_only_gradients_above_the_limit(gradients in gradients(), clip in 0.01..10.0_f32) {
        assert_all(targets().iter().map(|target| properties::clipping(target, gradients.clone(), clip)))?;
    }

    #[test]
    fn softmax_cross_entropy_is_invariant_under_a_shift(
        rows in 1..9_usize, cols in 1..40_usize, shift in -1000..1000_i32, seed in any::<u64>(),
    ) {
        assert_all(targets().iter().map(|target| properties::softmax_shift(target, [rows, cols], shift as f32, seed)))?;
    }

    #[test]
    fn permuting_the_batch_permutes_the_outputs(case in stacks(), seed in any::<u64>()) {
        assert_all(targets().iter().map(|target| properties::batch_permutation(target, case, seed)))?;
    }

    #[test]
    fn the_number_of_threads_changes_no_bit(case in stacks(), threads in 2..6_usize) {
        let targets = targets();
        let with_threads = targets.iter().filter_map(|target| Some((target, target.with_threads.as_ref()?)));
        assert_all(with_threads.map(|(target, with_threads)| properties::thread_count(target, with_threads, case, threads)))?;
    }

    #[test]
    fn minibatches_match_the_book(
        batch_size in 1..9_usize, num_steps in 1..12_usize, extra in 0..200_usize, seed in any::<u64>(),
    ) {
        let tokens = batch_size * num_steps + num_steps + 1 + extra;
        assert_all([text::sequential(tokens, batch_size, num_steps, seed), text::random(tokens, batch_size, num_steps, seed)])?;
    }

    #[test]
    fn encoding_inverts_decoding(text in "[a-zA-Z éß\n']{2,60}[a-z]{2}") {
        assert_all([TokenKind::Char, TokenKind::Byte].map(|kind| text::decoding(&text, kind)))?;
    }
}
