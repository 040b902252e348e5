//! The bounds of reading are those of writing: what can be saved can be loaded, and what could not be loaded is not written.

use std::fs;

use rnnlm_model::{Cpu, Error, ExecutionPath, Run, RunOptions, RunWriter};

use crate::setting::Setting;

/// Saves a new run, and loads and resumes it.
fn save_and_load(setting: &Setting) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let (mut writer, mut trainer) = setting.begin(&path);
    setting.steps(&mut writer, &mut trainer, 1);
    writer.save(&trainer).unwrap();
    drop(writer);
    let cpu = Cpu::new(1).unwrap();
    let model = Run::open(&path).unwrap().load(&cpu, ExecutionPath::Auto).unwrap();
    assert_eq!(model.parameters().to_vec(&cpu).unwrap(), trainer.snapshot().unwrap().parameters);
    // without it, the model is read from the trainer's file
    fs::remove_file(path.join("model.safetensors")).unwrap();
    Run::open(&path).unwrap().load(&cpu, ExecutionPath::Auto).unwrap();
    let (_, resumed) = setting.resume(&path);
    assert_eq!(resumed.snapshot().unwrap(), trainer.snapshot().unwrap());
}

/// The header of a weights file has more than a megabyte.
#[test]
fn a_model_of_many_layers_can_be_loaded() {
    let deep = Setting::new(|model, train| {
        (model.num_layers, model.hidden_size, model.bidirectional) = (3000, 1, true);
        (train.batch_size, train.num_steps) = (1, 2);
    });
    save_and_load(&deep);
}

/// A configuration with this prefix, repeated. JSON escapes both characters.
fn with_prefix(repetitions: usize) -> Setting {
    let mut setting = Setting::new(|_, _| {});
    let prefixes = Some(vec!["\u{1}\"".repeat(repetitions)]);
    setting.config.options = RunOptions { prefixes, ..RunOptions::default() };
    setting
}

#[test]
fn the_longest_configuration_can_be_loaded() {
    save_and_load(&with_prefix(130_000));
}

#[test]
fn a_configuration_that_could_not_be_read_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let setting = Setting::new(|_, _| {});
    let (mut writer, _) = setting.begin(&path);
    let before = fs::read(path.join("config.json")).unwrap();
    let error = writer.set_options(with_prefix(140_000).config.options).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("config.json")), "{error}");
    assert!(fs::read(path.join("config.json")).unwrap() == before);
    let long = with_prefix(140_000);
    let error = RunWriter::create(&folder.path().join("new"), false, long.config, long.corpus.vocab).unwrap_err();
    assert!(matches!(&error, Error::Io { .. }), "{error}");
    assert!(Run::is_unfinished(&folder.path().join("new")));
}
