//! Progress within long epochs, prefixes and seeds by default, and what an interrupted run reports.

use std::fs;

use serde_json::Value;

use crate::support::{SMALL, TestDir};

/// Flags of a run whose epochs have thousands of steps and take milliseconds.
const MANY_STEPS: [&str; 10] =
    ["--hidden-size", "4", "--batch-size", "1", "--num-steps", "1", "--max-tokens", "3500", "--sample-every", "0"];

fn metrics(dir: &TestDir) -> Vec<Value> {
    let text = fs::read_to_string(dir.path("run/metrics.jsonl")).expect("metrics");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

#[test]
fn long_epochs_have_lines_that_carry_a_minibatch() {
    let dir = TestDir::new();
    dir.run(&[&["train", "--out", "run", "--epochs", "2", "--lr", "0.004"], &MANY_STEPS[..]].concat()).succeeded();
    let lines = metrics(&dir);
    let position = |line: &Value| (line["epoch"].as_u64(), line["minibatch"].as_u64());
    let expected =
        [1, 2].map(|epoch| [Some(1000), Some(2000), Some(3000), None].map(|minibatch| (Some(epoch), minibatch)));
    assert_eq!(lines.iter().map(position).collect::<Vec<_>>(), expected.concat());
    for line in &lines {
        assert_eq!(line["lr"].to_string(), "0.004");
        let all = line["num_minibatches"].as_u64();
        assert!(all.is_none_or(|all| (3498..=3499).contains(&all)) && all.is_some() == line["minibatch"].is_u64());
    }
    // the chart and the result have one point for each finished epoch
    let result = dir.run(&["train", "--resume", "run", "--quiet", "--format", "json"]).succeeded().json();
    assert_eq!(result["perplexity"], lines[7]["perplexity"]);
    let config = fs::read_to_string(dir.path("run/config.json")).expect("a configuration");
    assert!(config.contains("\"lr\": 0.004,"), "{config}");
}

#[test]
fn a_pipe_gets_few_lines_with_the_time_left() {
    let dir = TestDir::new();
    let outcome = dir.run(&[&["train", "--out", "run", "--epochs", "40"], &MANY_STEPS[..]].concat()).succeeded();
    let status: Vec<&str> = outcome.stderr.lines().filter(|line| line.starts_with("epoch ")).collect();
    assert!((1..5).contains(&status.len()), "{}", outcome.stderr);
    assert!(status[0].starts_with("epoch 1/40  perplexity ") && status[0].ends_with(" left"), "{}", status[0]);
    assert!(outcome.stderr.contains("save    every 10 epochs or 10 minutes"), "{}", outcome.stderr);
}

#[test]
#[cfg(unix)]
fn an_interrupted_first_epoch_reports_what_it_knows() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let dir = TestDir::new();
    dir.write("long.txt", "the tide comes in and the tide goes out. ".repeat(50_000));
    let flags =
        ["train", "--corpus", "long.txt", "--out", "run", "--format", "json", "--batch-size", "1", "--num-steps"];
    let mut command = dir.command(&[&flags[..], &["2", "--hidden-size", "8"]].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command");
    let start = Instant::now();
    while !dir.path("run/metrics.jsonl").exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no line after 1000 minibatches");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill").success());
    let outcome = crate::support::Outcome::of(child.wait_with_output().expect("it ends"));
    let result = outcome.json();
    outcome.failed(130, &["interrupted after epoch 0 of 500", "minibatch steps", "rnnlm train --resume run`"]);
    assert!(result["perplexity"].as_f64().is_some_and(|perplexity| perplexity > 1.0), "{result}");
    assert!(result["tokens_per_second"].as_f64().is_some_and(|speed| speed > 0.0), "{result}");
    assert!(result["partial_epoch"]["minibatch"].as_u64().is_some_and(|minibatch| minibatch >= 1000), "{result}");
    // a run that stopped within its first epoch has a chart of its minibatches
    dir.run(&["plot", "run", "--out", "run.svg"]).succeeded();
}

#[test]
fn a_run_of_standard_input_says_how_to_resume() {
    let dir = TestDir::new();
    dir.write("text.txt", "the tide comes in and the tide goes out. ".repeat(100));
    let args = [&["train", "--quiet", "--corpus", "-", "--out", "run"], &SMALL[..8]].concat();
    let input = || fs::File::open(dir.path("text.txt")).expect("a text");
    let status = dir.command(&args).stdin(input()).stdout(std::process::Stdio::null()).status().expect("it ends");
    assert!(status.success());
    dir.run(&["train", "--quiet", "--resume", "run", "--corpus", "text.txt", "--epochs", "4"]).succeeded();
    let resume = ["train", "--quiet", "--resume", "run", "--epochs", "5"];
    let status = dir.command(&resume).stdin(input()).stdout(std::process::Stdio::null()).status().expect("it ends");
    assert!(status.success(), "the same text on standard input");
}

#[test]
fn the_default_prefix_is_that_of_the_run() {
    let dir = TestDir::new();
    dir.write("names.txt", "ann\nbob\ncarl\ndora\n".repeat(60));
    let train = |more: &[&str]| {
        let args = [&["train", "--quiet", "--corpus", "names.txt", "--force", "--format", "json"], &SMALL[..8], more];
        dir.run(&args.concat()).succeeded().json()
    };
    let samples = |result: &Value| result["samples"].as_object().expect("samples").keys().cloned().collect::<Vec<_>>();
    let generate = |run: &str| dir.run(&["generate", run, "--num-tokens", "4", "--format", "json"]).succeeded().json();
    // the start of a line
    assert_eq!(samples(&train(&["--out", "lines"])), [r"\n"]);
    assert_eq!(generate("lines")["prefix"], "\n");
    let text = dir.run(&["generate", "lines", "--num-tokens", "4"]).succeeded().stdout;
    assert!(!text.starts_with('\n') && text.trim_end().len() >= 3, "{text:?}");
    // the prefix that the run was trained with
    assert_eq!(samples(&train(&["--out", "bob", "--prefix", "bob", "--prefix", "ann"])), ["bob", "ann"]);
    assert_eq!(generate("bob")["prefix"], "bob");
    // words have no line ends, so the most frequent word is first
    train(&["--out", "words", "--token", "word"]);
    assert_eq!(generate("words")["prefix"], "");
    // the book's prefixes for the bundled text
    dir.train(&[]).succeeded();
    assert_eq!(generate("run")["prefix"], "time traveller");
}

#[test]
fn a_random_seed_is_drawn_and_printed() {
    let dir = TestDir::new();
    let small = [&["train", "--out", "run", "--format", "json", "--seed", "random"], &SMALL[..]].concat();
    let outcome = dir.run(&small).succeeded();
    let seed = outcome.json()["seed"].as_u64().expect("a seed");
    assert!(outcome.stderr.contains(&format!(", seed {seed}\n")), "{}", outcome.stderr);
    let other =
        dir.run(&[&["train", "--quiet", "--out", "other"], &SMALL[..], &["--seed", &seed.to_string()]].concat());
    other.succeeded();
    let models = ["run", "other"].map(|run| fs::read(dir.path(run).join("model.safetensors")).expect("a model"));
    assert!(models[0] == models[1]);
    let generate = |seed: &str| {
        dir.run(&["generate", "run", "--temperature", "1", "--seed", seed, "--format", "json"]).succeeded()
    };
    let random = generate("random");
    let seed = random.json()["seed"].as_u64().expect("a seed").to_string();
    assert_eq!(random.stderr, format!("seed    {seed}\n"));
    assert_eq!(generate(&seed).json(), random.json());
    dir.run(&["generate", "run", "--seed", "often"]).failed(2, &["expected a number or random"]);
}

#[test]
fn a_text_that_repeats_itself_gives_a_hint() {
    let dir = TestDir::new();
    dir.train(&[]).succeeded();
    let hint = "hint: the text repeats itself; --temperature";
    let greedy = dir.run(&["generate", "run", "--num-tokens", "200"]).succeeded();
    assert!(greedy.stderr.contains(hint), "{greedy:?}");
    let sampled = dir.run(&["generate", "run", "--num-tokens", "200", "--temperature", "1"]).succeeded();
    assert_eq!(sampled.stderr, "");
    assert_eq!(dir.run(&["generate", "run", "--num-tokens", "5"]).succeeded().stderr, "");
}

#[test]
fn a_run_without_validation_has_no_best_model() {
    let dir = TestDir::new();
    dir.train(&[]).succeeded();
    let words = ["`run` has no best model: it was trained without a validation set", "hint: omit --best"];
    dir.run(&["eval", "run", "--best", "--corpus", "sample"]).failed(1, &words);
    dir.run(&["generate", "run", "--best"]).failed(1, &words);
    let small: Vec<&str> = SMALL.chunks(2).filter(|pair| pair[0] != "--epochs").flatten().copied().collect();
    let untrained = ["train", "--quiet", "--out", "new", "--val-fraction", "0.2", "--epochs", "0"];
    dir.run(&[&untrained[..], &small].concat()).succeeded();
    dir.run(&["generate", "new", "--best"]).failed(1, &["no epoch has a perplexity on the validation set yet"]);
}

#[test]
fn a_plot_overlays_runs() {
    let dir = TestDir::new();
    dir.train(&["--val-fraction", "0.2"]).succeeded();
    dir.run(&[&["train", "--quiet", "--out", "a<b"], &SMALL[..]].concat()).succeeded();
    let chart = fs::read_to_string(dir.path("run/perplexity.svg")).expect("a chart");
    for words in [">training<", ">validation<", ">perplexity (logarithmic scale)<"] {
        assert!(chart.contains(words), "{words}");
    }
    let printed = dir.run(&["plot", "run", "a<b", "--out", "both.svg"]).succeeded().stdout;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!((lines.len(), lines[2]), (3, "chart both.svg"));
    assert!(lines[0].starts_with("run: perplexity ") && lines[1].starts_with("a<b: perplexity "), "{printed}");
    let chart = fs::read_to_string(dir.path("both.svg")).expect("a chart");
    for words in [">run<", ">run, validation<", ">a&lt;b<"] {
        assert!(chart.contains(words), "{words}");
    }
    assert_eq!(chart.matches("<polyline").count(), 3);
    dir.refuses_in_place(&["plot", "run", "--out", "run/config.json"], 2, &["does not end with .svg"]);
    dir.refuses_in_place(&["plot", "run", "missing", "--out", "x.svg"], 4, &["`missing` is not a run"]);
    dir.run(&[&["train", "--quiet", "--out", "empty", "--epochs", "0"], &SMALL[..2]].concat()).succeeded();
    dir.refuses_in_place(&["plot", "empty", "--out", "x.svg"], 1, &["no run has a perplexity to draw"]);
}
