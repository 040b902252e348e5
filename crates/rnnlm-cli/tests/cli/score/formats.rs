//! Golden outputs of every format. All numbers are sums of the bits of [`super::WORDS`] and [`super::CHARS`].

use std::f64::consts::LN_2;

use super::{CHARS, ENTROPY_OF_WORDS, WORDS, assert_same, digest, objects, unigram};
use crate::support::TestDir;

/// 1 + 3 + 2 bits in `the cat` with its separator and end; `the horse` has an unknown word; an empty line has its end.
const TEXT: &str = "the cat\nthe horse dog\n\n";
/// `ln 2` times some bits.
const NATS: [f64; 3] = [-6.0 * LN_2, -11.0 * LN_2, -2.0 * LN_2];

fn words(documents: &str) -> TestDir {
    let dir = unigram("word", documents, &WORDS);
    dir.write("text.txt", TEXT);
    dir
}

fn score(dir: &TestDir, more: &[&str]) -> String {
    dir.run(&[&["score", "run", "text.txt"], more].concat()).succeeded().stdout
}

#[test]
fn tab_separated_values_have_a_header_with_model_context_and_unit() {
    let dir = words("lines");
    let model = digest(&dir, "run/model.safetensors");
    // characters with separators and the line end: 8, 14 and 1
    let comment = format!(
        "# model={model} trained_on=lines context=\"<eos>\" context_is=end-token end=\"<eos>\"\n\
         index\tline\ttokens\tunknown\tlogprob_e\tbits_per_char\tbits_per_byte\n"
    );
    let rows = format!(
        "0\t1\t3\t0\t{}\t0.75\t0.75\n1\t2\t4\t1\t{}\t{bits}\t{bits}\n2\t3\t1\t0\t{}\t2\t2\n",
        NATS[0],
        NATS[1],
        NATS[2],
        bits = 11.0 / 14.0
    );
    assert_same(&score(&dir, &[]), &(comment + &rows));
    let per_token = score(&dir, &["--base", "2", "--normalize-by", "token", "--text"]);
    let (header, rows) = per_token.split_once("\nindex").expect("a header");
    assert!(header.starts_with("# model="));
    let expected = format!(
        "\tline\ttokens\tunknown\tlogprob_2_per_token\tbits_per_char\tbits_per_byte\ttext\n\
         0\t1\t3\t0\t-2\t0.75\t0.75\tthe cat\n1\t2\t4\t1\t-2.75\t{bits}\t{bits}\tthe horse dog\n2\t3\t1\t0\t-2\t2\t2\t\n",
        bits = 11.0 / 14.0
    );
    assert_same(rows, &expected);
}

#[test]
fn json_objects_name_the_model_and_have_natural_logarithms() {
    let dir = words("lines");
    let found = objects(&score(&dir, &["--format", "jsonl", "--base", "10", "--text"]));
    assert_eq!(found.len(), 3);
    for (index, object) in found.iter().enumerate() {
        let number = |name: &str| object[name].as_f64().unwrap_or_else(|| panic!("{name} in {object}"));
        assert_eq!((object["index"].as_u64(), object["line"].as_u64()), (Some(index as u64), Some(index as u64 + 1)));
        assert!((number("logprob") - NATS[index]).abs() < 1e-6, "{object}");
        assert!((number("logprob_10") - NATS[index] / std::f64::consts::LN_10).abs() < 1e-6, "{object}");
        assert_eq!(object["model"].as_str(), Some(&digest(&dir, "run/model.safetensors")[..12]));
        assert_eq!(object["context"], "<eos>");
    }
    let column = |name: &str| found.iter().map(|object| object[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("tokens"), [3, 4, 1]);
    assert_eq!(column("unknown"), [0, 1, 0]);
    assert_eq!(column("text"), ["the cat", "the horse dog", ""]);
}

#[test]
fn every_token_has_its_place_rank_and_entropy() {
    let dir = words("lines");
    let expected_rows = |base: f64, entropy: f64| {
        let row = |index: usize, place: &str, bits: f64, rank: usize, unknown: u8| {
            format!("{index}\t{place}\t{}\t{bits}\t{rank}\t{entropy}\t{unknown}\n", -bits * base)
        };
        [
            row(0, "0\tthe\t0\t3\t0\t3", 1.0, 1, 0),
            row(0, "1\tcat\t4\t7\t4\t7", 3.0, 3, 0),
            row(0, "2\t<eos>\t7\t7\t7\t7", 2.0, 2, 0),
            row(1, "0\tthe\t0\t3\t0\t3", 1.0, 1, 0),
            // of the two least probable tokens, <unk> has the smaller id
            row(1, "1\thorse\t4\t9\t4\t9", 4.0, 4, 1),
            row(1, "2\tdog\t10\t13\t10\t13", 4.0, 5, 0),
            row(1, "3\t<eos>\t13\t13\t13\t13", 2.0, 2, 0),
            row(2, "0\t<eos>\t0\t0\t0\t0", 2.0, 2, 0),
        ]
        .concat()
    };
    let columns = "\ttoken_index\ttoken\tbyte_start\tbyte_end\tchar_start\tchar_end\tlogprob_e\tsurprisal_bits\trank\t\
                   entropy_bits\tunknown\n";
    let found = score(&dir, &["--tokens"]);
    let (_, rows) = found.split_once("\nindex").expect("a header");
    assert_same(rows, &format!("{columns}{}", expected_rows(LN_2, ENTROPY_OF_WORDS)));
    let found = score(&dir, &["--tokens", "--base", "2"]);
    let (_, rows) = found.split_once("\nindex").expect("a header");
    assert_same(rows, &format!("{}{}", columns.replace("logprob_e", "logprob_2"), expected_rows(1.0, 1.875)));
    let rows = objects(&score(&dir, &["--tokens", "--format", "jsonl"]));
    assert_eq!(rows.len(), 8);
    let unknown = &rows[4];
    assert_eq!((&unknown["token"], &unknown["unknown"], &unknown["rank"]), (&"horse".into(), &true.into(), &4.into()));
    assert!(unknown["logprob"].as_f64().is_some_and(|nats| (nats + 4.0 * LN_2).abs() < 1e-6), "{unknown}");
}

#[test]
fn offsets_are_in_bytes_and_in_characters() {
    let dir = unigram("char", "lines", &CHARS);
    dir.write("text.txt", "aéb\txé\n");
    let found = score(&dir, &["--tokens"]);
    let places: Vec<String> = found
        .lines()
        .skip(2)
        .map(|row| row.split('\t').skip(2).take(5).collect::<Vec<_>>().join(" ") + &row[row.len() - 2..])
        .collect();
    let expected = [
        "a 0 1 0 1\t0",
        "é 1 3 1 2\t0",
        "b 3 4 2 3\t0",
        "\\t 4 5 3 4\t1",
        "x 5 6 4 5\t1",
        "é 6 8 5 6\t0",
        "\\n 8 8 6 6\t0",
    ];
    assert_eq!(places, expected);
}

/// The output of kenlm's `query` for a model with these probabilities, except for ids and lengths of n-grams.
#[test]
fn the_format_kenlm_is_that_of_query() {
    let dir = words("lines");
    let bit = 2.0_f64.log10();
    let token = |name: &str, bits: f64| format!("{name} 0 {}\t", -bits * bit);
    let expected = format!(
        "{the}{cat}{end}Total: {} OOV: 0\n{the}{}{}{end}Total: {} OOV: 1\n{end}Total: {} OOV: 0\n\
         Perplexity including OOVs:\t{}\nPerplexity excluding OOVs:\t{}\nOOVs:\t1\nTokens:\t8\n",
        -6.0 * bit,
        token("horse=0", 4.0),
        token("dog=4", 4.0),
        -11.0 * bit,
        -2.0 * bit,
        2.0_f64.powf(19.0 / 8.0),
        2.0_f64.powf(15.0 / 7.0),
        the = token("the=2", 1.0),
        cat = token("cat=3", 3.0),
        end = token("</s>=1", 2.0),
    );
    assert_same(&score(&dir, &["--format", "kenlm"]), &expected);
}

#[test]
fn the_format_srilm_leaves_unknown_words_out_of_its_sums() {
    let dir = words("lines");
    let expected = "\
the cat
\tp( the | <s> ) \t= [RNN] 0.5 [ -0.30103 ]
\tp( cat | the ...) \t= [RNN] 0.125 [ -0.90309 ]
\tp( </s> | cat ...) \t= [RNN] 0.25 [ -0.60206 ]
1 sentences, 2 words, 0 OOVs
0 zeroprobs, logprob= -1.80618 ppl= 4 ppl1= 8

the horse dog
\tp( the | <s> ) \t= [RNN] 0.5 [ -0.30103 ]
\tp( horse | the ...) \t= [OOV] 0 [ -inf ]
\tp( dog | horse ...) \t= [RNN] 0.0625 [ -1.20412 ]
\tp( </s> | dog ...) \t= [RNN] 0.25 [ -0.60206 ]
1 sentences, 3 words, 1 OOVs
0 zeroprobs, logprob= -2.10721 ppl= 5.03968 ppl1= 11.3137


\tp( </s> | <s> ) \t= [RNN] 0.25 [ -0.60206 ]
1 sentences, 0 words, 0 OOVs
0 zeroprobs, logprob= -0.60206 ppl= 4 ppl1= undefined

file text.txt: 3 sentences, 5 words, 1 OOVs
0 zeroprobs, logprob= -4.51545 ppl= 4.41636 ppl1= 13.4543
";
    // 2^(7/3), 2^(7/2), 2^(15/7), 2^(15/4): the bits without `horse` over the words with and without the ends
    assert_eq!(score(&dir, &["--format", "srilm"]), expected);
}

#[test]
fn the_format_rnnlm_has_one_logarithm_to_base_10_in_each_line() {
    let dir = words("lines");
    assert_same(&score(&dir, &["--format", "rnnlm"]), "-1.806180\n-3.311330\n-0.602060\n");
}

#[test]
fn a_model_of_a_stream_is_scored_after_a_line_end_or_after_its_most_frequent_token() {
    let dir = unigram("char", "none", &CHARS);
    dir.write("text.txt", "ab\n\na");
    let outcome = dir.run(&["score", "run", "text.txt"]).succeeded();
    let note =
        "note: the model was trained on a stream; each line is scored after a line end, \"\\n\", and with its own\n";
    assert!(outcome.stderr.starts_with(note), "{}", outcome.stderr);
    assert!(outcome.stdout.contains(" trained_on=stream context=\"\\n\" context_is=line-end end=\"\\n\"\n"));
    let rows = format!(
        "0\t1\t3\t0\t{}\t{bits}\t{bits}\n1\t2\t1\t0\t{}\t3\t3\n2\t3\t2\t0\t{}\t2\t2\n",
        -7.0 * LN_2,
        -3.0 * LN_2,
        -4.0 * LN_2,
        bits = 7.0 / 3.0
    );
    assert_same(outcome.stdout.split_once("per_byte\n").expect("columns").1, &rows);

    let dir = unigram("word", "none", &[("<unk>", 2.0), ("the", 1.0), ("cat", 2.0)]);
    dir.write("text.txt", "the cat\n\n");
    let outcome = dir.run(&["score", "run", "text.txt"]).succeeded();
    assert!(
        outcome.stderr.contains("after its most frequent token, \"the\", and without an end"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stdout.contains(" context=\"the\" context_is=most-frequent-token end=none\n"));
    let rows = format!("0\t1\t2\t0\t{}\t{bits}\t{bits}\n1\t2\t0\t0\t0\tNaN\tNaN\n", -3.0 * LN_2, bits = 3.0 / 7.0);
    assert_same(outcome.stdout.split_once("per_byte\n").expect("columns").1, &rows);
    // without an end, both perplexities of SRILM are over the words, and kenlm has no </s>
    let srilm = score(&dir, &["--format", "srilm"]);
    assert!(
        srilm.contains("1 sentences, 2 words, 0 OOVs\n0 zeroprobs, logprob= -0.90309 ppl= 2.82843 ppl1= 2.82843\n")
    );
    assert!(!score(&dir, &["--format", "kenlm"]).contains("</s>"));
    let json = objects(&score(&dir, &["--format", "jsonl"]));
    assert!(json[1]["bits_per_char"].is_null() && json[1]["logprob"] == 0.0, "{}", json[1]);
}

#[test]
fn documents_between_blank_lines_are_scored_as_a_whole() {
    let tokens = [("<unk>", 3.0), ("<eos>", 2.0), ("a", 1.0), ("\n", 3.0)];
    let dir = unigram("char", "blank-lines", &tokens);
    dir.write("text.txt", "a\na\n\n \naa\n");
    let found = objects(&score(&dir, &["--format", "jsonl", "--base", "2", "--text"]));
    let column = |name: &str| found.iter().map(|object| object[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("line"), [1, 5]);
    assert_eq!(column("text"), ["a\na", "aa"]);
    // a, a line end, a, the end; a, a, the end
    let bits: Vec<f64> = found.iter().filter_map(|object| object["logprob_2"].as_f64()).collect();
    assert!((bits[0] + 7.0).abs() < 1e-6 && (bits[1] + 4.0).abs() < 1e-6, "{bits:?}");
}

#[test]
fn the_header_names_the_model_that_is_used() {
    let dir = TestDir::new();
    dir.write("text.txt", "ann\nbob\n".repeat(60));
    let train = ["train", "--quiet", "--corpus", "text.txt", "--out", "run", "--val-fraction", "0.3", "--lr", "20"];
    let sizes = ["--hidden-size", "8", "--batch-size", "2", "--num-steps", "5", "--epochs", "4"];
    dir.run(&[&train[..], &sizes].concat()).succeeded();
    for (flag, file) in [("--quiet", "run/model.safetensors"), ("--best", "run/best.safetensors")] {
        let header = score(&dir, &[flag]);
        assert!(header.starts_with(&format!("# model={} ", digest(&dir, file))), "{flag}: {header}");
    }
}
