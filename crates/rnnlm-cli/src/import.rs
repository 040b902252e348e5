//! `rnnlm import`: a run from weights that PyTorch trained. Everything is read and found to fit before a folder is made.

use std::io::{Write, stdout};

use rnnlm_model::{Cell, Checkpoint, ModelConfig, read_vocab};
use rnnlm_vocab::Vocab;
use serde_json::json;

use crate::args::{Format, ImportArgs};
use crate::failure::{Exit, Failure, Result};
use crate::out::Out;
use crate::progress::error_line;
use crate::{corpora, describe, format, memory, space};

pub(crate) fn run(args: &ImportArgs) -> Result<Exit> {
    let vocab = read_vocab(&args.vocab, args.token, args.normalize)?;
    let bytes = args.file.metadata().map_or(0, |about| about.len());
    memory::check_import(bytes)?;
    let checkpoint = Checkpoint::read(&args.file, args.nonlinearity)?;
    checkpoint.check_vocab(&vocab)?;
    let model = checkpoint.model();
    let out = Out::choose(args.out.as_ref(), args.force, &stem(args, model))?;
    // parameters in float32 and a vocabulary are less than the file that they come from or little more
    space::check(&out.path, 4 * checkpoint.values().len() as u64)?;
    let path = out.make(|path, replace| checkpoint.save(path, replace, vocab.clone()))?.path().display().to_string();
    let parameters = checkpoint.values().len();
    match args.format {
        Format::Json => {
            let object = json!({ "run_dir": path, "parameters": parameters, "model": model });
            writeln!(stdout(), "{object}")
        }
        Format::Text => {
            introduce(args, model, parameters, &vocab);
            writeln!(stdout(), "run {path}")
        }
    }
    .map_err(Failure::Stream)?;
    Ok(Exit::Success)
}

/// `FILE-CELL`, by which the folder is called if nobody says otherwise.
fn stem(args: &ImportArgs, model: &ModelConfig) -> String {
    format!("{}-{}", corpora::stem(&args.file), model.cell.as_str())
}

/// What was found, on standard error.
fn introduce(args: &ImportArgs, model: &ModelConfig, parameters: usize, vocab: &Vocab) {
    let input = match model.embedding_size {
        0 => "one-hot input".to_owned(),
        size => format!("embedding of {size}"),
    };
    let parameters = format::thousands(parameters as u64);
    error_line(&format!("model   {}, {input}, {parameters} parameters", describe::model(model)));
    if matches!(model.cell, Cell::Rnn(_)) && args.nonlinearity.is_none() {
        error_line("note    shapes do not say whether an rnn is tanh or relu: --nonlinearity does");
    }
    let tokens = format::thousands(vocab.len() as u64);
    error_line(&format!(
        "vocab   {tokens} tokens of kind {}, texts normalised: {}",
        vocab.kind(),
        vocab.normalization()
    ));
}
