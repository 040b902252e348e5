//! Readers: they write nothing, need no lock, and read a run that is complete at every moment.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use rnnlm_model::{Cpu, ExecutionPath, Run, RunWriter};

use crate::setting::{Setting, files};

/// Ends the reader, also when the writer panics.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_run_can_be_read_while_it_is_saved_and_replaced() {
    let setting = Setting { validates: true, ..Setting::new(|_, _| {}) };
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    setting.finish(setting.begin(&run));
    let is_over = AtomicBool::new(false);
    let read = || {
        let (cpu, mut reads) = (Cpu::new(1).unwrap(), 0);
        while !is_over.load(Ordering::Relaxed) {
            let run = Run::open(&run).unwrap();
            run.load(&cpu, ExecutionPath::Auto).unwrap();
            run.metrics().ok();
            run.is_untrained().unwrap();
            reads += 1;
        }
        reads
    };
    std::thread::scope(|scope| {
        let reader = scope.spawn(read);
        let end = SetOnDrop(&is_over);
        for _ in 0..20 {
            let (config, vocab) = (setting.config.clone(), setting.corpus.vocab.clone());
            let mut writer = RunWriter::create(&run, true, config, vocab).unwrap().keep_checkpoints(1);
            let mut trainer = setting.trainer();
            for _ in 0..4 {
                writer.save(&trainer).unwrap();
                setting.steps(&mut writer, &mut trainer, 3);
            }
        }
        drop(end);
        assert!(reader.join().unwrap() > 20);
    });
}

#[test]
fn a_reader_writes_nothing() {
    let setting = Setting { validates: true, ..Setting::new(|_, _| {}) };
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    drop(setting.begin(&run));
    fs::remove_file(run.join(".rnnlm.lock")).unwrap();
    // what a process that was killed leaves
    fs::write(run.join(".rnnlm-model.safetensors"), "half").unwrap();
    fs::write(run.join("metrics.jsonl"), "{\"epoch\": 1").unwrap();
    fs::create_dir(run.join(".rnnlm-new")).unwrap();
    fs::write(run.join(".rnnlm-new/config.json"), "{").unwrap();
    let before = files(&run);
    let opened = Run::open(&run).unwrap();
    opened.load(&Cpu::new(1).unwrap(), ExecutionPath::Auto).unwrap();
    assert_eq!(opened.metrics().unwrap(), [], "a part of a line is no line");
    assert!(opened.load_best(&Cpu::new(1).unwrap(), ExecutionPath::Auto).is_err());
    assert!(files(&run) == before);
}

#[test]
fn a_model_is_untrained_until_a_step_is_saved() {
    let setting = Setting::new(|_, _| {});
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let (mut writer, mut trainer) = setting.begin(&run);
    assert!(Run::open(&run).unwrap().is_untrained().unwrap());
    setting.steps(&mut writer, &mut trainer, 1);
    writer.save(&trainer).unwrap();
    assert!(!Run::open(&run).unwrap().is_untrained().unwrap());
    // the weights of another run are not random
    let mut other = setting.config.clone();
    other.init_from = Some("run".to_owned());
    let path = folder.path().join("other");
    RunWriter::create(&path, false, other, setting.corpus.vocab.clone()).unwrap().save(&setting.trainer()).unwrap();
    assert!(!Run::open(&path).unwrap().is_untrained().unwrap());
    // without the trainer's file, nothing is known
    fs::remove_file(run.join("trainer.safetensors")).unwrap();
    assert!(!Run::open(&run).unwrap().is_untrained().unwrap());
}
