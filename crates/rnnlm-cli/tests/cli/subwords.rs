//! Subwords: `rnnlm corpus bpe`, `--tokenizer`, and runs that have a tokenizer.json.

use serde_json::{Value, json};

use crate::support::{Outcome, TestDir};

const TEXT: &str = include_str!("../../../../data/sample.txt");

fn train(dir: &TestDir, out: &str, more: &[&str]) -> Outcome {
    let flags = ["train", "--quiet", "--hidden-size", "8", "--epochs", "2", "--batch-size", "2", "--num-steps", "5"];
    dir.run(
        &[&flags[..], &["--threads", "1", "--corpus", "text.txt", "--max-tokens", "0", "--out", out], more].concat(),
    )
}

fn read(dir: &TestDir, name: &str) -> Vec<u8> {
    std::fs::read(dir.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_run_has_a_tokenizer_json() {
    let dir = TestDir::new();
    dir.write("text.txt", TEXT);
    for token in ["char", "word", "byte", "word-punct"] {
        train(&dir, token, &["--token", token]).succeeded();
        let tokenizer: Value = serde_json::from_slice(&read(&dir, &format!("{token}/tokenizer.json"))).unwrap();
        let vocab: Value = serde_json::from_slice(&read(&dir, &format!("{token}/vocab.json"))).unwrap();
        let (ids, tokens) = (&tokenizer["model"]["vocab"], vocab["tokens"].as_array().unwrap());
        assert_eq!(ids.as_object().unwrap().len(), tokens.len());
        assert_eq!(ids["<unk>"], json!(0));
        if token != "byte" {
            let has_id = |(id, token): (usize, &Value)| ids[token.as_str().unwrap()] == json!(id);
            assert!(tokens.iter().enumerate().all(has_id), "{token}");
        }
        // no other program reads it from the run, and a run without it is complete
        std::fs::remove_file(dir.path(&format!("{token}/tokenizer.json"))).unwrap();
        dir.run(&["eval", token, "--corpus", "text.txt"]).succeeded();
    }
}

#[test]
fn results_are_given_in_bits_per_character_and_byte() {
    let dir = TestDir::new();
    dir.write("text.txt", "é".repeat(20) + &"ab ".repeat(40));
    let json = train(&dir, "run", &["--format", "json", "--val-fraction", "0.2"]).succeeded().json();
    let number = |name: &str| json[name].as_f64().unwrap_or_else(|| panic!("{name} in {json}"));
    // 140 characters of 160 bytes; a character is a token
    let bits = number("perplexity").log2();
    assert!((number("bits_per_char") - bits).abs() < 1e-9);
    assert!((number("bits_per_byte") - bits * 140.0 / 160.0).abs() < 1e-9);
    // the validation set is at the end, where each character is a byte
    let bits = number("val_perplexity").log2();
    assert!((number("val_bits_per_char") - bits).abs() < 1e-9);
    assert!((number("val_bits_per_byte") - bits).abs() < 1e-9);
    let outcome = train(&dir, "other", &["--token", "byte"]).succeeded();
    assert!(outcome.stdout.contains(" bits per char, "), "{}", outcome.stdout);
    let plot = dir.run(&["plot", "run", "other", "--out", "chart.svg"]).succeeded();
    assert!(
        plot.stdout.contains("run: perplexity ") && plot.stdout.contains("; validation perplexity "),
        "{}",
        plot.stdout
    );
    assert!(plot.stderr.contains("the runs have different tokens"), "{}", plot.stderr);
    let plot = dir.run(&["plot", "run", "other", "--per", "byte", "--out", "chart.svg"]).succeeded();
    assert_eq!(plot.stderr, "");
    let chart = String::from_utf8(read(&dir, "chart.svg")).expect("SVG");
    assert!(chart.contains(">perplexity per byte (logarithmic scale)<"));
}

#[cfg(not(feature = "subwords"))]
#[test]
fn a_program_without_subwords_says_so() {
    let dir = TestDir::new();
    dir.write("text.txt", TEXT);
    dir.write("tokenizer.json", "{}");
    let words = ["this program is built without", "--features subwords"];
    dir.run(&["corpus", "bpe", "text.txt", "--out", "new.json"]).failed(1, &words);
    train(&dir, "run", &["--tokenizer", "tokenizer.json"]).failed(1, &words);
    assert!(!dir.path("run").exists() && !dir.path("new.json").exists());
}

#[cfg(feature = "subwords")]
mod with_tokenizer {
    use super::*;

    fn dir() -> TestDir {
        let dir = TestDir::new();
        dir.write("text.txt", TEXT);
        dir.run(&["corpus", "bpe", "text.txt", "--vocab-size", "400", "--out", "tokenizer.json", "--quiet"])
            .succeeded();
        dir
    }

    #[test]
    fn the_tokenizer_is_the_same_for_any_number_of_threads() {
        let dir = TestDir::new();
        dir.write("text.txt", TEXT);
        dir.write("more.txt", TEXT.to_uppercase());
        let files: Vec<Vec<u8>> = ["1", "2", "3"]
            .into_iter()
            .map(|threads| {
                let name = format!("{threads}.json");
                let args = ["corpus", "bpe", "text.txt", "more.txt", "--vocab-size", "3000", "--out", &name];
                let output = dir.command(&args).env("RAYON_NUM_THREADS", threads).output().expect("the command");
                Outcome::of(output).succeeded();
                read(&dir, &name)
            })
            .collect();
        assert!(files[0] == files[1] && files[1] == files[2]);
    }

    #[test]
    fn a_run_of_subwords_trains_scores_and_generates() {
        let dir = dir();
        let summary = train(&dir, "run", &["--tokenizer", "tokenizer.json"]).succeeded();
        assert!(summary.stdout.contains(" bits per byte"), "{}", summary.stdout);
        assert_eq!(read(&dir, "run/tokenizer.json"), read(&dir, "tokenizer.json"));
        let vocab: Value = serde_json::from_slice(&read(&dir, "run/vocab.json")).unwrap();
        assert_eq!((&vocab["token_kind"], &vocab["format_version"]), (&json!("subword"), &json!(5)));

        let eval = dir.run(&["eval", "run", "--corpus", "text.txt", "--format", "json"]).succeeded().json();
        assert_eq!(eval["unknown_tokens"], json!(0));
        let tokens = eval["tokens"].as_f64().unwrap();
        assert!(tokens < TEXT.len() as f64 / 1.5, "{tokens} tokens");
        let nats = eval["nats"].as_f64().unwrap();
        let bytes = nats / std::f64::consts::LN_2 / eval["bits_per_byte"].as_f64().unwrap();
        // the first token of a stream is not scored
        assert!(bytes < TEXT.len() as f64 && bytes > TEXT.len() as f64 - 30.0, "{bytes} of {} bytes", TEXT.len());

        // the places of the tokens cover the document; several can be in one character
        dir.write("one.txt", "the time é 東京\n");
        let score = dir.run(&["score", "run", "one.txt", "--tokens", "--format", "jsonl"]).succeeded();
        let tokens: Vec<Value> = score.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let places: Vec<[u64; 2]> = tokens
            .iter()
            .map(|token| {
                ["byte_start", "byte_end"].map(|name| token[name].as_u64().unwrap_or_else(|| panic!("{token}")))
            })
            .collect();
        assert_eq!((places[0][0], places.last().unwrap()[1]), (0, "the time é 東京".len() as u64));
        assert!(places.windows(2).all(|pair| pair[1][0] <= pair[0][1]), "{places:?}");

        // generated text is UTF-8 when it is printed, and a constraint holds although tokens have several characters
        let args = ["generate", "run", "--prefix", "the t", "--num-tokens", "20", "--temperature", "1", "--seed", "3"];
        let text = dir.run(&args).succeeded().stdout;
        assert!(text.starts_with("the t"), "{text}");
        let regex = "(the|a) [a-z]{3,9}, [a-z]+\\.";
        let args = ["generate", "run", "--prefix", "So ", "--regex", regex, "--num-tokens", "40", "--temperature", "1"];
        let text = dir.run(&args).succeeded().stdout;
        let generated = text.trim_end_matches('\n').strip_prefix("So ").unwrap_or_else(|| panic!("{text}"));
        let (article, rest) = generated.split_once(' ').unwrap();
        assert!(["the", "a"].contains(&article) && rest.contains(", ") && rest.ends_with('.'), "{generated}");
        // a bias finds a token by its text
        let args = ["generate", "run", "--prefix", "So", "--num-tokens", "3", "--logit-bias", " the=100"];
        assert_eq!(dir.run(&args).succeeded().stdout.trim_end(), "So the the the");
        dir.run(&["generate", "run", "--logit-bias", " tthe=100"]).failed(2, &["has no ` tthe`"]);
    }

    #[test]
    fn documents_end_with_the_end_token_of_the_tokenizer() {
        let dir = TestDir::new();
        dir.write("text.txt", "anna\nhannah <eos>\nbob\n".repeat(30));
        dir.run(&["corpus", "bpe", "text.txt", "--vocab-size", "270", "--out", "tokenizer.json"]).succeeded();
        train(&dir, "run", &["--tokenizer", "tokenizer.json", "--documents", "lines", "--val-fraction", "0.1"])
            .succeeded();
        let args = ["generate", "run", "--num-tokens", "30", "--temperature", "1", "--num-samples", "2"];
        dir.run(&args).succeeded();
        // a text cannot have the end token: it is five bytes here
        dir.write("one.txt", "hannah <eos>\n");
        let eval = dir.run(&["eval", "run", "--corpus", "one.txt", "--format", "json"]).succeeded().json();
        assert_eq!(eval["documents"], json!(1));
        dir.run(&["score", "run", "text.txt"]).succeeded();
    }

    #[test]
    fn a_token_cache_has_the_ids_of_the_tokenizer() {
        let dir = dir();
        dir.run(&["corpus", "build", "text.txt", "--tokenizer", "tokenizer.json", "--out", "cache"]).succeeded();
        train(&dir, "memory", &["--tokenizer", "tokenizer.json"]).succeeded();
        let flags =
            ["train", "--quiet", "--hidden-size", "8", "--epochs", "2", "--batch-size", "2", "--num-steps", "5"];
        dir.run(&[&flags[..], &["--threads", "1", "--corpus", "cache", "--out", "cached"]].concat()).succeeded();
        assert!(read(&dir, "memory/model.safetensors") == read(&dir, "cached/model.safetensors"));
        dir.run(&["corpus", "bpe", "text.txt", "--vocab-size", "300", "--out", "other.json"]).succeeded();
        let args = ["corpus", "build", "text.txt", "--tokenizer", "other.json", "--out", "cache"];
        dir.run(&args).failed(4, &["its vocabulary is another one"]);
    }

    #[test]
    fn a_resumed_run_checks_its_tokenizer() {
        let dir = dir();
        train(&dir, "run", &["--tokenizer", "tokenizer.json"]).succeeded();
        let resume =
            |more: &[&str]| dir.run(&[&["train", "--quiet", "--resume", "run", "--epochs", "3"], more].concat());
        dir.run(&["corpus", "bpe", "text.txt", "--vocab-size", "300", "--out", "other.json"]).succeeded();
        resume(&["--tokenizer", "other.json"]).failed(1, &["`other.json` is not the tokenizer of `run`"]);
        resume(&["--tokenizer", "tokenizer.json"]).succeeded();
        // a changed or missing file is damage
        let json = read(&dir, "run/tokenizer.json");
        dir.write("run/tokenizer.json", [&json[..], b" "].concat());
        let words = ["`run/tokenizer.json` is damaged", "not the tokenizer that vocab.json has"];
        for args in [&["eval", "run", "--corpus", "text.txt"][..], &["generate", "run"], &["train", "--resume", "run"]]
        {
            dir.run(args).failed(4, &words);
        }
        std::fs::remove_file(dir.path("run/tokenizer.json")).unwrap();
        assert_ne!(dir.run(&["eval", "run", "--corpus", "text.txt"]).code, Some(0));
        dir.write("run/tokenizer.json", json);
        dir.run(&["eval", "run", "--corpus", "text.txt"]).succeeded();
        train(&dir, "chars", &[]).succeeded();
        dir.run(&["train", "--resume", "chars", "--tokenizer", "tokenizer.json"]).failed(4, &["`kind` is \"char\""]);
    }

    #[test]
    fn a_tokenizer_that_does_not_fit_is_refused_before_anything_is_written() {
        let dir = dir();
        let mut file: Value = serde_json::from_slice(&read(&dir, "tokenizer.json")).unwrap();
        let refuses = |name: &str, more: &[&str], code: i32, words: &[&str]| {
            train(&dir, "run", &[&["--tokenizer", name], more].concat()).failed(code, words);
            assert!(!dir.path("run").exists());
        };
        refuses("missing.json", &[], 1, &["`missing.json` could not be read"]);
        dir.write("broken.json", "{\"model\": {");
        refuses("broken.json", &[], 1, &["`broken.json` cannot be used: it is not JSON", "line 1"]);
        dir.write("latin1.json", b"\"\xE9\"");
        refuses("latin1.json", &[], 1, &["not UTF-8 at offset 1"]);
        dir.write("vocab.json", "{\"a\": 0}");
        refuses("vocab.json", &[], 1, &["it is not a tokenizer.json"]);
        file["added_tokens"][0]["id"] = json!(5000);
        file["model"]["vocab"]["<eos>"] = json!(5000);
        dir.write("beyond.json", file.to_string());
        refuses("beyond.json", &[], 1, &["`<eos>` has the id 5000, but there are 400 tokens"]);
        refuses("tokenizer.json", &["--token", "word"], 2, &["--tokenizer and --token cannot be used together"]);
        refuses("tokenizer.json", &["--normalize", "lower"], 2, &["--tokenizer and --normalize"]);
        refuses("tokenizer.json", &["--vocab", "other"], 2, &["cannot be used with"]);
        dir.write("text.txt", b"caf\xE9");
        refuses("tokenizer.json", &[], 1, &["is not UTF-8"]);
    }

    #[test]
    fn a_tokenizer_is_not_overwritten_unless_forced() {
        let dir = dir();
        let bpe = |more: &[&str]| dir.run(&[&["corpus", "bpe", "text.txt", "--vocab-size", "300"], more].concat());
        let before = read(&dir, "tokenizer.json");
        bpe(&["--out", "tokenizer.json"]).failed(1, &["`tokenizer.json` already exists", "--force"]);
        assert_eq!(read(&dir, "tokenizer.json"), before);
        bpe(&["--out", "tokenizer.json", "--force"]).succeeded();
        assert_ne!(read(&dir, "tokenizer.json"), before);
        bpe(&["--out", "text.txt", "--force"]).failed(1, &["`text.txt` is not a tokenizer.json"]);
        assert_eq!(read(&dir, "text.txt"), TEXT.as_bytes());
        bpe(&["--out", "missing/tokenizer.json"]).failed(1, &["cannot be written"]);
        let args = ["corpus", "bpe", "text.txt", "--vocab-size", "100", "--out", "new.json"];
        dir.run(&args).failed(2, &["the vocabulary size is 100, it must be from 257"]);
        dir.write("bad.txt", b"ab\xFF");
        dir.run(&["corpus", "bpe", "bad.txt", "--out", "new.json"]).failed(1, &["`bad.txt` is not UTF-8"]);
        assert!(!dir.path("new.json").exists());
        let leftover = std::fs::read_dir(dir.path("."))
            .unwrap()
            .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(".rnnlm-"));
        assert!(!leftover);
    }
}
