//! `rnnlm import`: creates a run from weights that PyTorch trained. Everything is read and checked before a folder is
//! created.

use std::path::PathBuf;

use rnnlm_model::{Cell, Checkpoint, ModelConfig, Nonlinearity, read_vocab};
use rnnlm_vocab::{Normalization, TokenKind, Vocab};
use serde_json::json;

use crate::args::Format;
use crate::failure::{Exit, Result};
use crate::progress::error_line;
use crate::run_folder::RunFolder;
use crate::values::{nonlinearity, normalization, token_kind};
use crate::{corpora, describe, disk_space, human, memory, output};

const EXAMPLES: &str = "\
Examples:
  rnnlm import gru.safetensors --vocab tokens.json
  rnnlm import rnn.safetensors --vocab tokens.json --nonlinearity relu

Cell, layers, directions and sizes follow from the names and shapes of the tensors. Weights of 16 or 64 bits are \
converted to float32. `rnnlm generate`, `rnnlm eval` and `rnnlm train --init-from` accept the run.";

/// Create a run from a model that PyTorch trained.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ImportArgs {
    /// Weights, written by `safetensors.torch.save_file(model.state_dict(), FILE)`. The model has the attributes rnn
    /// (torch.nn.RNN, GRU or LSTM), linear (torch.nn.Linear) and, unless its input is one-hot, embedding.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Vocabulary: the vocab.json of a run, or a JSON array of the tokens in the order of their ids, `<unk>` first.
    #[arg(long, value_name = "FILE")]
    vocab: PathBuf,
    /// Activation function of a torch.nn.RNN, which its weights do not determine [default: tanh].
    #[arg(long, value_parser = nonlinearity, value_name = "tanh|relu")]
    nonlinearity: Option<Nonlinearity>,
    /// Unit of tokenization, for a JSON array of tokens [default: char].
    #[arg(long, value_parser = token_kind, value_name = "char|word|byte")]
    token: Option<TokenKind>,
    /// Normalization of texts, for a JSON array of tokens. `book` keeps only the letters A-Z, in lower case, with
    /// single spaces, and joins lines without a space; `lower` keeps every character, in lower case; `none` changes
    /// nothing [default: book].
    #[arg(long, value_parser = normalization, value_name = "book|lower|none")]
    normalize: Option<Normalization>,
    /// Folder of the run [default: runs/FILE-CELL-N with the first free N].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace the run in --out; a folder that is not a run is never replaced.
    #[arg(long)]
    force: bool,
    /// Format of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn run(args: &ImportArgs) -> Result<Exit> {
    let vocab = read_vocab(&args.vocab, args.token, args.normalize)?;
    let file_bytes = args.file.metadata().map_or(0, |metadata| metadata.len());
    memory::check_import(file_bytes)?;
    let checkpoint = Checkpoint::read(&args.file, args.nonlinearity)?;
    checkpoint.check_vocab(&vocab)?;
    let model = checkpoint.model();
    let stem = format!("{}-{}", corpora::stem(&args.file), model.cell.as_str());
    let folder = RunFolder::choose(args.out.as_ref(), args.force, &stem)?;
    let parameters = checkpoint.values().len();
    // the other files of the run are small
    disk_space::check(&folder.path, 4 * parameters as u64)?;
    let run = folder.create_with(|path, replace| checkpoint.save(path, replace, vocab.clone()))?;
    let run = run.path().display().to_string();
    match args.format {
        Format::Json => output::json(&json!({ "run_dir": run, "parameters": parameters, "model": model })),
        Format::Text => {
            print_model(args, model, parameters, &vocab);
            output::line(&format!("run {run}"))
        }
    }?;
    Ok(Exit::Success)
}

/// Prints to standard error what the file contained.
fn print_model(args: &ImportArgs, model: &ModelConfig, parameters: usize, vocab: &Vocab) {
    let input = if model.embedding_size == 0 { ", one-hot input" } else { "" };
    let parameters = human::thousands(parameters as u64);
    error_line(&format!("model   {}{input}, {parameters} parameters", describe::model(model)));
    if matches!(model.cell, Cell::Rnn(_)) && args.nonlinearity.is_none() {
        error_line("note    the weights of an rnn do not determine its activation function; --nonlinearity sets it");
    }
    let tokens = human::thousands(vocab.len() as u64);
    error_line(&format!("vocab   {tokens} {} tokens, normalization {}", vocab.kind(), vocab.normalization()));
}
