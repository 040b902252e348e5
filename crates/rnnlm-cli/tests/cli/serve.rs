//! `rnnlm serve`: the process, its signals, and the page in a browser.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::TestDir;

/// A server of a small run, and its address.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn names() -> TestDir {
    let dir = TestDir::new();
    dir.write("names.txt", "ann\nbob\n".repeat(40));
    let args = ["train", "--quiet", "--corpus", "names.txt", "--out", "names", "--documents", "lines", "--epochs", "3"];
    dir.run(&[&args[..], &["--hidden-size", "8", "--batch-size", "2", "--num-steps", "5"]].concat()).succeeded();
    dir
}

fn serve(dir: &TestDir, more: &[&str]) -> Server {
    let args = [&["serve", "names", "--port", "0", "--quiet", "--device", "cpu"], more].concat();
    let mut child = dir.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the command");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("an address, not {line:?}")).to_owned();
    Server { child, address }
}

impl Server {
    /// Sends a request and returns the connection, from which the response can be read.
    fn post(&self, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it is open");
        stream.write_all(body.as_bytes()).expect("it is open");
        stream
    }
}

fn text(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a response");
    text
}

#[test]
fn a_signal_to_stop_ends_open_streams_with_a_finish_reason() {
    let dir = names();
    let mut server = serve(&dir, &["--shutdown-timeout", "1", "--max-tokens", "100000000"]);
    let stream = server.post(
        "/v1/completions",
        r#"{"prompt": "a", "max_tokens": 100000000, "ignore_eos": true, "stream": true, "seed": 1}"#,
    );
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    let pid = server.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    let response = text(stream);
    assert!(response.contains("\"finish_reason\":\"length\""), "{}", &response[response.len().saturating_sub(500)..]);
    assert!(response.contains("data: [DONE]"));
    assert!(server.child.wait().expect("it ends").success());
    // a second for the texts, another for connections; the rest is slack for a busy machine
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_hang_up_signal_loads_the_runs_again() {
    let dir = names();
    let server = serve(&dir, &[]);
    let body = r#"{"documents": ["ann"]}"#;
    let before = text(server.post("/score", body));
    dir.run(&["train", "--quiet", "--resume", "names", "--epochs", "6"]).succeeded();
    assert_eq!(score(&before), score(&text(server.post("/score", body))), "the run in memory stays");
    let pid = server.child.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().expect("kill").success());
    let start = Instant::now();
    while score(&text(server.post("/score", body))) == score(&before) {
        assert!(start.elapsed() < Duration::from_secs(20), "the new model is not served");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The digest and the results of a response.
fn score(response: &str) -> &str {
    &response[response.find("\"digest\"").unwrap_or_else(|| panic!("a score, not {response}"))..]
}

#[test]
fn what_cannot_be_served_is_refused_before_listening() {
    let dir = names();
    dir.write("empty.txt", "\n");
    dir.refuses(&["serve", "missing"], 4, &["`missing` is not a run"]);
    dir.refuses(&["serve", "names", "a=names", "a=names"], 2, &["have the same name, a", "NAME=RUN"]);
    dir.refuses(&["serve", "names", "--api-key-file", "empty.txt"], 1, &["has no key"]);
    dir.refuses(&["serve", "names", "--cors-origin", "example.org"], 1, &["is not an origin"]);
    let server = serve(&dir, &[]);
    let port = server.address.rsplit_once(':').expect("a port").1;
    dir.refuses(&["serve", "names", "--port", port], 1, &["cannot listen on", "--port 0 takes a free port"]);
}

#[test]
fn the_page_generates_and_scores_in_a_browser() {
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let exists = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let Some(browser) = browsers.into_iter().find(exists) else {
        println!("skipped: no Chromium was found");
        return;
    };
    let dir = names();
    let server = serve(&dir, &[]);
    let link = "#prompt=a&seed=3&max_tokens=5&eos=go&lines=ann%0Axyz&whole&generate&score";
    let profile = format!("--user-data-dir={}", dir.path("profile").display());
    let output = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=10000",
            "--dump-dom",
            &profile,
        ])
        .arg(format!("http://{}/{link}", server.address))
        .output()
        .expect("the browser");
    let page = String::from_utf8_lossy(&output.stdout);
    assert!(page.contains("8 hidden units"), "the model is described: {page}");
    assert_eq!(page.matches("class=\"token\"").count(), 5, "{page}");
    assert!(page.contains("<td class=\"text\">xyz</td>"), "lines are scored: {page}");
    assert!(page.contains("<polyline"), "there is a learning curve: {page}");
    assert!(page.contains("<p id=\"error\" role=\"alert\"></p>"), "there is no error: {page}");
}
