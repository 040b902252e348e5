//! A training that is stopped anywhere, saved and restored goes on to the same bits as one that was not.

use rnnlm_model::{CellKind, Error, ModelConfig, OptimizerConfig, RunWriter, Schedule, TrainConfig, Trainer};
use rnnlm_rnn::ExecutionPath;
use rnnlm_tensor::Cpu;
use rnnlm_vocab::Sampling;

use crate::setting::Setting;

/// A setting by name, as a change to a configuration.
type Change<C> = (&'static str, fn(&mut C));

/// Every cell that there is.
const CELLS: [Change<ModelConfig>; 6] = [
    ("rnn", |model| model.cell = CellKind::Rnn),
    ("gru", |model| model.cell = CellKind::Gru),
    ("rnn with an embedding", |model| model.embedding_size = 5),
    ("gru reset-before", |model| (model.cell, model.reset_before) = (CellKind::Gru, true)),
    ("lstm", |model| model.cell = CellKind::Lstm),
    ("rnn with tied weights", |model| (model.embedding_size, model.tie_weights) = (5, true)),
];

/// Every optimizer and schedule, with all that they keep, and with dropout.
const TRAININGS: [Change<TrainConfig>; 5] = [
    ("momentum, plateau", |train| {
        train.optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 };
        train.schedule = Schedule::Plateau { factor: 0.5, patience: 0 };
    }),
    ("adam, exponential, dropout", |train| {
        (train.optimizer, train.lr, train.dropout) = (OptimizerConfig::ADAM, 0.01, 0.3);
        train.schedule = Schedule::Exponential { gamma: 0.5 };
    }),
    ("adamw, cosine with warm-up", |train| {
        (train.optimizer, train.lr, train.warmup) = (OptimizerConfig::ADAMW, 0.01, 1);
        train.schedule = Schedule::Cosine { min_lr: 0.0 };
    }),
    ("rmsprop, step", |train| {
        (train.optimizer, train.lr) = (OptimizerConfig::RMSPROP, 0.01);
        train.schedule = Schedule::Step { step_size: 1, gamma: 0.1 };
    }),
    ("clipping by value, dropout", |train| (train.clip, train.clip_value, train.dropout) = (0.0, 0.01, 0.5)),
];

/// Every way of sampling.
const SAMPLINGS: [Change<TrainConfig>; 3] = [
    ("sequential", |train| train.sampling = Sampling::Sequential),
    ("sequential, reset state", |train| (train.sampling, train.reset_state) = (Sampling::Sequential, true)),
    ("random", |train| train.sampling = Sampling::Random),
];

#[test]
fn every_step_can_be_the_last_before_a_restart() {
    for (cell, set_cell) in CELLS {
        for (sampling, set_sampling) in SAMPLINGS {
            let setting = Setting::new(|model, train| {
                set_cell(model);
                set_sampling(train);
            });
            every_step_can_be_the_last(&setting, &format!("{cell}, {sampling}"));
        }
    }
    for (name, set) in TRAININGS {
        let setting = Setting { held_out: true, ..Setting::new(|_, train| set(train)) };
        every_step_can_be_the_last(&setting, name);
    }
}

fn every_step_can_be_the_last(setting: &Setting, name: &str) {
    let uninterrupted = setting.uninterrupted();
    let mut last = 0;
    for steps in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let (mut writer, mut trainer) = setting.begin(&path);
        setting.steps(&mut writer, &mut trainer, steps);
        writer.save(&trainer).unwrap();
        let reached = trainer.position().step;
        if reached == last {
            assert!(last >= 24, "{name}: three epochs have more than {last} steps");
            return;
        }
        assert_eq!(reached, steps as u64, "it stopped where it was told to");
        last = reached;
        // what is trained and logged after the save is as if it had not been
        setting.steps(&mut writer, &mut trainer, 9);
        drop((writer, trainer));
        assert_eq!(setting.finish(setting.resume(&path)), uninterrupted, "{name}, after {steps} steps");
    }
}

#[test]
fn a_run_goes_on_beyond_its_first_end() {
    let (short, long) = (Setting::new(|_, train| train.epochs = 2), Setting::new(|_, train| train.epochs = 4));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    short.finish(short.begin(&path));
    let mut writer = RunWriter::resume(&path).unwrap();
    let error = writer.raise_epochs(1).unwrap_err();
    assert!(matches!(error, Error::FewerEpochs { asked: 1, configured: 2 }), "{error}");
    writer.raise_epochs(4).unwrap();
    drop(writer);
    assert_eq!(long.finish(long.resume(&path)), long.uninterrupted());
}

#[test]
fn a_run_that_was_never_saved_starts() {
    let setting = Setting::new(|_, _| {});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    drop(RunWriter::create(&path, false, setting.config.clone(), setting.corpus.vocab.clone()).unwrap());
    let mut writer = RunWriter::resume(&path).unwrap();
    let mut trainer = setting.trainer();
    assert!(!writer.restore(&mut trainer).unwrap());
    assert_eq!(setting.finish((writer, trainer)), setting.uninterrupted());
    // but one whose trainer has gone does not
    std::fs::remove_file(path.join("trainer.safetensors")).unwrap();
    let error = RunWriter::resume(&path).unwrap().restore(&mut setting.trainer()).unwrap_err();
    assert!(matches!(&error, Error::Damaged { path, .. } if path.ends_with("trainer.safetensors")), "{error}");
}

#[test]
fn an_older_generation_in_the_trainer_s_place_is_gone_on_with() {
    let setting = Setting::new(|_, _| {});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let (writer, mut trainer) = setting.begin(&path);
    let mut writer = writer.keeping(2);
    for _ in 0..6 {
        setting.steps(&mut writer, &mut trainer, 3);
        writer.save(&trainer).unwrap();
    }
    drop(writer);
    let generations = path.join("checkpoints");
    let mut kept: Vec<_> = std::fs::read_dir(&generations).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    kept.sort();
    assert_eq!(kept, ["step-12.safetensors", "step-15.safetensors"]);
    std::fs::copy(generations.join("step-12.safetensors"), path.join("trainer.safetensors")).unwrap();
    let resumed = setting.resume(&path);
    assert_eq!(resumed.1.position().step, 12);
    assert_eq!(setting.finish(resumed), setting.uninterrupted());
}

#[test]
fn a_saved_trainer_fits_only_its_own_run() {
    let setting = Setting::new(|_, _| {});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    drop(setting.begin(&path));
    let larger = ModelConfig { hidden_size: 10, ..setting.config.model };
    let mut other = Trainer::new(&Cpu::new(1).unwrap(), &larger, &setting.config.train, ExecutionPath::Auto).unwrap();
    let error = RunWriter::resume(&path).unwrap().restore(&mut other).unwrap_err();
    assert!(matches!(&error, Error::Mismatch { reason, .. } if reason.contains("10")), "{error}");

    // the trainer of one run in the folder of another that differs in a setting alone
    let other = Setting::new(|_, train| train.lr = 0.25);
    let other_path = folder.path().join("other");
    drop(other.begin(&other_path));
    std::fs::copy(other_path.join("trainer.safetensors"), path.join("trainer.safetensors")).unwrap();
    let error = RunWriter::resume(&path).unwrap().restore(&mut setting.trainer()).unwrap_err();
    let text = "`train.lr` is 0.25 and not 1.0";
    assert!(matches!(&error, Error::Mismatch { reason, .. } if reason.contains(text)), "{error}");
}
