//! A run that is stopped, saved and resumed ends with the same bits as an uninterrupted one.

use std::path::Path;

use rnnlm_model::{
    AdaptiveSoftmax, Average, Cell, Cpu, Error, ExecutionPath, ModelConfig, Nonlinearity, OptimizerConfig, RunWriter,
    Sampling, Schedule, TrainConfig, Trainer,
};

use crate::setting::{Setting, copy_all};

/// The name of a setting, and the change to a configuration.
type Change<C> = (&'static str, fn(&mut C));

/// The classes of cells, embeddings and tied weights.
const MODELS: [Change<ModelConfig>; 8] = [
    ("rnn", |model| model.cell = Cell::Rnn(Nonlinearity::Tanh)),
    ("gru", |model| model.cell = Cell::Gru { reset_after: true }),
    ("rnn with an embedding", |model| model.embedding_size = 5),
    ("gru reset-before", |model| model.cell = Cell::Gru { reset_after: false }),
    ("lstm", |model| model.cell = Cell::Lstm),
    ("mingru", |model| model.cell = Cell::MinGru),
    ("minlstm", |model| model.cell = Cell::MinLstm),
    ("rnn with tied weights", |model| (model.embedding_size, model.tie_weights) = (5, true)),
];

/// Every optimizer and schedule that has state, and dropout.
const TRAININGS: [Change<TrainConfig>; 11] = [
    ("momentum, plateau", |train| {
        train.optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 };
        train.schedule = Schedule::Plateau { factor: 0.5, patience: 0 };
    }),
    ("adam, exponential, dropout", |train| {
        (train.optimizer, train.lr, train.dropout) = (OptimizerConfig::ADAM, 0.01, 0.3);
        train.schedule = Schedule::Exponential { gamma: 0.5, decay_after: 1 };
    }),
    ("adamw, cosine with warm-up", |train| {
        (train.optimizer, train.lr, train.warmup) = (OptimizerConfig::ADAMW, 0.01, 1);
        train.schedule = Schedule::Cosine { min_lr: 0.0 };
    }),
    ("adam, one-cycle", |train| {
        (train.optimizer, train.lr) = (OptimizerConfig::ADAM, 0.01);
        train.schedule = Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 };
    }),
    ("cosine by step with warm-up", |train| {
        (train.schedule, train.schedule_by_step, train.warmup_steps) = (Schedule::Cosine { min_lr: 0.1 }, true, 5);
    }),
    ("moving average, gradient accumulation", |train| {
        (train.average, train.accumulate) = (Average::Ema { decay: 0.9 }, 3);
    }),
    ("adamw, moving average, no decay of biases", |train| {
        (train.optimizer, train.lr) = (OptimizerConfig::ADAMW, 0.01);
        (train.average, train.no_bias_decay) = (Average::Ema { decay: 0.9 }, true);
    }),
    ("variable-length backpropagation through time", |train| {
        (train.variable_bptt, train.dropout_hidden, train.tar) = (true, 0.2, 1.0);
    }),
    ("nt-asgd", |train| nt_asgd(&mut ModelConfig::book(1), train)),
    ("rmsprop, step", |train| {
        (train.optimizer, train.lr) = (OptimizerConfig::RMSPROP, 0.01);
        train.schedule = Schedule::Step { step_size: 1, gamma: 0.1 };
    }),
    ("clipping by value, dropout", |train| (train.clip, train.clip_value, train.dropout) = (0.0, 0.01, 0.5)),
];

/// Many epochs at a learning rate that is too high, so that averaging begins.
pub(crate) fn nt_asgd(_: &mut ModelConfig, train: &mut TrainConfig) {
    (train.average, train.epochs, train.num_steps, train.lr) = (Average::NtAsgd, 9, 25, 8.0);
}

/// Every technique of regularization, each a function of the step.
fn regularize(model: &mut ModelConfig, train: &mut TrainConfig) {
    (model.cell, model.embedding_size, model.residual) = (Cell::Lstm, 4, true);
    (train.weight_drop, train.dropout_embedding, train.dropout_input) = (0.5, 0.2, 0.4);
    (train.dropout_hidden, train.dropout_output) = (0.25, 0.4);
    (train.ar, train.tar, train.label_smoothing) = (2.0, 1.0, 0.1);
}

/// An adaptive softmax, and an optimizer with sparse updates.
fn adapt(model: &mut ModelConfig, train: &mut TrainConfig) {
    (model.cell, model.embedding_size) = (Cell::Lstm, 4);
    model.adaptive_softmax = Some(AdaptiveSoftmax { div_value: 2.0, ..AdaptiveSoftmax::new(vec![2, 4]) });
    (train.optimizer, train.lr) = (OptimizerConfig::SPARSE_ADAM, 0.01);
}

/// Every kind of sampling.
const SAMPLINGS: [Change<TrainConfig>; 3] = [
    ("sequential", |train| train.sampling = Sampling::Sequential),
    ("sequential, reset state", |train| (train.sampling, train.reset_state) = (Sampling::Sequential, true)),
    ("random", |train| train.sampling = Sampling::Random),
];

#[test]
fn resuming_after_any_step_gives_the_same_bytes() {
    for (model, set_model) in MODELS {
        for (sampling, set_sampling) in SAMPLINGS {
            let setting = Setting::new(|model, train| {
                set_model(model);
                set_sampling(train);
            });
            resume_after_every_step(&setting, &format!("{model}, {sampling}"));
        }
    }
    for (name, set) in TRAININGS {
        let setting = Setting { validates: true, ..Setting::new(|_, train| set(train)) };
        resume_after_every_step(&setting, name);
    }
    resume_after_every_step(&Setting::new(adapt), "adaptive softmax, sparse updates");
    resume_after_every_step(&Setting::documents(adapt), "adaptive softmax, sparse updates, documents");
    resume_after_every_step(&Setting::new(regularize), "regularization");
    resume_after_every_step(&Setting::documents(regularize), "regularization, documents");
    let variable = Setting::documents(|model, train| {
        regularize(model, train);
        train.variable_bptt = true;
    });
    resume_after_every_step(&variable, "variable-length backpropagation through time, documents");
}

#[test]
fn resuming_documents_after_any_step_gives_the_same_bytes() {
    for (model, set_model) in MODELS {
        for shuffle in [true, false] {
            let setting = Setting::documents(|model, train| {
                set_model(model);
                train.shuffle = shuffle;
            });
            let setting = Setting { validates: true, ..setting };
            resume_after_every_step(&setting, &format!("{model}, documents, shuffled: {shuffle}"));
        }
    }
}

fn resume_after_every_step(setting: &Setting, name: &str) {
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
        assert_eq!(reached, steps as u64, "training stopped after the requested step");
        last = reached;
        // steps and lines after the save have no effect
        setting.steps(&mut writer, &mut trainer, 9);
        drop((writer, trainer));
        assert_eq!(setting.finish(setting.resume(&path)), uninterrupted, "{name}, after {steps} steps");
    }
}

#[test]
fn a_finished_run_can_be_resumed_for_more_epochs() {
    let (short, long) = (Setting::new(|_, train| train.epochs = 2), Setting::new(|_, train| train.epochs = 4));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    short.finish(short.begin(&path));
    let mut writer = RunWriter::resume(&path).unwrap();
    let error = writer.raise_epochs(1).unwrap_err();
    assert!(matches!(error, Error::FewerEpochs { requested: 1, configured: 2 }), "{error}");
    writer.raise_epochs(4).unwrap();
    drop(writer);
    assert_eq!(long.finish(long.resume(&path)), long.uninterrupted());
}

#[test]
fn a_run_that_was_never_saved_starts_from_the_beginning() {
    let setting = Setting::new(|_, _| {});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    drop(RunWriter::create(&path, false, setting.config.clone(), setting.corpus.vocab.clone()).unwrap());
    let mut writer = RunWriter::resume(&path).unwrap();
    let mut trainer = setting.trainer();
    assert!(!writer.restore(&mut trainer).unwrap());
    assert_eq!(setting.finish((writer, trainer)), setting.uninterrupted());
    // a saved run without its trainer's file does not start
    std::fs::remove_file(path.join("trainer.safetensors")).unwrap();
    let error = RunWriter::resume(&path).unwrap().restore(&mut setting.trainer()).unwrap_err();
    assert!(matches!(&error, Error::Damaged { path, .. } if path.ends_with("trainer.safetensors")), "{error}");
}

#[test]
fn an_earlier_checkpoint_can_be_resumed() {
    let setting = Setting::new(|_, _| {});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let (writer, mut trainer) = setting.begin(&path);
    let mut writer = writer.keep_checkpoints(2);
    for _ in 0..6 {
        setting.steps(&mut writer, &mut trainer, 3);
        writer.save(&trainer).unwrap();
    }
    drop(writer);
    let checkpoints = path.join("checkpoints");
    let mut kept: Vec<_> = std::fs::read_dir(&checkpoints).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    kept.sort();
    assert_eq!(kept, ["step-12.safetensors", "step-15.safetensors"]);
    std::fs::copy(checkpoints.join("step-12.safetensors"), path.join("trainer.safetensors")).unwrap();
    let resumed = setting.resume(&path);
    assert_eq!(resumed.1.position().step, 12);
    assert_eq!(setting.finish(resumed), setting.uninterrupted());
}

/// The names of the files in `checkpoints`, sorted.
fn checkpoints(run: &Path) -> Vec<String> {
    let names = std::fs::read_dir(run.join("checkpoints")).unwrap();
    let mut names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Copies a checkpoint over the trainer's file.
fn go_back(run: &Path, checkpoint: &str) {
    std::fs::copy(run.join("checkpoints").join(checkpoint), run.join("trainer.safetensors")).unwrap();
}

#[test]
fn checkpoints_of_an_abandoned_branch_are_recognised() {
    let setting = Setting::new(|_, train| train.epochs = 5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let (writer, mut trainer) = setting.begin(&path);
    let mut writer = writer.keep_checkpoints(4);
    for _ in 0..5 {
        setting.steps(&mut writer, &mut trainer, 6);
        writer.save(&trainer).unwrap();
    }
    drop(writer);
    let usable = ["step-12.safetensors", "step-18.safetensors", "step-24.safetensors", "step-6.safetensors"];
    assert_eq!(checkpoints(&path), usable);
    go_back(&path, "step-6.safetensors");
    let (writer, mut trainer) = setting.resume(&path);
    assert_eq!(trainer.position().step, 6);
    // the first epoch has eight or nine minibatches, so the lines that step 6 was saved with are still there
    let abandoned = ["abandoned-step-12.safetensors", "abandoned-step-18.safetensors", "abandoned-step-24.safetensors"];
    assert_eq!(checkpoints(&path), [&abandoned[..], &["step-6.safetensors"]].concat());
    drop(writer);

    // one of them is no damage
    let trainer_file = std::fs::read(path.join("trainer.safetensors")).unwrap();
    go_back(&path, "abandoned-step-18.safetensors");
    let error = RunWriter::resume(&path).unwrap().restore(&mut setting.trainer()).unwrap_err();
    assert!(matches!(error, Error::Abandoned { step: 18, .. }), "{error}");
    std::fs::write(path.join("trainer.safetensors"), trainer_file).unwrap();

    // new checkpoints take their places, the oldest abandoned one first
    let mut writer = setting.resume(&path).0.keep_checkpoints(3);
    for expected in [
        ["abandoned-step-18.safetensors", "abandoned-step-24.safetensors", "step-6.safetensors"],
        ["abandoned-step-24.safetensors", "step-11.safetensors", "step-6.safetensors"],
        ["step-11.safetensors", "step-16.safetensors", "step-6.safetensors"],
        ["step-11.safetensors", "step-16.safetensors", "step-21.safetensors"],
    ] {
        setting.steps(&mut writer, &mut trainer, 5);
        writer.save(&trainer).unwrap();
        assert_eq!(checkpoints(&path), expected);
    }
    drop(writer);
    let uninterrupted = setting.uninterrupted();
    for checkpoint in checkpoints(&path) {
        let copy = folder.path().join(&checkpoint);
        copy_all(&path, &copy);
        go_back(&copy, &checkpoint);
        assert_eq!(setting.finish(setting.resume(&copy)), uninterrupted, "{checkpoint}");
    }
}

#[test]
fn checkpoints_within_the_same_epoch_stay_usable() {
    let setting = Setting::new(|_, _| {});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let (writer, mut trainer) = setting.begin(&path);
    let mut writer = writer.keep_checkpoints(9);
    for _ in 0..4 {
        setting.steps(&mut writer, &mut trainer, 2);
        writer.save(&trainer).unwrap();
    }
    drop(writer);
    go_back(&path, "step-2.safetensors");
    setting.resume(&path);
    // no line was written between them
    let all = ["step-0.safetensors", "step-2.safetensors", "step-4.safetensors", "step-6.safetensors"];
    assert_eq!(checkpoints(&path), all);
    go_back(&path, "step-6.safetensors");
    assert_eq!(setting.finish(setting.resume(&path)), setting.uninterrupted());
}

#[test]
fn the_trainer_of_another_run_is_refused() {
    let setting = Setting::new(|_, _| {});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    drop(setting.begin(&path));
    let larger = ModelConfig { hidden_size: 10, ..setting.config.model.clone() };
    let mut other = Trainer::new(&Cpu::new(1).unwrap(), &larger, &setting.config.train, ExecutionPath::Auto).unwrap();
    let error = RunWriter::resume(&path).unwrap().restore(&mut other).unwrap_err();
    assert!(matches!(&error, Error::Mismatch { reason, .. } if reason.contains("10")), "{error}");

    // the trainer's file of a run that differs in one setting
    let other = Setting::new(|_, train| train.lr = 0.25);
    let other_path = folder.path().join("other");
    drop(other.begin(&other_path));
    std::fs::copy(other_path.join("trainer.safetensors"), path.join("trainer.safetensors")).unwrap();
    let error = RunWriter::resume(&path).unwrap().restore(&mut setting.trainer()).unwrap_err();
    let text = "`train.lr` is 0.25 and not 1.0";
    assert!(matches!(&error, Error::Mismatch { reason, .. } if reason.contains(text)), "{error}");
}
