//! `rnnlm generate`: samples, filters, ends of texts, beams, constraints and JSON.

use serde_json::Value;

use crate::support::{Outcome, TestDir};

const SMALL: [&str; 9] = ["--quiet", "--epochs", "4", "--hidden-size", "12", "--batch-size", "4", "--num-steps", "8"];

/// A run on names, as documents.
fn names() -> TestDir {
    let dir = TestDir::new();
    let names: Vec<String> = (0..200)
        .map(|n| {
            format!("{}{}n{}\n", ["M", "L", "An"][n % 3], ["a", "io", "e"][n / 3 % 3], ["a", "ix", "and"][n / 9 % 3])
        })
        .collect();
    dir.write("names.txt", names.concat());
    let args = ["train", "--corpus", "names.txt", "--out", "run", "--documents", "lines", "--normalize", "none"];
    dir.run(&[&args[..], &SMALL[..]].concat()).succeeded();
    dir
}

fn generate(dir: &TestDir, args: &[&str]) -> Outcome {
    dir.run(&[&["generate", "run"], args].concat())
}

/// The objects of JSON lines.
#[track_caller]
fn objects(outcome: &Outcome) -> Vec<Value> {
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object per line")).collect()
}

#[test]
fn samples_do_not_depend_on_the_number_of_samples_prefixes_or_threads() {
    let dir = names();
    let jsonl = |args: &[&str]| {
        let outcome = generate(&dir, &[&["--temperature", "1", "--seed", "3", "--format", "jsonl"], args].concat());
        objects(&outcome.succeeded())
    };
    let prefixes = ["--prefix", "M", "--prefix", "", "--prefix", "An"];
    let all = jsonl(&[&prefixes[..], &["--num-samples", "70", "--threads", "2"]].concat());
    assert_eq!(all.len(), 210);
    let order: Vec<_> = all.iter().map(|object| (object["prefix_index"].as_u64(), object["sample"].as_u64())).collect();
    assert!(order.is_sorted() && order[209] == (Some(2), Some(69)), "{order:?}");
    assert_eq!(all, jsonl(&[&prefixes[..], &["--num-samples", "70", "--threads", "1"]].concat()));
    let few = jsonl(&[&prefixes[..4], &["--num-samples", "5"]].concat());
    assert_eq!(few[..5], all[..5]);
    assert_eq!(few[5..], all[70..75]);
    assert_eq!(jsonl(&["--prefix", "M"]), all[..1]);
    // equal prefixes have different samples, and the first has those of a single prefix
    let equal = jsonl(&["--prefix", "M", "--prefix", "M", "--num-samples", "5"]);
    let texts = |objects: &[Value]| objects.iter().map(|object| object["text"].clone()).collect::<Vec<_>>();
    assert_eq!(equal[..5], all[..5]);
    assert_ne!(texts(&equal[5..]), texts(&all[..5]));
    let texts: std::collections::BTreeSet<_> = all.iter().map(|object| object["text"].as_str()).collect();
    assert!(texts.len() > 20, "{texts:?}");
}

#[test]
fn a_run_on_documents_generates_whole_documents() {
    let dir = names();
    let text = generate(&dir, &["--temperature", "1", "--num-samples", "20"]).succeeded().stdout;
    assert_eq!(text.lines().count(), 20);
    let objects = objects(&generate(&dir, &["--temperature", "1", "--num-samples", "20", "--format", "jsonl"]));
    for (line, object) in text.lines().zip(&objects) {
        assert_eq!((object["text"].as_str(), object["finish_reason"].as_str()), (Some(line), Some("document")));
        // the total has the end of the document, too
        let tokens: f64 =
            object["log_probabilities"].as_array().expect("numbers").iter().filter_map(Value::as_f64).sum();
        assert!(object["log_probability"].as_f64().expect("a number") < tokens);
    }
    let one = generate(&dir, &["--temperature", "1"]).succeeded().stdout;
    assert_eq!(one.lines().collect::<Vec<_>>(), [text.lines().next().expect("a line")]);
    let across = generate(&dir, &["--temperature", "1", "--across-documents", "--num-tokens", "40"]).succeeded().stdout;
    assert!(across.starts_with(&one) && across.lines().count() > 3, "{across}");
    let limited = generate(&dir, &["--temperature", "1", "--num-tokens", "2", "--format", "json"]).succeeded().json();
    assert_eq!((limited["finish_reason"].as_str(), limited["num_tokens"].as_u64()), (Some("length"), Some(2)));
}

#[test]
fn unknown_tokens_are_generated_only_on_request() {
    let dir = names();
    let args = ["--temperature", "8", "--across-documents", "--num-tokens", "300"];
    let without = generate(&dir, &args).succeeded().stdout;
    assert!(!without.contains("<unk>"));
    let with = generate(&dir, &[&args[..], &["--allow-unknown"]].concat()).succeeded().stdout;
    let (before, _) = with.split_once("<unk>").expect("one token in ten");
    // the same text up to the first one
    assert!(without.starts_with(before) && !before.is_empty(), "{with} {without}");
}

#[test]
fn texts_end_before_a_stop_text_which_is_never_printed() {
    let dir = names();
    let args = ["--temperature", "1", "--num-samples", "40", "--format", "jsonl"];
    let all = objects(&generate(&dir, &args).succeeded());
    let stopped = objects(&generate(&dir, &[&args[..], &["--stop", "nix", "--stop", "an"]].concat()).succeeded());
    let mut num_stopped = 0;
    for (all, stopped) in all.iter().zip(&stopped) {
        let (all, text) = (all["text"].as_str().expect("text"), stopped["text"].as_str().expect("text"));
        let end = [all.find("nix"), all.find("an")].into_iter().flatten().min();
        assert_eq!(text, &all[..end.unwrap_or(all.len())]);
        assert_eq!(stopped["finish_reason"], if end.is_some() { "stop" } else { "document" });
        num_stopped += usize::from(end.is_some());
    }
    assert!(num_stopped > 5, "{num_stopped}");
}

#[test]
fn new_and_unique_texts_replace_those_that_are_not() {
    let dir = names();
    let args = ["--temperature", "2", "--num-samples", "30"];
    let all = generate(&dir, &args).succeeded().stdout;
    let args = [&args[..], &["--unique", "--not-in", "names.txt"]].concat();
    let new = generate(&dir, &args).succeeded().stdout;
    let names = std::fs::read_to_string(dir.path("names.txt")).expect("names");
    let mut lines: Vec<&str> = new.lines().collect();
    assert!(lines.iter().all(|line| !names.lines().any(|name| name == *line)), "{new}");
    // the first texts that are new keep their order
    let kept: Vec<&str> = all.lines().filter(|line| !names.lines().any(|name| name == *line)).collect();
    assert_eq!(lines[..2], kept[..2]);
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 30);
    let few = generate(&dir, &["--temperature", "0.001", "--num-samples", "5", "--unique"]);
    assert_eq!(few.stdout.lines().count(), 1);
    few.failed(1, &["only 1 of 5 texts are new after 500 samples", "raise --temperature"]);
}

#[test]
fn a_thousand_of_a_thousand_texts_match_a_regular_expression() {
    let dir = names();
    let args = ["--temperature", "1.5", "--num-samples", "1000", "--format", "jsonl", "--regex"];
    let outcome = generate(&dir, &[&args[..], &["[AML][a-z]{2,4}(and|ix)"]].concat()).succeeded();
    let objects = objects(&outcome);
    assert_eq!(objects.len(), 1000);
    for object in &objects {
        let text = object["continuation"].as_str().expect("text");
        let stem = text.strip_suffix("and").or(text.strip_suffix("ix")).expect(text);
        assert!(stem.starts_with(['A', 'M', 'L']) && (3..=5).contains(&stem.len()), "{text}");
        assert!(stem[1..].bytes().all(|byte| byte.is_ascii_lowercase()), "{text}");
        assert_eq!(object["finish_reason"], "document");
    }
    // the last token is one that finishes
    let limited = [&args[..], &["[a-z]*ix", "--num-tokens", "4"]].concat();
    for object in self::objects(&generate(&dir, &limited).succeeded()) {
        let text = object["continuation"].as_str().expect("text");
        assert!(text.ends_with("ix") && text.len() <= 4, "{text}");
    }
}

#[test]
fn a_regular_expression_that_cannot_be_matched_is_an_error() {
    let dir = names();
    let regex =
        |regex: &str, more: &[&str]| generate(&dir, &[&["--temperature", "1", "--regex", regex], more].concat());
    regex("[0-9]+", &[]).failed(2, &["`[0-9]+` matches no sequence", "allowed `char` tokens", "hint: the tokens"]);
    regex("(", &[]).failed(2, &["`(` cannot be used: unclosed group"]);
    regex("M.*", &["--ban", "M"]).failed(2, &["matches no sequence"]);
    let short = regex("[a-z]{30}", &["--num-tokens", "10", "--format", "json"]);
    assert_eq!(short.json()["finish_reason"], "length");
    assert_eq!(short.json()["num_tokens"], 10);
    short.failed(1, &["needs at least 30 tokens", "--num-tokens 10", "use --num-tokens 60"]);
    regex("a", &["--stop", "b"]).failed(2, &["--regex a and --stop \"b\" cannot be used together"]);
}

#[test]
fn a_beam_prints_the_most_probable_texts_with_their_scores() {
    let dir = names();
    let outcome = generate(&dir, &["--beam", "12", "--num-results", "3"]).succeeded();
    let lines: Vec<Vec<&str>> = outcome.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert!(lines.len() == 3 && lines.iter().all(|fields| fields.len() == 3), "{}", outcome.stdout);
    let json = generate(&dir, &["--beam", "12", "--num-results", "3", "--format", "json"]).succeeded().json();
    for (fields, object) in lines.iter().zip(json.as_array().expect("an array")) {
        assert_eq!(object["text"], fields[2]);
        let number = |name: &str| object[name].as_f64().expect("a number");
        assert_eq!(format!("{:.4}\t{:.4}", number("score"), number("log_probability")), fields[..2].join("\t"));
        // the end of the document counts
        let length = number("num_tokens") + 1.0;
        assert!((number("score") - number("log_probability") / length.powf(0.75)).abs() < 1e-12);
    }
    let scores: Vec<f64> = lines.iter().map(|fields| fields[0].parse().expect("a number")).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let constrained = generate(&dir, &["--beam", "4", "--regex", "L.*and"]).succeeded().stdout;
    assert!(constrained.starts_with('L') && constrained.trim_end().ends_with("and"), "{constrained}");
    let one = generate(&dir, &["--beam", "1"]).succeeded().stdout;
    assert_eq!(one, generate(&dir, &[]).succeeded().stdout);
}

#[test]
fn biases_and_bans_change_tokens() {
    let dir = names();
    let args = ["--temperature", "1", "--num-samples", "30"];
    let banned = generate(&dir, &[&args[..], &["--ban", "a", "--ban", "M"]].concat()).succeeded().stdout;
    assert!(!banned.contains(['a', 'M']) && banned.contains('L'), "{banned}");
    let biased = generate(&dir, &[&args[..], &["--logit-bias", "L=20"]].concat()).succeeded().stdout;
    assert!(biased.starts_with("LLLL"), "{biased}");
    // a line end is the end of the document
    let empty = generate(&dir, &[&args[..], &["--logit-bias", "\\n=50"]].concat()).succeeded().stdout;
    assert_eq!(empty, "\n".repeat(30));
    let missing = generate(&dir, &["--logit-bias", "q=1"]);
    missing.failed(2, &["--logit-bias q=1: the vocabulary of", "has no `q`", "vocab.json"]);
    generate(&dir, &["--ban", "Ma"]).failed(2, &["--ban Ma", "has no `Ma`"]);
    generate(&dir, &["--logit-bias", "a"]).failed(2, &["expected TOKEN=X"]);
    let all: Vec<&str> =
        ["A", "M", "L", "n", "i", "o", "a", "e", "x", "d", "\\n"].iter().flat_map(|t| ["--ban", t]).collect();
    generate(&dir, &all).failed(1, &["all of them are banned", "leave out --ban"]);
}

#[test]
fn filters_are_applied_and_can_be_ordered() {
    let dir = names();
    let sample = |more: &[&str]| {
        let args = ["--temperature", "3", "--num-samples", "50", "--num-tokens", "12"];
        generate(&dir, &[&args[..], more].concat()).succeeded().stdout
    };
    let all = sample(&[]);
    for filter in [&["--top-k", "2"][..], &["--top-p", "0.6"], &["--min-p", "0.7"], &["--typical", "0.5"]] {
        assert_ne!(sample(filter), all, "{filter:?}");
    }
    let penalties =
        [["--repetition-penalty", "4"], ["--presence-penalty", "3"], ["--frequency-penalty", "2"]].map(|x| sample(&x));
    assert!(penalties.iter().all(|text| *text != all));
    assert_eq!(sample(&["--top-k", "1"]), sample(&["--top-p", "0.0001"]));
    let first = sample(&["--top-p", "0.6"]);
    let last = sample(&["--top-p", "0.6", "--samplers", "top_p;temperature"]);
    assert_ne!(first, last);
    assert_eq!(first, sample(&["--top-p", "0.6", "--samplers", "temperature,top-p"]));
}

#[test]
fn json_has_ids_alternatives_and_bytes() {
    let dir = TestDir::new();
    dir.write("text.txt", [b"\xFF\xE2\x82".repeat(200), b"abc".repeat(50)].concat());
    let args = ["train", "--corpus", "text.txt", "--out", "run", "--token", "byte"];
    dir.run(&[&args[..], &SMALL[..]].concat()).succeeded();
    let args = ["--prefix", "\\xff", "--temperature", "1", "--num-tokens", "30", "--format", "json", "--logprobs", "3"];
    let object = generate(&dir, &args).succeeded().json();
    let tokens = object["tokens"].as_array().expect("tokens");
    let bytes: Vec<u8> = tokens
        .iter()
        .map(|token| match token.as_str().expect("a token") {
            "<0xFF>" => 0xFF,
            "<0xE2>" => 0xE2,
            "<0x82>" => 0x82,
            token => u8::from_str_radix(&token[3..5], 16).expect(token),
        })
        .collect();
    assert!(std::str::from_utf8(&bytes).is_err());
    let encoded = object["continuation_base64"].as_str().expect("bytes that are not text");
    assert_eq!(decode_base64(encoded), bytes);
    assert_eq!(decode_base64(object["text_base64"].as_str().expect("bytes")), [b"\xFF", &bytes[..]].concat());
    assert_eq!(object["text"].as_str().expect("text"), String::from_utf8_lossy(&[b"\xFF", &bytes[..]].concat()));
    let alternatives = object["alternatives"].as_array().expect("alternatives");
    assert!(alternatives.len() == 30 && alternatives.iter().all(|list| list.as_array().is_some_and(|x| x.len() == 3)));
    let chosen = |index: usize| {
        let id = &object["ids"][index];
        alternatives[index].as_array().expect("a list").iter().find(|token| token["id"] == *id).cloned()
    };
    let compared = (0..30).filter_map(|index| Some((index, chosen(index)?)));
    let mut count = 0;
    for (index, token) in compared {
        assert_eq!(token["log_probability"], object["log_probabilities"][index]);
        count += 1;
    }
    assert!(count > 5);
}

/// The inverse of base64, as RFC 4648 defines it.
fn decode_base64(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = text
        .trim_end_matches('=')
        .chars()
        .map(|c| format!("{:06b}", alphabet.find(c).expect("a character of the alphabet")))
        .collect();
    (0..bits.len() / 8).map(|n| u8::from_str_radix(&bits[8 * n..8 * n + 8], 2).expect("bits")).collect()
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_both_values() {
    let dir = names();
    let cases: [(&[&str], &str); 16] = [
        (&["--num-samples", "3"], "--num-samples 3 has no effect at --temperature 0"),
        (&["--top-k", "5"], "--top-k 5 has no effect at --temperature 0"),
        (&["--unique"], "--unique has no effect at --temperature 0"),
        (&["--temperature", "1", "--top-k", "5", "--samplers", "temperature"], "leaves out --top-k 5"),
        (&["--temperature", "2", "--samplers", "top-k"], "leaves out --temperature 2"),
        (&["--temperature", "2", "--samplers", "temperature,temperature"], "has temperature twice"),
        (&["--temperature", "2", "--samplers", "topk"], "`topk` is no filter; the filters are"),
        (&["--beam", "2", "--num-results", "3"], "--num-results 3 exceeds --beam 2"),
        (&["--beam", "2", "--temperature", "1"], "--beam 2 and --temperature 1 cannot be used together"),
        (&["--beam", "2", "--num-samples", "4"], "--beam 2 and --num-samples 4 cannot be used together"),
        (&["--num-results", "3"], "--beam <K>"),
        (&["--logprobs", "2"], "--logprobs 2 needs JSON, and --format is text"),
        (&["--top-p", "1.5"], "must be above 0 and at most 1"),
        (&["--min-p", "-0.5"], "must be between 0 and 1"),
        (&["--repetition-penalty", "0"], "must be finite and above 0"),
        (&["--stop", ""], "must not be empty"),
    ];
    for (args, words) in cases {
        let outcome = generate(&dir, args);
        assert_eq!(outcome.stdout, "");
        outcome.failed(2, &[words]);
    }
    // 1 is the model's own distribution, so it may be left out of the order
    generate(&dir, &["--temperature", "1", "--top-k", "3", "--samplers", "top-k"]).succeeded();
    for flag in ["--until-document-end", "--across-documents"] {
        generate(&dir, &[flag]).succeeded();
    }
}

#[test]
fn a_run_on_a_stream_has_no_document_end() {
    let dir = TestDir::new();
    dir.train(&[]).succeeded();
    for flag in ["--until-document-end", "--across-documents"] {
        generate(&dir, &[flag]).failed(2, &[flag, "needs a run on documents", "--documents none", "--stop"]);
    }
    // a stream ends at the limit, or where the expression allows no more
    let ends = |regex: &str| {
        let args = ["--temperature", "1", "--num-tokens", "20", "--format", "json", "--regex", regex];
        let object = generate(&dir, &args).succeeded().json();
        (object["finish_reason"].clone(), object["num_tokens"].clone())
    };
    assert_eq!(ends("[a-z ]+"), ("length".into(), 20.into()));
    assert_eq!(ends("[a-z]{3}"), ("stop".into(), 3.into()));
    assert_eq!(ends(""), ("stop".into(), 0.into()));
}
