//! `--device` and `rnnlm devices`, on machines with and without a GPU.

use crate::support::{SMALL, TestDir};

/// The reason why this machine has no GPU; `None` if it has one.
fn no_gpu(dir: &TestDir) -> Option<String> {
    let devices = dir.run(&["devices", "--format", "json"]).succeeded().json();
    assert_eq!(devices["devices"][0]["name"], "cpu");
    devices["no_gpu"].as_str().map(str::to_owned)
}

#[test]
fn a_missing_gpu_is_an_error_that_names_the_missing_library() {
    let dir = TestDir::new();
    let Some(reason) = no_gpu(&dir) else { return };
    assert!(reason.contains("`libcuda`") || reason.contains("`libnvrtc`"), "{reason}");
    assert!(dir.run(&["devices"]).succeeded().stdout.contains(&format!("no gpu  {reason}")));
    for device in ["cuda", "cuda:3"] {
        let refused = dir.train(&["--device", device]);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
        refused.failed(1, &["error: --device cuda:", &reason]);
    }
    assert!(!dir.path("run").exists());
    dir.run(&["train", "--device", "gpu"]).failed(2, &["expected one of auto, cpu, cuda, cuda:N"]);
}

#[test]
fn auto_uses_the_cpu_without_a_gpu() {
    let dir = TestDir::new();
    if no_gpu(&dir).is_some() {
        let trained = dir.train(&["--format", "json"]).succeeded();
        assert_eq!((trained.stderr.as_str(), &trained.json()["device"]), ("", &"cpu (1 thread)".into()));
    }
    // `cpu` works on every machine
    let args = [&["train", "--out", "on-cpu", "--device", "cpu"], &SMALL[..]].concat();
    dir.run(&args).succeeded();
}

#[test]
#[cfg(target_os = "linux")]
fn the_program_links_no_cuda_library() {
    let Ok(output) = std::process::Command::new("ldd").arg(env!("CARGO_BIN_EXE_rnnlm")).output() else { return };
    let libraries = String::from_utf8_lossy(&output.stdout).to_lowercase();
    assert!(libraries.contains("libc."), "{libraries}");
    assert!(!["cuda", "nvrtc", "cublas", "cudnn", "nvidia"].iter().any(|name| libraries.contains(name)), "{libraries}");
}
