//! Control characters from foreign sources: escaped on a terminal, not changed in a pipe.

use crate::support::{SMALL, TestDir};

/// Sets the title of a terminal and clears its screen.
const HOSTILE: &str = "\x1b]0;owned\x07\x1b[2J";

/// The output of the command on a terminal; `None` if the program `script`, which provides one, is not installed.
#[expect(clippy::print_stdout, reason = "a skipped check must be visible")]
fn on_a_terminal(dir: &TestDir, args: &[&str]) -> Option<String> {
    let quoted: Vec<String> = args.iter().map(|arg| format!("'{}'", arg.replace('\'', "'\\''"))).collect();
    let rnnlm = dir.command(&[]);
    let mut script = std::process::Command::new("script");
    for (name, value) in rnnlm.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let command = format!("'{}' {}", rnnlm.get_program().display(), quoted.join(" "));
    let output = script.args(["-qec", &command, "/dev/null"]).current_dir(dir.path("")).output();
    match output {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            println!("NOT CHECKED: `script` cannot be run: {error}");
            None
        }
    }
}

/// Requires that the output on a terminal has `escaped` and no control character of `HOSTILE`.
#[track_caller]
fn escaped(dir: &TestDir, args: &[&str], escaped: &str) {
    let Some(output) = on_a_terminal(dir, args) else { return };
    assert!(!output.contains("\x1b]0;") && !output.contains("\x1b[2J") && !output.contains('\x07'), "{output:?}");
    assert!(output.contains(escaped), "{output:?}");
}

#[test]
fn names_from_foreign_sources_are_escaped() {
    let dir = TestDir::new();
    let name = format!("no{HOSTILE}run");
    escaped(&dir, &["generate", &name], r"`no\x1b]0;owned\x07\x1b[2Jrun` is not a run");
    escaped(&dir, &["corpus", "stats", &format!("{name}.txt")], r"no\x1b]0;owned");
    escaped(&dir, &["generate", "run", &name], "unexpected argument");
    dir.write("settings.toml", "\"a\\u001b[2Jb\" = 1\n");
    escaped(&dir, &["train", "--config", "settings.toml"], r"unknown setting `a\x1b[2Jb`");
    let header = r#"{"\u001b[2J":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    dir.write("weights.safetensors", file);
    dir.write("vocab.json", r#"["<unk>","a"]"#);
    escaped(&dir, &["import", "weights.safetensors", "--vocab", "vocab.json"], r"\x1b[2J");
    // in a pipe, everything stays as it is
    dir.run(&["generate", &name]).failed(4, &[&name]);
}

#[test]
fn samples_are_escaped() {
    let dir = TestDir::new();
    dir.write("text.txt", format!("{HOSTILE}\n").repeat(150));
    let train =
        [&["train", "--device", "cpu", "--corpus", "text.txt", "--prefix", "\\x1b", "--out", "run"][..], &SMALL[..]];
    escaped(&dir, &train.concat(), r"\x1b");
    let generate = ["generate", "run", "--device", "cpu", "--prefix", "\\x1b]0;"];
    escaped(&dir, &generate, r"\x1b]0;");
    escaped(&dir, &[&generate[..], &["--format", "json"]].concat(), r"\u001b]0;");
    let raw = dir.run(&generate).succeeded().stdout;
    assert!(raw.starts_with("\x1b]0;"), "{raw:?}");
}
