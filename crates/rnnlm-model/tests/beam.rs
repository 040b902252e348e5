//! Beam search finds what an exhaustive search finds, and constraints allow exactly the texts that match.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::Arc;

use rnnlm_model::beam::{BeamSettings, Hypothesis};
use rnnlm_model::{
    BeamSearch, Cell, Corpus, CorpusOptions, Cpu, Error, ExecutionPath, Finish, Init, LanguageModel, ModelConfig,
    TokenRegex, Vocab,
};

const END: u32 = 1;

fn model(vocab_size: usize, threads: usize) -> LanguageModel<Cpu> {
    let config = ModelConfig { cell: Cell::Lstm, hidden_size: 9, num_layers: 2, ..ModelConfig::book(vocab_size) };
    let mut model = LanguageModel::new(&Cpu::new(threads).unwrap(), &config, ExecutionPath::Auto).unwrap();
    model.initialize(Init::Normal, 8).unwrap();
    let values: Vec<f32> = model.parameters().to_vec(model.backend()).unwrap().iter().map(|x| 40.0 * x).collect();
    let backend = model.backend().clone();
    model.parameters_mut().write(&backend, &values).unwrap();
    model
}

/// Every continuation of at most `max_tokens` tokens, with its log-probability and its number of factors.
fn exhaustive(
    model: &LanguageModel<Cpu>,
    prefix: &[u32],
    max_tokens: usize,
    end_token: Option<u32>,
) -> Vec<(Vec<u32>, f64, usize, Finish)> {
    let mut found = Vec::new();
    let mut open = vec![(Vec::new(), 0.0)];
    while let Some((ids, total)) = open.pop() {
        if ids.len() == max_tokens {
            let length = ids.len();
            found.push((ids, total, length, Finish::Length));
            continue;
        }
        let probabilities = model.next_distribution(&[prefix, &ids].concat()).unwrap();
        for (id, probability) in (0..).zip(probabilities) {
            let total = total + probability.ln();
            if Some(id) == end_token {
                let length = ids.len() + 1;
                found.push((ids.clone(), total, length, Finish::Document));
            } else {
                open.push(([&ids[..], &[id]].concat(), total));
            }
        }
    }
    found
}

fn settings(beam_size: usize, num_results: usize, length_penalty: f64, max_tokens: usize) -> BeamSettings {
    BeamSettings { beam_size, num_results, length_penalty, max_tokens, banned: Vec::new() }
}

fn search(model: &LanguageModel<Cpu>, settings: BeamSettings, end_token: Option<u32>) -> Vec<Hypothesis> {
    BeamSearch::new(model, settings).unwrap().with_end_token(end_token).search(&[2, 0], None).unwrap()
}

#[test]
fn a_beam_as_large_as_the_number_of_texts_equals_exhaustive_search() {
    for (vocab_size, max_tokens) in [(2, 6), (3, 4), (5, 3)] {
        let model = model(vocab_size.max(3), 1);
        for end_token in [None, Some(END)] {
            let all = exhaustive(&model, &[2, 0], max_tokens, end_token);
            for length_penalty in [0.0, 0.75, 1.0, 2.0] {
                let mut expected: Vec<_> = all
                    .iter()
                    .map(|(ids, total, length, finish)| {
                        (total / (*length as f64).powf(length_penalty), ids, *total, *finish)
                    })
                    .collect();
                expected.sort_by(|a, b| b.0.total_cmp(&a.0));
                for num_results in [1, 7, all.len()] {
                    let found = search(&model, settings(all.len(), num_results, length_penalty, max_tokens), end_token);
                    assert_eq!(found.len(), num_results.min(all.len()));
                    for (found, (score, ids, total, finish)) in found.iter().zip(&expected) {
                        assert_eq!((&found.ids, found.finish), (*ids, *finish), "{length_penalty} {end_token:?}");
                        assert!((found.score - score).abs() < 1e-9 && (found.log_probability - total).abs() < 1e-9);
                        let end = if found.finish == Finish::Document { 1 } else { 0 };
                        let sum: f64 = found.log_probabilities.iter().sum();
                        assert!(found.log_probabilities.len() == ids.len() && (end == 1 || (sum - total).abs() < 1e-9));
                    }
                }
            }
        }
    }
}

#[test]
fn a_beam_of_one_is_greedy_and_larger_beams_are_not_worse() {
    let model = model(7, 2);
    let greedy = search(&model, settings(1, 1, 0.0, 8), None).remove(0);
    let mut ids = vec![2, 0];
    for _ in 0..8 {
        let probabilities = model.next_distribution(&ids).unwrap();
        let best = (0..7).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b])).unwrap();
        ids.push(best as u32);
    }
    assert_eq!(greedy.ids, ids[2..]);
    let wide = search(&model, settings(50, 1, 0.0, 8), None).remove(0);
    assert!(wide.log_probability > greedy.log_probability);
}

#[test]
fn results_do_not_depend_on_threads_and_ban_tokens() {
    let settings = BeamSettings { banned: vec![3], ..settings(6, 6, 0.75, 9) };
    let [one, two] = [1, 2].map(|threads| search(&model(7, threads), settings.clone(), Some(END)));
    assert_eq!(one, two);
    assert!(one.len() == 6 && one.iter().all(|result| !result.ids.contains(&3)));
}

#[test]
fn invalid_settings_are_refused() {
    let model = model(3, 1);
    let error = |settings| BeamSearch::new(&model, settings).unwrap_err().to_string();
    assert_eq!(error(settings(0, 1, 0.0, 1)), "`beam_size` is 0, it must be at least 1");
    assert_eq!(error(settings(1, 1, -0.5, 1)), "`length_penalty` is -0.5, it must be finite and at least 0");
}

/// The ids are `<unk>` 0, `a` 1, `b` 2, `c` 3.
fn vocab() -> Vocab {
    Corpus::from_bytes(b"aaabbc", &CorpusOptions::default()).unwrap().vocab
}

/// The texts of at most `max_tokens` letters that a constraint allows, and whether each matches.
fn allowed(pattern: &str, max_tokens: usize, banned: &[u32]) -> BTreeMap<String, bool> {
    let vocab = vocab();
    let regex = Arc::new(TokenRegex::new(pattern, &vocab, banned).unwrap());
    let mut texts = BTreeMap::new();
    let mut open = vec![(Vec::new(), regex.constraint(max_tokens))];
    while let Some((ids, constraint)) = open.pop() {
        if ids.len() == max_tokens || constraint.is_complete() {
            texts.insert(vocab.decode(&ids).unwrap(), constraint.is_match());
            continue;
        }
        let mut candidates = rnnlm_model::sampler::Candidates::new(&[0.0; 4]);
        constraint.restrict(&mut candidates);
        for id in (0..4).filter(|&id| candidates.contains(id)) {
            let mut next = constraint.clone();
            next.advance(id);
            open.push(([&ids[..], &[id]].concat(), next));
        }
    }
    texts
}

#[test]
fn a_constraint_allows_exactly_the_texts_that_match_and_end_at_the_limit() {
    let texts = |pattern, max_tokens| allowed(pattern, max_tokens, &[0]).into_keys().collect::<Vec<_>>();
    assert_eq!(texts("a(b|c)", 6), ["ab", "ac"]);
    // a text that may end goes on to the limit
    assert_eq!(texts("(ab)*", 3), ["ab"]);
    assert_eq!(texts("(ab)+c?", 5), ["ababc", "abc"]);
    assert_eq!(texts("", 3), [""]);
    // near the limit, only tokens that can still finish
    assert_eq!(texts("a+b{2}", 4), ["aabb", "abb"]);
    for pattern in ["(a|b)*c", "[^b]{2,4}", "a.c|b", "(a|bc)+", "(?:c|ab|abc)a*"] {
        let regex = regex_lite(pattern);
        let all = (0..=5).flat_map(|length| {
            (0..3_usize.pow(length)).map(move |mut n| {
                let letter = |_| {
                    let letter = ['a', 'b', 'c'][n % 3];
                    n /= 3;
                    letter
                };
                (0..length).map(letter).collect::<String>()
            })
        });
        let matching: Vec<String> = all.filter(|text| regex(text)).collect();
        let found = allowed(pattern, 5, &[0]);
        for (text, is_match) in &found {
            assert!(*is_match && matching.contains(text), "{pattern}: {text}");
        }
        // every match is allowed, or is the beginning of a longer one that is
        for text in matching {
            assert!(found.keys().any(|found| found.starts_with(&text)), "{pattern}: {text} is not allowed");
        }
    }
}

/// Whether a text matches one of the patterns of the test, written by hand.
fn regex_lite(pattern: &str) -> fn(&str) -> bool {
    match pattern {
        "(a|b)*c" => |text| text.ends_with('c') && text.matches('c').count() == 1,
        "[^b]{2,4}" => |text| (2..=4).contains(&text.len()) && !text.contains('b'),
        "a.c|b" => |text| text == "b" || text.len() == 3 && text.starts_with('a') && text.ends_with('c'),
        "(a|bc)+" => |text| !text.is_empty() && !text.replace("bc", "a").contains(['b', 'c']),
        "(?:c|ab|abc)a*" => |text| ["c", "ab", "abc"].contains(&text.trim_end_matches('a')),
        _ => panic!("{pattern}"),
    }
}

#[test]
fn a_text_that_cannot_finish_within_the_limit_is_still_a_beginning_of_a_match() {
    let texts = allowed("a{3}b{3}", 4, &[0]);
    assert_eq!(texts.into_iter().collect::<Vec<_>>(), [("aaab".to_owned(), false)]);
}

#[test]
fn an_expression_that_the_vocabulary_cannot_match_is_refused() {
    let error = |pattern, banned: &[u32]| TokenRegex::new(pattern, &vocab(), banned).unwrap_err().to_string();
    assert_eq!(
        error("ab{2}x", &[]),
        "the regular expression `ab{2}x` matches no sequence of the 4 allowed `char` tokens"
    );
    assert!(error("a+", &[1]).contains("the 3 allowed"));
    assert!(matches!(TokenRegex::new("(", &vocab(), &[]), Err(Error::Regex { .. })));
}

#[test]
fn words_are_separated_by_spaces_and_documents_end_where_the_expression_may() {
    let options = CorpusOptions {
        kind: rnnlm_model::TokenKind::Word,
        documents: rnnlm_model::Documents::Lines,
        ..CorpusOptions::default()
    };
    let vocab = Corpus::from_bytes(b"one two\nthree one\n", &options).unwrap().vocab;
    let id = |word: &str| vocab.tokens().position(|token| token == word).unwrap() as u32;
    let regex = Arc::new(TokenRegex::new("one( (two|three))+", &vocab, &[0]).unwrap());
    let mut constraint = regex.constraint(9);
    let allowed = |constraint: &rnnlm_model::Constraint| {
        let mut candidates = rnnlm_model::sampler::Candidates::new(&[0.0; 5]);
        constraint.restrict(&mut candidates);
        let ids = (0..5).filter(|&id| candidates.contains(id));
        ids.map(|id| vocab.token(id).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(allowed(&constraint), ["one"]);
    constraint.advance(id("one"));
    let mut words = allowed(&constraint);
    words.sort();
    assert_eq!(words, ["three", "two"]);
    constraint.advance(id("two"));
    let mut words = allowed(&constraint);
    words.sort();
    assert_eq!(words, ["<eos>", "three", "two"]);
    assert!(constraint.is_match() && !constraint.is_complete());
}
