//! The eight stages from text to update on a small example, with the shape of each result.
//!
//! `cargo run -p rnnlm-model --example stages`

use rnnlm_model::{
    Batches, Corpus, CorpusOptions, Cpu, ExecutionPath, Init, LanguageModel, Minibatch, ModelConfig, Optimizer,
    ParameterSet, Sampling, TrainConfig,
};

const TEXT: &str = "The time traveller smiled. The traveller, said the time, is late again.";
const NUM_STEPS: usize = 5;
const BATCH_SIZE: usize = 3;

#[expect(clippy::print_stdout, reason = "the example prints its results")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("1 text         {TEXT:?}");

    let corpus = Corpus::from_bytes(TEXT.as_bytes(), &CorpusOptions::default())?;
    let vocab_size = corpus.vocab.len();
    println!("2 tokens       {} characters, vocabulary size V={vocab_size}", corpus.ids.len());
    println!("               the first ids: {:?}", &corpus.ids[..8]);

    let mut minibatch = Minibatch::new(BATCH_SIZE, NUM_STEPS);
    Batches::new(Sampling::Sequential, &corpus.ids, BATCH_SIZE, NUM_STEPS, 0, 0)?.fill(0, &mut minibatch)?;
    let row: Vec<u32> = minibatch.inputs.iter().step_by(BATCH_SIZE).copied().collect();
    let rows = NUM_STEPS * BATCH_SIZE;
    println!("3 minibatch    inputs and targets [T={NUM_STEPS}, N={BATCH_SIZE}], time-major: T·N={rows} rows");
    println!("               the first sequence: {:?}", corpus.vocab.decode(&row)?);

    let config = ModelConfig { hidden_size: 16, ..ModelConfig::book(vocab_size) };
    let cpu = Cpu::new(1)?;
    let mut model = LanguageModel::new(&cpu, &config, ExecutionPath::Reference)?;
    model.initialize(Init::Uniform, 0)?;
    let mut workspace = model.workspace(NUM_STEPS, BATCH_SIZE)?;
    let mut state = model.zero_state(BATCH_SIZE)?;
    workspace.load(&cpu, &minibatch)?;
    println!("4 input        [T·N={rows}, D={vocab_size}], one-hot: the layers read the ids");

    model.forward(&mut workspace, &mut state)?;
    println!("5 layers       output {:?}, H=16", workspace.memory().tape(0).output().shape());
    println!("               new state {:?}", state.hidden.shape());

    let mut gradients = ParameterSet::zeros(&cpu, model.parameters().layout())?;
    let before = model.loss(&mut workspace, &mut gradients)?;
    println!("6 output       logits {:?}", workspace.logits().shape());
    println!("  loss         {before:.4} nats per token; ln V = {:.4}", (vocab_size as f64).ln());

    model.backward(&mut workspace, &mut gradients)?;
    for spec in gradients.layout().specs() {
        println!("7 gradients    {:<18} {:?}", spec.name, spec.shape);
    }

    let mut optimizer = Optimizer::new(&cpu, &TrainConfig::book(), gradients.layout())?;
    let norm = optimizer.gradient_norm(&cpu, &gradients)?;
    optimizer.update(&cpu, 1.0, 1, &mut gradients, model.parameters_mut())?;
    println!("8 update       gradient norm {norm:.4}, clipped at 1; learning rate 1");

    state.reset(&cpu)?;
    model.forward(&mut workspace, &mut state)?;
    let after = model.score(&mut workspace)?;
    println!("               loss of the same minibatch afterwards: {after:.4} nats per token");
    assert!(after < before, "a step against the gradient reduces the loss");
    Ok(())
}
