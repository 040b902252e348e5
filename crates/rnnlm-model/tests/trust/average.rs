//! The files of a run whose parameters are averaged: the models have the average, the trainer's state has both.

use std::fs;

use rnnlm_model::{Average, Cpu, ExecutionPath, LanguageModel, Run, TrainConfig};

use crate::setting::Setting;

fn setting(change: impl Fn(&mut TrainConfig)) -> Setting {
    Setting::new(|_, train| {
        train.average = Average::Ema { decay: 0.9 };
        change(train);
    })
}

fn values(model: &LanguageModel<Cpu>) -> Vec<f32> {
    model.parameters().to_vec(model.backend()).unwrap()
}

#[test]
fn the_model_files_have_the_average_and_training_continues_with_the_parameters() {
    let setting = setting(|_| {});
    let cpu = Cpu::new(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let (mut writer, mut trainer) = setting.begin(&path);
    setting.steps(&mut writer, &mut trainer, 12);
    writer.save(&trainer).unwrap();
    writer.save_best(&trainer).unwrap();
    drop(writer);
    let (average, parameters) = (values(trainer.evaluated_model()), values(trainer.model()));
    assert_ne!(average, parameters);
    let run = Run::open(&path).unwrap();
    assert_eq!(values(&run.load(&cpu, ExecutionPath::Auto).unwrap()), average);
    assert_eq!(values(&run.load_best(&cpu, ExecutionPath::Auto).unwrap()), average);
    // a lost model is recreated from the trainer's state
    fs::remove_file(path.join("model.safetensors")).unwrap();
    let (_, resumed) = setting.resume(&path);
    assert_eq!((values(resumed.evaluated_model()), values(resumed.model())), (average.clone(), parameters));
    assert_eq!(values(&Run::open(&path).unwrap().load(&cpu, ExecutionPath::Auto).unwrap()), average);
}

#[test]
fn before_the_first_update_the_model_is_the_initial_one() {
    let setting = setting(|train| train.accumulate = 4);
    let trainer = setting.trainer();
    assert_eq!(values(trainer.evaluated_model()), values(trainer.model()));
}

#[test]
fn a_run_begins_to_average_without_improvement_and_keeps_the_position() {
    let setting = Setting { validates: true, ..Setting::new(crate::resume::nt_asgd) };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let (mut writer, mut trainer) = setting.begin(&path);
    setting.steps(&mut writer, &mut trainer, usize::MAX);
    writer.save(&trainer).unwrap();
    drop(writer);
    let position = trainer.position();
    // so that the test of resumption resumes before and after it
    assert!(position.average_start.is_some_and(|start| start > 0 && start + 3 < position.updates), "{position:?}");
    assert_eq!(setting.resume(&path).1.position(), position);
}
