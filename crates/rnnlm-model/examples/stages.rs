//! The walk from text to update, executed: eight stages, each with its real shape and a few of its numbers.
//!
//! `cargo run -p rnnlm-model --example walk`

use rnnlm_model::{Init, LanguageModel, ModelConfig, Optimizer, TrainConfig};
use rnnlm_rnn::{ExecutionPath, ParameterSet};
use rnnlm_tensor::Cpu;
use rnnlm_vocab::{Batches, Corpus, CorpusOptions, Minibatch, Sampling};

const TEXT: &str = "The time traveller smiled. The traveller, said the time, is late again.";
const NUM_STEPS: usize = 5;
const BATCH_SIZE: usize = 3;

#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("1 text         {TEXT:?}");

    let corpus = Corpus::from_bytes(TEXT.as_bytes(), &CorpusOptions::default())?;
    let vocab_size = corpus.vocab.len();
    println!("2 tokens       {} characters, {vocab_size} kinds: {:?}", corpus.ids.len(), &corpus.ids[..8]);

    let mut minibatch = Minibatch::new(BATCH_SIZE, NUM_STEPS);
    Batches::new(Sampling::Sequential, &corpus.ids, BATCH_SIZE, NUM_STEPS, 0, 0)?.fill(0, &mut minibatch)?;
    let row: Vec<u32> = minibatch.inputs.iter().step_by(BATCH_SIZE).copied().collect();
    println!("3 minibatches  [T={NUM_STEPS}, N={BATCH_SIZE}], its first row reads {:?}", corpus.vocab.decode(&row)?);

    let config = ModelConfig { hidden_size: 16, ..ModelConfig::book(vocab_size) };
    let cpu = Cpu::new(1)?;
    let mut model = LanguageModel::new(&cpu, &config, ExecutionPath::Reference)?;
    model.initialize(Init::Uniform, 0)?;
    let mut workspace = model.workspace(NUM_STEPS, BATCH_SIZE)?;
    let mut state = model.zero_state(BATCH_SIZE)?;
    workspace.load(&cpu, &minibatch)?;
    let rows = workspace.rows();
    println!("4 input        [T·N={rows}, D={vocab_size}], one-hot: ids, never written out");

    model.forward(&mut workspace, &mut state)?;
    let tape = workspace.memory().tape(0);
    println!("5 layers       {:?} states of H=16, the carried one {:?}", tape.output().shape(), state.hidden.shape());

    let mut gradients = ParameterSet::zeros(&cpu, model.parameters().layout())?;
    let before = model.loss(&mut workspace, &mut gradients)?;
    println!("6 output       {:?} logits", workspace.logits().shape());
    println!("  loss         {before:.4} nats a token; ln V is {:.4}", (vocab_size as f64).ln());

    model.backward(&mut workspace, &mut gradients)?;
    for spec in gradients.layout().specs() {
        println!("7 gradients    {:<18} {:?}", spec.name, spec.shape);
    }

    let mut optimizer = Optimizer::new(&cpu, &TrainConfig::book(), gradients.layout().len())?;
    let norm = optimizer.gradient_norm(&cpu, &gradients)?;
    optimizer.update(&cpu, (1.0, 1), &mut gradients, model.parameters_mut())?;
    model.zero_state(BATCH_SIZE).map(|zero| state = zero)?;
    model.forward(&mut workspace, &mut state)?;
    let after = model.score(&mut workspace)?;
    println!("8 update       gradient norm {norm:.4}; the same minibatch now costs {after:.4}");
    assert!(after < before, "a step against the gradient lowers the loss");
    Ok(())
}
