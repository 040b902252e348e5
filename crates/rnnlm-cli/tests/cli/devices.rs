//! The device that computes: a GPU where there is one, and one clear line where there is none.

use crate::support::{Place, SMALL};

/// Why this machine has no GPU; none if it has one.
fn no_gpu(place: &Place) -> Option<String> {
    let devices = place.run(&["devices", "--format", "json"]).succeeded().json();
    assert_eq!(devices["devices"][0]["name"], "cpu");
    devices["no_gpu"].as_str().map(str::to_owned)
}

#[test]
fn what_is_missing_is_named_and_a_gpu_that_was_asked_for_is_not_replaced() {
    let place = Place::new();
    let Some(reason) = no_gpu(&place) else { return };
    assert!(reason.contains("`libcuda`") || reason.contains("`libnvrtc`"), "{reason}");
    assert!(place.run(&["devices"]).succeeded().stdout.contains(&format!("no gpu  {reason}")));
    for device in ["cuda", "cuda:3"] {
        let refused = place.train(&["--device", device]);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
        refused.failed(1, &["error: --device cuda:", &reason]);
    }
    assert!(!place.path("run").exists());
    place.run(&["train", "--device", "gpu"]).failed(2, &["one of auto, cpu, cuda, cuda:N is needed"]);
}

#[test]
fn auto_takes_the_cpu_where_there_is_no_gpu() {
    let place = Place::new();
    if no_gpu(&place).is_some() {
        let trained = place.train(&["--format", "json"]).succeeded();
        assert_eq!((trained.stderr.as_str(), &trained.json()["device"]), ("", &"cpu (1 thread)".into()));
    }
    // by name it is the CPU wherever this runs
    let args = [&["train", "--out", "on-cpu", "--device", "cpu"], &SMALL[..]].concat();
    place.run(&args).succeeded();
}

#[test]
#[cfg(target_os = "linux")]
fn the_program_is_linked_against_no_cuda_library() {
    let Ok(output) = std::process::Command::new("ldd").arg(env!("CARGO_BIN_EXE_rnnlm")).output() else { return };
    let libraries = String::from_utf8_lossy(&output.stdout).to_lowercase();
    assert!(libraries.contains("libc."), "{libraries}");
    assert!(!["cuda", "nvrtc", "cublas", "cudnn", "nvidia"].iter().any(|name| libraries.contains(name)), "{libraries}");
}
