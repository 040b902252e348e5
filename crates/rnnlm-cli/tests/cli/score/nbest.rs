//! N-best lists of Kaldi, ESPnet and Moses, and mixtures with another model.

use std::f64::consts::LN_2;

use super::{WORDS, assert_same, objects, unigram};
use crate::support::TestDir;

fn words() -> TestDir {
    unigram("word", "lines", &WORDS)
}

fn score(dir: &TestDir, list: &str, args: &[&str]) -> String {
    dir.write("list.txt", list);
    dir.run(&[&["score", "run", "list.txt"], args].concat()).succeeded().stdout
}

#[test]
fn lists_of_kaldi_keep_the_ids_of_the_utterances() {
    let dir = words();
    let list = "utt1-1 the cat\nutt1-2 the  the cat \nutt2-1\n";
    // 6, 7 and 2 bits
    let expected = format!("utt1-1 {}\nutt1-2 {}\nutt2-1 {}\n", 6.0 * LN_2, 7.0 * LN_2, 2.0 * LN_2);
    assert_same(&score(&dir, list, &["--nbest", "kaldi"]), &expected);
    assert_same(&score(&dir, list, &["--format", "kaldi"]), &expected);
    assert_same(&score(&dir, "utt-1 the cat\r\n", &["--nbest", "kaldi"]), &format!("utt-1 {}\n", 6.0 * LN_2));
}

#[test]
fn lists_of_moses_get_a_feature() {
    let dir = words();
    let list = "0 ||| the cat ||| LM0= -12.5 WordPenalty0= -2 ||| -7.25\n\
                0 ||| the dog  ||| LM0= -13 WordPenalty0= -2 ||| -8 ||| 0-0 1-1\n1 |||  ||| LM0= 0 ||| 0\n";
    let expected = format!(
        "0 ||| the cat ||| LM0= -12.5 WordPenalty0= -2 RNNLM0= {} ||| -7.25\n\
         0 ||| the dog  ||| LM0= -13 WordPenalty0= -2 RNNLM0= {} ||| -8 ||| 0-0 1-1\n\
         1 |||  ||| LM0= 0 RNNLM0= {} ||| 0\n",
        -6.0 * LN_2,
        -7.0 * LN_2,
        -2.0 * LN_2
    );
    assert_same(&score(&dir, list, &["--nbest", "moses"]), &expected);
}

#[test]
fn tables_of_hypotheses_get_a_column() {
    let dir = words();
    let list = "a\tthe cat\nb\tthe cat\t-3.5\tmore\nc\t\n";
    let expected = format!("a\tthe cat\t{x}\nb\tthe cat\t-3.5\tmore\t{x}\nc\t\t{}\n", -2.0 * LN_2, x = -6.0 * LN_2);
    assert_same(&score(&dir, list, &["--nbest", "tsv"]), &expected);
    let expected = "a\tthe cat\t-2\nb\tthe cat\t-3.5\tmore\t-2\nc\t\t-2\n";
    assert_same(&score(&dir, list, &["--nbest", "tsv", "--base", "2", "--normalize-by", "token"]), expected);
}

#[test]
fn a_line_that_is_not_of_the_list_is_an_error_with_its_number() {
    let dir = words();
    dir.write("list.txt", "0 ||| the ||| LM0= 1 ||| 2\nthe cat\n");
    let outcome = dir.run(&["score", "run", "list.txt", "--nbest", "moses"]);
    assert_same(&outcome.stdout, &format!("0 ||| the ||| LM0= 1 RNNLM0= {} ||| 2\n", -3.0 * LN_2));
    outcome.failed(1, &["line 2 of `list.txt`", "`ID ||| HYPOTHESIS ||| FEATURES ||| TOTAL`"]);
    dir.refuses_in_place(&["score", "run", "list.txt", "--nbest", "tsv"], 1, &["line 1", "`ID<TAB>HYPOTHESIS`"]);
    dir.write("list.txt", "\n");
    dir.refuses_in_place(&["score", "run", "list.txt", "--format", "kaldi"], 1, &["line 1", "utterance id"]);
}

#[test]
fn probabilities_are_mixed_with_those_of_another_model() {
    let dir = words();
    dir.write("text.txt", "the cat\nhorse\n");
    // the, cat, the end, horse, the end: 1/2, 1/8, 1/4, 1/16, 1/4 of our model
    dir.write("other.txt", "0.25\n0.5\n1\n0.0625\n0\n");
    let mix = ["score", "run", "text.txt", "--mix", "other.txt", "--format", "jsonl", "--lambda"];
    let logprobs = |args: &[&str]| -> Vec<f64> {
        let stdout = dir.run(args).succeeded().stdout;
        objects(&stdout).iter().map(|object| object["logprob"].as_f64().expect("a number")).collect()
    };
    let close = |found: &[f64], expected: &[f64]| {
        assert_eq!(found.len(), expected.len());
        let is_close = found.iter().zip(expected).all(|(one, other)| (one - other).abs() < 2e-6);
        assert!(is_close, "{found:?} is not {expected:?}");
    };
    // at 1/2: 3/8, 5/16, 5/8; 1/16, 1/8
    let expected = [(3.0 / 8.0 * 5.0 / 16.0 * 5.0 / 8.0_f64).ln(), (1.0 / 16.0 / 8.0_f64).ln()];
    close(&logprobs(&[&mix[..], &["0.5"]].concat()), &expected);
    close(&logprobs(&[&mix[..], &["1"]].concat()), &[-6.0 * LN_2, -6.0 * LN_2]);
    // in the two forms of our own output, a mixture with itself is the model, whatever the weight
    for format in ["tsv", "jsonl"] {
        for base in ["2", "10"] {
            let tokens = ["score", "run", "text.txt", "--tokens", "--format", format, "--base", base];
            dir.write("other.txt", dir.run(&tokens).succeeded().stdout);
            close(&logprobs(&[&mix[..], &["0.3"]].concat()), &[-6.0 * LN_2, -6.0 * LN_2]);
        }
    }
    let header = dir.run(&["score", "run", "text.txt", "--mix", "other.txt", "--lambda", "0.3"]).succeeded().stdout;
    assert!(header.lines().next().is_some_and(|line| line.ends_with("mix=\"other.txt\" lambda=0.3")), "{header}");
}

#[test]
fn a_file_with_other_tokens_is_not_mixed() {
    let dir = words();
    dir.write("text.txt", "the cat\nhorse\n");
    let mix = ["score", "run", "text.txt", "--mix", "other.txt", "--lambda", "0.5"];
    let check = |content: &str, words: &[&str]| {
        dir.write("other.txt", content);
        dir.refuses_in_place(&mix, 1, &[&["`other.txt` does not fit"], words].concat());
    };
    check("0.5\n0.5\n0.5\n0.5\n", &["document 1 needs more than the 4 probabilities of the file"]);
    check(&"0.5\n".repeat(6), &["the documents have 5 scored tokens, line 6"]);
    check("0.5\nx\n", &["line 2: `x` is not a number"]);
    check("0.5\n1.5\n", &["line 2: 1.5 is not a probability"]);
    let jsonl = |indices: &[u64]| -> String {
        indices.iter().map(|index| format!("{{\"index\":{index},\"logprob\":-1}}\n")).collect()
    };
    check(&jsonl(&[0, 0, 1, 1]), &["document 0 has 3 scored tokens, the file has 2 for it, up to line 2"]);
    check(&jsonl(&[0, 0, 0, 0, 1, 1]), &["document 0 has 3 scored tokens, the file has 4 for it, up to line 4"]);
    check(&jsonl(&[0, 0, 0, 1]), &["document 1 needs more than the 4 probabilities"]);
    let missing = ["score", "run", "text.txt", "--mix", "none.txt", "--lambda", "0.5"];
    dir.refuses_in_place(&missing, 1, &["`none.txt` cannot be read"]);
    dir.refuses_in_place(&["score", "run", "text.txt", "--mix", "other.txt"], 2, &["--lambda"]);
    dir.refuses_in_place(&[&mix[..6], &["2"]].concat(), 2, &["must be between 0 and 1"]);
}
