//! Variable-length backpropagation through time: a minibatch has the bits that it has in memory of its own length.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use rnnlm_model::{
    Cell, Cpu, ExecutionPath, ModelConfig, Nonlinearity, ParameterSet, Sampling, State, TrainConfig, Trainer,
};

const V: usize = 9;

fn ids(len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (i * i + i / 3) % V as u32).collect()
}

fn config() -> TrainConfig {
    TrainConfig { batch_size: 3, num_steps: 12, variable_bptt: true, clip: 0.0, ..TrainConfig::book() }
}

fn models() -> Vec<ModelConfig> {
    let model = |cell, num_layers, embedding_size| ModelConfig {
        cell,
        num_layers,
        embedding_size,
        hidden_size: 7,
        residual: num_layers > 1,
        ..ModelConfig::book(V)
    };
    let (rnn, gru) = (Cell::Rnn(Nonlinearity::Tanh), Cell::Gru { reset_after: true });
    vec![model(rnn, 1, 0), model(gru, 2, 0), model(Cell::Lstm, 2, 5)]
}

fn state(trainer: &Trainer<Cpu>) -> State<Cpu> {
    let cpu = trainer.model().backend();
    let (from, mut to) = (trainer.state(), trainer.model().zero_state(3).unwrap());
    to.hidden.write(cpu, &from.hidden.to_vec(cpu).unwrap()).unwrap();
    to.cell.write(cpu, &from.cell.to_vec(cpu).unwrap()).unwrap();
    to
}

#[test]
fn a_minibatch_has_the_bits_of_memory_for_its_length() {
    let cpu = Cpu::new(2).unwrap();
    for model in models() {
        for path in [ExecutionPath::Auto, ExecutionPath::Reference] {
            let mut train = config();
            if model.num_layers > 1 {
                (train.weight_drop, train.dropout_hidden, train.dropout_output) = (0.3, 0.2, 0.2);
                (train.ar, train.tar) = (2.0, 1.0);
            }
            let mut trainer = Trainer::new(&cpu, &model, &train, path).unwrap();
            let text = ids(400);
            let mut lengths = Vec::new();
            for (step, minibatch) in (0..).zip(train.batches(&text, 0).unwrap()) {
                let (length, mut state) = (minibatch.num_steps, state(&trainer));
                let layout = trainer.model().parameters().layout();
                let before = trainer.model().parameters().to_vec(&cpu).unwrap();
                let mut gradients = ParameterSet::zeros(&cpu, layout).unwrap();
                let mut workspace = trainer.model().workspace(length, 3).unwrap();
                workspace.set_regularization(&cpu, &train.regularization(step)).unwrap();
                workspace.load(&cpu, &minibatch).unwrap();
                trainer.model().forward(&mut workspace, &mut state).unwrap();
                let loss = trainer.model().loss(&mut workspace, &mut gradients).unwrap();
                trainer.model().backward(&mut workspace, &mut gradients).unwrap();

                let report = trainer.step(&minibatch).unwrap();
                assert_eq!(report.loss.to_bits(), loss.to_bits(), "{length} steps of {model:?}");
                let gradients = gradients.to_vec(&cpu).unwrap();
                assert_eq!(trainer.gradients().to_vec(&cpu).unwrap(), gradients, "{length} steps of {model:?}");
                assert_eq!(trainer.state().hidden.to_vec(&cpu).unwrap(), state.hidden.to_vec(&cpu).unwrap());
                // the learning rate is proportional to the length
                let after = trainer.model().parameters().to_vec(&cpu).unwrap();
                for ((after, before), gradient) in after.iter().zip(&before).zip(&gradients) {
                    let expected = before - length as f32 / 12.0 * gradient;
                    assert!((after - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "{after} {expected}");
                }
                lengths.push(length);
            }
            // 400 tokens on three rows, without an offset of at most 12
            assert!((129..=133).contains(&lengths.iter().sum::<usize>()), "{lengths:?}");
            assert!(lengths.iter().any(|&length| length > 12) && lengths.iter().any(|&length| length < 12));
        }
    }
}

#[test]
fn every_token_of_a_row_is_read_once_and_the_perplexity_is_the_mean_over_tokens() {
    let text = ids(400);
    let train = config();
    let cpu = Cpu::new(1).unwrap();
    let model = &models()[0];
    let mut trainer = Trainer::new(&cpu, model, &train, ExecutionPath::Auto).unwrap();
    let mut by_steps = Trainer::new(&cpu, model, &train, ExecutionPath::Auto).unwrap();
    let batches = train.batches(&text, 0).unwrap();
    let offset = batches.offset();
    let (mut nats, mut tokens, mut rows) = (0.0, 0, vec![Vec::new(); 3]);
    for minibatch in batches {
        let report = by_steps.step(&minibatch).unwrap();
        nats += f64::from(report.loss) * minibatch.inputs.len() as f64;
        tokens += minibatch.inputs.len();
        minibatch.inputs.chunks(3).for_each(|step| rows.iter_mut().zip(step).for_each(|(row, &id)| row.push(id)));
    }
    assert_eq!(rows.concat(), text[offset..offset + tokens]);
    let report = trainer.epoch(&text, &|| false).unwrap().unwrap();
    assert!((report.perplexity / (nats / tokens as f64).exp() - 1.0).abs() < 1e-9);
    assert_eq!(report.tokens, tokens as u64);
    let bits = |trainer: &Trainer<Cpu>| trainer.model().parameters().to_vec(&cpu).unwrap();
    assert_eq!(bits(&trainer), bits(&by_steps));
}

#[test]
fn settings_without_rows_to_cut_are_refused() {
    let refused = [
        (TrainConfig { sampling: Sampling::Random, ..config() }, "`variable_bptt` is true with `sampling` random"),
        (TrainConfig { accumulate: 2, ..config() }, "`variable_bptt` is true with `accumulate` 2"),
    ];
    for (train, message) in refused {
        let error = train.validate().unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn a_minibatch_that_is_too_long_is_an_error() {
    let mut trainer = Trainer::new(&Cpu::new(1).unwrap(), &models()[0], &config(), ExecutionPath::Auto).unwrap();
    let long = TrainConfig { num_steps: 23, variable_bptt: false, ..config() };
    let minibatch = long.batches(&ids(400), 0).unwrap().into_iter().next().unwrap();
    assert!(trainer.step(&minibatch).is_err());
}
