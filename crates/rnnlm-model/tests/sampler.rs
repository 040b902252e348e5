//! Filters and chains draw tokens with exact probabilities, which follow from their published definitions.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use rnnlm_model::SplitMix64;
use rnnlm_model::sampler::{
    Ban, Candidates, Chain, ChainSettings, FilterName, FrequencyPenalty, History, LogitBias, MinP, PresencePenalty,
    RepetitionPenalty, Sampler, Temperature, TopK, TopP, Typical,
};
use safetensors::{Dtype, SafeTensors};

/// Logarithms of 40, 24, 16, 10, 6 and 4 percent, in another order of ids, so that every filter is exact arithmetic by hand.
const PROBABILITIES: [f64; 6] = [0.10, 0.40, 0.04, 0.24, 0.06, 0.16];
/// Draws of each test.
const DRAWS: usize = 100_000;
/// The 99.99th percentiles of χ² with 1 to 5 degrees of freedom (tables of the distribution, such as R's `qchisq`). Seeds are
/// fixed, so a test fails only after a change, and then with a distribution that is wrong by a few tenths of a percent.
const CHI_SQUARE: [f64; 5] = [15.14, 18.42, 21.11, 23.51, 25.74];

fn logits() -> [f32; 6] {
    PROBABILITIES.map(|p| p.ln() as f32)
}

/// The probabilities that are in proportion to these weights.
fn normalized(weights: [f64; 6]) -> [f64; 6] {
    let total: f64 = weights.iter().sum();
    weights.map(|weight| weight / total)
}

/// Draws many tokens and compares their frequencies with the probabilities.
#[track_caller]
fn draws(mut sampler: Sampler, expected: [f64; 6]) {
    let exact = sampler.distribution(&logits());
    for (id, (found, expected)) in exact.iter().zip(expected).enumerate() {
        // the logits are rounded to single precision
        assert!((found - expected).abs() < 1e-6, "token {id}: {found} instead of {expected}");
    }
    let mut counts = [0_usize; 6];
    (0..DRAWS).for_each(|_| counts[sampler.choose(&logits()).unwrap() as usize] += 1);
    let mut chi_square = 0.0;
    let mut degrees = 0;
    for (count, expected) in counts.into_iter().zip(expected) {
        if expected == 0.0 {
            assert_eq!(count, 0);
        } else {
            let mean = expected * DRAWS as f64;
            chi_square += (count as f64 - mean).powi(2) / mean;
            degrees += 1;
        }
    }
    if degrees > 1 {
        assert!(chi_square < CHI_SQUARE[degrees - 2], "χ² = {chi_square} for {counts:?} of {expected:?}");
    }
}

fn sampler(chain: Chain) -> Sampler {
    Sampler::from_chain(chain, SplitMix64::new(20))
}

#[test]
fn no_filter_draws_from_the_model_and_temperature_from_powers_of_it() {
    draws(sampler(Chain::new()), PROBABILITIES);
    draws(Sampler::new(1.0, 1).unwrap(), PROBABILITIES);
    // p^(1/T): squares at 0.5, square roots at 2
    draws(Sampler::new(0.5, 2).unwrap(), normalized(PROBABILITIES.map(|p| p * p)));
    draws(Sampler::new(2.0, 3).unwrap(), normalized(PROBABILITIES.map(f64::sqrt)));
    draws(Sampler::new(0.0, 4).unwrap(), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn top_k_keeps_the_k_most_probable_tokens() {
    let chain = |k| Chain::new().with(TopK::new(k).unwrap());
    draws(sampler(chain(3)), [0.0, 0.5, 0.0, 0.3, 0.0, 0.2]);
    draws(sampler(chain(6)), PROBABILITIES);
    draws(sampler(chain(100)), PROBABILITIES);
}

#[test]
fn top_p_keeps_the_token_that_crosses_p() {
    let chain = |p| Chain::new().with(TopP::new(p).unwrap());
    // 0.40 + 0.24 < 0.7 ≤ 0.40 + 0.24 + 0.16
    draws(sampler(chain(0.7)), [0.0, 0.5, 0.0, 0.3, 0.0, 0.2]);
    draws(sampler(chain(0.39)), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    draws(sampler(chain(1.0)), PROBABILITIES);
}

#[test]
fn min_p_keeps_tokens_with_a_fraction_of_the_largest_probability() {
    let chain = |p| Chain::new().with(MinP::new(p).unwrap());
    // 0.3 · 0.40 = 0.12 is between 0.10 and 0.16
    draws(sampler(chain(0.3)), [0.0, 0.5, 0.0, 0.3, 0.0, 0.2]);
    draws(sampler(chain(0.0)), PROBABILITIES);
}

#[test]
fn typical_keeps_tokens_whose_information_is_close_to_the_entropy() {
    // The entropy is 1.5301 nats; the information of the tokens is 2.303, 0.916, 3.219, 1.427, 2.813 and 1.833 nats. By
    // distance: 0.24 (0.10), 0.16 (0.30), 0.40 (0.61), 0.10 (0.77), …; so 0.24 + 0.16 < 0.5 ≤ 0.24 + 0.16 + 0.40.
    draws(sampler(Chain::new().with(Typical::new(0.5).unwrap())), [0.0, 0.5, 0.0, 0.3, 0.0, 0.2]);
    // the most probable token is not among the first two
    draws(sampler(Chain::new().with(Typical::new(0.39).unwrap())), [0.0, 0.0, 0.0, 0.6, 0.0, 0.4]);
}

#[test]
fn bias_and_bans_multiply_odds_and_remove_tokens() {
    let bias = LogitBias::new(vec![(2, 10.0_f64.ln()), (1, 0.1_f64.ln())]).unwrap();
    draws(sampler(Chain::new().with(bias)), normalized([0.10, 0.04, 0.40, 0.24, 0.06, 0.16]));
    draws(sampler(Chain::new().with(Ban::new(vec![1]))), normalized([0.10, 0.0, 0.04, 0.24, 0.06, 0.16]));
    draws(sampler(Chain::new()).without(Some(1)), normalized([0.10, 0.0, 0.04, 0.24, 0.06, 0.16]));
    let top_2 = Chain::new().with(TopK::new(2).unwrap());
    draws(sampler(top_2).without(Some(1)), [0.0, 0.0, 0.0, 0.6, 0.0, 0.4]);
}

/// What a chain makes of the logits after this history.
fn after_history(chain: Chain) -> Vec<f64> {
    let mut history = History::default();
    [1, 3].into_iter().for_each(|id| history.push_prefix(id));
    [3, 3, 5].into_iter().for_each(|id| history.push_generated(id));
    let mut candidates = Candidates::new(&logits());
    chain.apply(&history, &mut candidates);
    candidates.probabilities()
}

#[test]
fn penalties_count_what_they_define() {
    let near = |found: Vec<f64>, expected: [f64; 6]| {
        found.iter().zip(normalized(expected)).for_each(|(found, expected)| assert!((found - expected).abs() < 1e-6));
    };
    // logits below 0 are multiplied: p becomes p², for tokens of the prefix and generated ones
    let squares = [0.10, 0.40 * 0.40, 0.04, 0.24 * 0.24, 0.06, 0.16 * 0.16];
    near(after_history(Chain::new().with(RepetitionPenalty::new(2.0).unwrap())), squares);
    // generated tokens only
    let presence = PresencePenalty::new(10.0_f64.ln()).unwrap();
    near(after_history(Chain::new().with(presence)), [0.10, 0.40, 0.04, 0.024, 0.06, 0.016]);
    let frequency = FrequencyPenalty::new(10.0_f64.ln()).unwrap();
    near(after_history(Chain::new().with(frequency)), [0.10, 0.40, 0.04, 0.0024, 0.06, 0.016]);
    // after a temperature of 0.5, a penalty acts on the divided logits
    let chain = Chain::new().with(Temperature::new(0.5).unwrap()).with(presence);
    near(after_history(chain), [0.01, 0.16, 0.0016, 0.00576, 0.0036, 0.00256]);
}

#[test]
fn chains_apply_their_filters_in_order() {
    // squares: 0.01, 0.16, 0.0016, 0.0576, 0.0036, 0.0256 of 0.2584; 0.16 / 0.2584 < 0.7 ≤ 0.2176 / 0.2584
    let settings = ChainSettings { temperature: 0.5, top_p: 0.7, top_k: 5, ..ChainSettings::default() };
    let first = Chain::from_settings(&settings).unwrap();
    draws(sampler(first), normalized([0.0, 0.16, 0.0, 0.0576, 0.0, 0.0]));
    // top-p of the model's distribution keeps three tokens, whose squares are drawn
    let order = vec![FilterName::TopP, FilterName::Temperature, FilterName::TopK];
    let last = Chain::from_settings(&ChainSettings { order, ..settings }).unwrap();
    draws(sampler(last), normalized([0.0, 0.16, 0.0, 0.0576, 0.0, 0.0256]));
    // penalties before, and min-p and typical after the temperature
    let settings = ChainSettings { temperature: 2.0, min_p: 0.45, typical: 0.6, banned: vec![4], ..Default::default() };
    // square roots over that of 0.40: 0.5, 1, 0.316, 0.775, banned, 0.632; those of at least 0.45 sum to 2.907 and become
    // 0.172, 0.344, 0.266 and 0.218. The entropy is 1.3541 nats, the information 1.760, 1.067, 1.323 and 1.525 nats; by
    // distance: 0.266 + 0.218 < 0.6 ≤ 0.266 + 0.218 + 0.344
    let chain = Chain::from_settings(&settings).unwrap();
    draws(sampler(chain), normalized([0.0, 0.40_f64.sqrt(), 0.0, 0.24_f64.sqrt(), 0.0, 0.16_f64.sqrt()]));
}

#[test]
fn of_equal_tokens_those_with_the_smallest_ids_are_kept() {
    let kept = |chain: Chain| {
        let probabilities = sampler(chain).distribution(&[1.0; 5]);
        (0..5).filter(|&id| probabilities[id] > 0.0).collect::<Vec<_>>()
    };
    assert_eq!(kept(Chain::new().with(TopK::new(2).unwrap())), [0, 1]);
    assert_eq!(kept(Chain::new().with(TopP::new(0.5).unwrap())), [0, 1, 2]);
    assert_eq!(kept(Chain::new().with(Typical::new(0.3).unwrap())), [0, 1]);
    assert_eq!(kept(Chain::new().with(MinP::new(1.0).unwrap())), [0, 1, 2, 3, 4]);
    assert_eq!(kept(Chain::new().with(Temperature::new(0.0).unwrap())), [0]);
}

#[test]
fn invalid_settings_are_errors_with_the_value() {
    let errors = [
        TopK::new(0).unwrap_err().to_string(),
        TopP::new(0.0).unwrap_err().to_string(),
        TopP::new(f64::NAN).unwrap_err().to_string(),
        MinP::new(1.5).unwrap_err().to_string(),
        Typical::new(-1.0).unwrap_err().to_string(),
        RepetitionPenalty::new(0.0).unwrap_err().to_string(),
        PresencePenalty::new(f64::INFINITY).unwrap_err().to_string(),
        LogitBias::new(vec![(0, f64::NEG_INFINITY)]).unwrap_err().to_string(),
    ];
    assert_eq!(errors[0], "`top_k` is 0, it must be at least 1");
    assert_eq!(errors[1], "`top_p` is 0, it must be above 0 and at most 1");
    assert_eq!(errors[5], "`repetition_penalty` is 0, it must be finite and above 0");
    assert!(errors.iter().all(|error| error.contains("it must be")), "{errors:?}");
}

/// The numbers of a tensor in the golden file of Hugging Face's logits processors, in double precision.
fn golden(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let tensor = file.tensor(name).unwrap();
    match tensor.dtype() {
        Dtype::F32 => {
            tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()).into()).collect()
        }
        Dtype::I64 => {
            tensor.data().chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as f64).collect()
        }
        dtype => panic!("{name} is {dtype:?}"),
    }
}

#[test]
fn filters_and_chains_agree_with_the_logits_processors_of_hugging_face() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/sampling/filters.safetensors");
    let content = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&content).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&content).unwrap();
    let case: serde_json::Value = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["case"]).unwrap();
    let vocab_size = case["vocab_size"].as_u64().unwrap() as usize;
    let logits: Vec<f32> = golden(&file, "logits").into_iter().map(|x| x as f32).collect();
    let history = golden(&file, "history");
    let rows = logits.len() / vocab_size;
    let chains = case["chains"].as_object().unwrap();
    assert_eq!((rows, chains.len()), (16, 8));
    for (name, settings) in chains {
        let number = |key: &str, neutral: f64| settings.get(key).map_or(neutral, |value| value.as_f64().unwrap());
        let chain = Chain::from_settings(&ChainSettings {
            repetition_penalty: number("repetition_penalty", 1.0),
            temperature: number("temperature", 1.0),
            top_k: number("top_k", 0.0) as usize,
            top_p: number("top_p", 1.0),
            min_p: number("min_p", 0.0),
            typical: number("typical", 1.0),
            ..ChainSettings::default()
        })
        .unwrap();
        let expected = golden(&file, &format!("expected.{name}"));
        for (row, logits) in logits.chunks_exact(vocab_size).enumerate() {
            let mut tokens = History::default();
            history
                .chunks_exact(history.len() / rows)
                .nth(row)
                .unwrap()
                .iter()
                .for_each(|&id| tokens.push_prefix(id as u32));
            let mut candidates = Candidates::new(logits);
            chain.apply(&tokens, &mut candidates);
            for (id, (found, expected)) in candidates.logits_mut().iter().zip(&expected[row * vocab_size..]).enumerate()
            {
                // the expected value is rounded to single precision
                let is_equal = found == expected || (found - expected).abs() < 1e-6 * expected.abs().max(1.0);
                assert!(is_equal, "{name}, row {row}, token {id}: {found} instead of {expected}");
            }
        }
    }
}
