//! Texts in all their formats: line ends, encodings, compression, normalization, and texts without an end.

use std::fs;

use serde_json::Value;

use crate::support::{Outcome, SMALL, TestDir};

/// Text with letters that are not ASCII, in lines.
const LINES: &str = "Crème brûlée für Ærøskøbing:\nthe tide comes in, and the tide goes out.\n";

/// Trains on `text.txt` with `more` in the folder `run`, and returns the result.
#[track_caller]
fn train(dir: &TestDir, run: &str, more: &[&str]) -> Value {
    let args = [&["train", "--quiet", "--corpus", "text.txt", "--out", run, "--format", "json"], &SMALL[..], more];
    dir.run(&args.concat()).succeeded().json()
}

/// The perplexity of the text `name`.
#[track_caller]
fn score(dir: &TestDir, run: &str, name: &str) -> (Value, Outcome) {
    let outcome = dir.run(&["eval", run, "--corpus", name, "--format", "json"]).succeeded();
    (outcome.json()["nats_per_token"].clone(), outcome)
}

fn vocab(dir: &TestDir, run: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.path(run).join("vocab.json")).expect("a vocabulary")).expect("JSON")
}

#[test]
fn a_run_converts_line_ends_in_every_text_that_it_reads() {
    let dir = TestDir::new();
    let unix = LINES.repeat(20);
    dir.write("unix.txt", &unix);
    dir.write("dos.txt", unix.replace('\n', "\r\n"));
    dir.write("mac.txt", unix.replace('\n', "\r"));
    dir.write("text.txt", unix.replace('\n', "\r\n"));
    let perplexity = train(&dir, "dos", &[])["perplexity"].clone();
    assert!(!vocab(&dir, "dos")["tokens"].to_string().contains("\\r"));
    let scores = ["unix.txt", "dos.txt", "mac.txt"].map(|name| score(&dir, "dos", name));
    for (nats, outcome) in &scores {
        assert_eq!((nats, outcome.stderr.as_str()), (&scores[0].0, ""));
    }
    // the same text with other line ends gives the same run, and resumes it
    dir.write("text.txt", &unix);
    assert_eq!(train(&dir, "unix", &[])["perplexity"], perplexity);
    dir.run(&["train", "--resume", "dos", "--epochs", "4", "--quiet"]).succeeded();
    let continued = dir.run(&["generate", "dos", "--prefix", "in\\x0d\\n", "--num-tokens", "0"]).succeeded();
    assert_eq!((continued.stdout.as_str(), continued.stderr.as_str()), ("in\n\n", ""));
    // a new run keeps the rule with the vocabulary
    dir.write("text.txt", unix.replace('\n', "\r\n"));
    let outcome =
        dir.run(&[&["train", "--init-from", "dos", "--corpus", "text.txt", "--out", "next"], &SMALL[2..]].concat());
    assert!(!outcome.succeeded().stderr.contains("not in the vocabulary of"));
    let keep = ["train", "--resume", "dos", "--line-ends", "keep", "--epochs", "5"];
    dir.run(&keep).failed(4, &[r#"`line_ends` is "lf" and not "keep""#]);
}

#[test]
fn line_ends_are_kept_on_request_and_for_bytes() {
    let dir = TestDir::new();
    dir.write("text.txt", LINES.repeat(20).replace('\n', "\r\n"));
    dir.write("unix.txt", LINES.repeat(20));
    train(&dir, "keep", &["--line-ends", "keep"]);
    assert!(vocab(&dir, "keep")["tokens"].to_string().contains("\\r"));
    let (_, outcome) = score(&dir, "keep", "unix.txt");
    assert!(
        outcome.stderr.contains("warning: the text has LF line endings, the training text has CRLF"),
        "{outcome:?}"
    );
    train(&dir, "byte", &["--token", "byte"]);
    assert!(vocab(&dir, "byte")["tokens"].to_string().contains("<0x0D>"));
    train(&dir, "converted", &["--token", "byte", "--line-ends", "lf"]);
    assert!(!vocab(&dir, "converted")["tokens"].to_string().contains("<0x0D>"));
    // the default of a flag contradicts no run
    dir.run(&["train", "--resume", "converted", "--token", "byte", "--epochs", "4", "--quiet"]).succeeded();
    dir.run(&["train", "--resume", "keep", "--epochs", "4", "--quiet"]).succeeded();
}

#[test]
fn utf_16_and_compressed_texts_are_read_like_plain_ones() {
    let dir = TestDir::new();
    let text = LINES.repeat(20);
    dir.write("text.txt", &text);
    let expected = train(&dir, "plain", &[])["perplexity"].clone();
    let utf_16 =
        |unit: fn(u16) -> [u8; 2]| format!("\u{feff}{text}").encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    for (name, bytes) in
        [("le", utf_16(u16::to_le_bytes)), ("be", utf_16(u16::to_be_bytes)), ("zst", zstd(text.as_bytes()))]
    {
        dir.write("text.txt", bytes);
        assert_eq!(train(&dir, name, &[])["perplexity"], expected, "{name}");
    }
    let note = dir.run(&[&["train", "--corpus", "text.txt", "--out", "note"], &SMALL[..]].concat()).succeeded();
    assert!(!note.stderr.contains("note "), "{note:?}");
    dir.write("text.txt", utf_16(u16::to_le_bytes));
    let note =
        dir.run(&[&["train", "--corpus", "text.txt", "--out", "note", "--force"], &SMALL[..]].concat()).succeeded();
    assert!(note.stderr.contains("note    the text is converted from UTF-16LE to UTF-8"), "{note:?}");
}

/// A zstd file with one uncompressed block of at most 128 KiB.
fn zstd(content: &[u8]) -> Vec<u8> {
    let header = (content.len() as u32) << 3 | 1; // the last block, of type 0
    [b"\x28\xB5\x2F\xFD\x00\x38", &header.to_le_bytes()[..3], content].concat()
}

#[test]
fn an_encoding_by_name_is_stored_with_the_run() {
    let dir = TestDir::new();
    let text = LINES.repeat(20);
    dir.write("text.txt", &text);
    let expected = train(&dir, "utf-8", &[])["perplexity"].clone();
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).expect("a Latin-1 character")).collect();
    dir.write("text.txt", &latin);
    dir.write("latin.txt", latin);
    assert_eq!(train(&dir, "latin", &["--encoding", "latin1"])["perplexity"], expected);
    dir.run(&["train", "--resume", "latin", "--epochs", "4", "--quiet"]).succeeded();
    // the same text, converted in the meantime
    dir.write("text.txt", &text);
    dir.run(&["train", "--resume", "latin", "--epochs", "5", "--quiet"]).failed(4, &["is not the text of the run"]);
    dir.run(&["train", "--resume", "latin", "--encoding", "utf-8", "--epochs", "5", "--quiet"]).succeeded();
    let score = |name: &str, encoding: &str| {
        dir.run(&["eval", "utf-8", "--corpus", name, "--encoding", encoding, "--format", "json"]).succeeded().json()
    };
    assert_eq!(score("latin.txt", "windows-1252"), score("text.txt", "utf-8"));
    dir.run(&["eval", "utf-8", "--corpus", "latin.txt"])
        .failed(1, &["not UTF-8", "hint: it is probably text in Windows-1252"]);
    dir.run(&["train", "--encoding", "klingon"]).failed(2, &["klingon", "windows-1252"]);
}

#[test]
fn the_hint_for_a_text_that_is_not_utf_8_names_the_likely_cause() {
    let dir = TestDir::new();
    let utf_16: Vec<u8> = LINES.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: [(&[u8], &str); 7] = [
        (b"na\xEFve caf\xE9", "Windows-1252 or Latin-1; add --encoding windows-1252"),
        (&utf_16, "UTF-16 without a byte order mark; add --encoding utf-16le"),
        (b"\xCF\xF0\xE8\xE2\xE5\xF2, \xEC\xE8\xF0", "another encoding; name it, for example --encoding windows-1251"),
        (b"\xFD7zXZ\0\0\x04\xE6\xD6\xB4", "an xz file; decompress it"),
        (b"PK\x03\x04\x14\0\0\0\x08\0\xC9", "a zip archive, such as docx"),
        (b"\0\x01\x02\xFF\xFE\0\x07", "a binary file, not a text"),
        (b"na\xC3\xAFve caf\xC3", "ends within a character"),
    ];
    for (text, words) in cases {
        dir.write("text.txt", text);
        let outcome = dir.run(&["corpus", "stats", "text.txt"]).failed(1, &["is not UTF-8", words]);
        assert!(outcome.stderr.contains("hint: it is probably "), "{outcome:?}");
    }
    // Latin UTF-16 is valid UTF-8
    dir.write("text.txt", "plain".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    let outcome = dir.run(&["corpus", "stats", "text.txt", "--token", "char"]).succeeded();
    assert!(outcome.stderr.contains("warning: the text is probably UTF-16"), "{outcome:?}");
}

#[test]
fn lower_keeps_letters_that_book_drops_with_a_warning() {
    let dir = TestDir::new();
    dir.write("text.txt", LINES.repeat(20));
    let args =
        [&["train", "--quiet", "--corpus", "text.txt", "--out", "book", "--normalize", "book"], &SMALL[..]].concat();
    let outcome = dir.run(&args).succeeded();
    // seven letters in each copy of the text
    let warning =
        "warning: normalization `book` dropped 140 letters that are not among A-Z: \"è\" \"û\" \"é\" \"ü\" \"Æ\" \"ø\"";
    assert!(outcome.stderr.contains(warning) && outcome.stderr.contains("--normalize lower"), "{outcome:?}");
    let lower = train(&dir, "lower", &["--normalize", "lower"]);
    assert!(lower["perplexity"].is_number());
    let tokens = vocab(&dir, "lower")["tokens"].to_string();
    assert!(
        ["æ", "ø", "û", ":", "\\n"].iter().all(|token| tokens.contains(token)) && !tokens.contains('Æ'),
        "{tokens}"
    );
    let prefix = dir.run(&["generate", "lower", "--prefix", "ÆRØ", "--num-tokens", "0"]).succeeded();
    assert_eq!((prefix.stdout.as_str(), prefix.stderr.as_str()), ("ærø\n", ""));
    let outcome = dir.run(&["corpus", "stats", "sample"]).succeeded();
    assert_eq!(outcome.stderr, "");
}

#[test]
fn unknown_tokens_are_counted_from_the_first_and_warned_of_by_init_from() {
    let dir = TestDir::new();
    dir.write("text.txt", "abcabc".repeat(200));
    train(&dir, "run", &[]);
    dir.write("x.txt", "xabcabx");
    let object = dir.run(&["eval", "run", "--corpus", "x.txt", "--format", "json"]).succeeded().json();
    assert_eq!((&object["tokens"], &object["unknown_tokens"]), (&6.into(), &2.into()));
    let init_from = |text: String| {
        dir.write("text.txt", text);
        let args = ["train", "--init-from", "run", "--corpus", "text.txt", "--out", "next", "--force", "--quiet"];
        dir.run(&[&args, &SMALL[2..]].concat()).succeeded().stderr
    };
    dir.write("text.txt", "abc".repeat(300));
    // 1 of 20 characters is 5 %, 2 of 20 are 10 %
    let few = init_from(format!("{}x", "abcab".repeat(4).split_at(19).0).repeat(50));
    assert!(!few.contains("of the text's tokens"), "{few}");
    let many = init_from(format!("{}xy", "abcab".repeat(4).split_at(18).0).repeat(50));
    let warning = "warning: 10.0 % of the text's tokens (100 of 1,000) are not in the vocabulary of run (read as <unk>): \
                   \"x\" \"y\"";
    assert!(many.contains(warning), "{many}");
}

#[test]
fn the_list_of_corpora_fits_80_columns() {
    let dir = TestDir::new();
    let list = dir.run(&["corpus", "list"]).succeeded().stdout;
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    assert!(list.contains("The Time Machine"), "{list}");
}

#[test]
fn an_empty_proxy_variable_is_not_a_proxy() {
    let dir = TestDir::new();
    let mut command = dir.command(&["corpus", "fetch", "timemachine"]);
    command.env("https_proxy", "").env("HTTPS_PROXY", "http://127.0.0.1:1");
    let outcome = Outcome::of(command.output().expect("the command starts")).failed(1, &["is not available"]);
    assert!(!outcome.stderr.contains("proxy"), "{outcome:?}");
}

#[cfg(target_os = "linux")]
mod endless {
    use super::*;

    /// Runs the command in 120 MB of address space, with the output of `input` as standard input.
    fn in_little_memory(dir: &TestDir, input: &str, args: &[&str]) -> Outcome {
        let rnnlm = dir.command(&[]);
        let mut shell = std::process::Command::new("sh");
        for (name, value) in rnnlm.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.args(["-c", &format!("ulimit -v 120000; {input} | \"$0\" \"$@\"")]).arg(rnnlm.get_program()).args(args);
        Outcome::of(shell.current_dir(dir.path("")).output().expect("a shell"))
    }

    #[track_caller]
    fn refused(dir: &TestDir, input: &str, more: &[&str]) {
        let before = dir.snapshot();
        let args = [&["train", "--quiet", "--device", "cpu", "--out", "new"], &SMALL[..8], more].concat();
        in_little_memory(dir, input, &args).failed(1, &["of memory after ", " of text, ", " is available", "hint: "]);
        assert_eq!(dir.snapshot(), before, "files changed");
    }

    #[test]
    fn a_text_beyond_the_available_memory_is_refused_with_both_numbers() {
        let dir = TestDir::new();
        refused(&dir, "yes", &["--corpus", "-"]);
        // also if only a part is kept, if there is no line end, and if there is no token
        refused(&dir, "yes", &["--corpus", "-", "--max-tokens", "100"]);
        refused(&dir, "yes a | tr -d '\\n'", &["--corpus", "-", "--token", "word"]);
        refused(&dir, "yes 1", &["--corpus", "-", "--normalize", "book"]);
    }

    #[test]
    fn a_sparse_file_and_a_decompression_bomb_are_refused() {
        let dir = TestDir::new();
        let sparse = fs::File::create(dir.path("sparse.txt")).expect("a file");
        sparse.set_len(1 << 34).expect("a sparse file");
        // snapshots would read it
        let args = ["train", "--quiet", "--device", "cpu", "--corpus", "sparse.txt", "--out", "new"];
        in_little_memory(&dir, "true", &args).failed(1, &["`sparse.txt` needs ", " is available"]);
        fs::remove_file(dir.path("sparse.txt")).expect("it exists");
        // 2,000 blocks that each repeat one byte 131,072 times
        let bomb = [&b"\x28\xB5\x2F\xFD\x00\x38"[..], &b"\x02\x00\x10a".repeat(2_000), b"\x03\x00\x10a"].concat();
        dir.write("bomb.zst", bomb);
        refused(&dir, "true", &["--corpus", "bomb.zst"]);
        refused(&dir, "true", &["--corpus", "bomb.zst", "--max-tokens", "10"]);
    }

    #[test]
    fn a_device_is_refused_wherever_it_is_named() {
        let dir = TestDir::new();
        dir.train(&[]).succeeded();
        let refused = |args: &[&str]| in_little_memory(&dir, "true", args).failed(1, &["`/dev/zero` is a device"]);
        refused(&["train", "--corpus", "/dev/zero", "--max-tokens", "100"]);
        refused(&["train", "--val-corpus", "/dev/zero"]);
        refused(&["train", "--resume", "run", "--epochs", "9", "--corpus", "/dev/zero"]);
        refused(&["train", "--init-from", "run", "--corpus", "/dev/zero", "--out", "new"]);
        refused(&["eval", "run", "--corpus", "/dev/zero"]);
        refused(&["corpus", "stats", "/dev/zero"]);
        refused(&["generate", "run", "--prefix-file", "/dev/zero"]);
        in_little_memory(&dir, "true", &["train", "--config", "/dev/zero"]).failed(2, &["more than the maximum"]);
    }
}
