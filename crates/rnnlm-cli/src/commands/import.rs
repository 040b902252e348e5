//! `rnnlm import`: creates a run from weights that PyTorch trained. Everything is read and checked before a folder is
//! created.

use std::path::PathBuf;

use rnnlm_model::{
    Cell, Checkpoint, ImportOptions, ImportVocab, ImportedModel, ImportedModule, Nonlinearity, Rename, read_vocab,
};
use rnnlm_vocab::{Normalization, TokenKind, UNKNOWN_TOKEN, Vocab};
use serde_json::json;

use crate::args::Format;
use crate::failure::{Exit, Failure, Result};
use crate::progress::error_line;
use crate::run_folder::RunFolder;
use crate::values::{nonlinearity, normalization, token_kind};
use crate::{corpora, describe, disk_space, human, memory, output};

const EXAMPLES: &str = "\
Examples:
  rnnlm import gru.safetensors --vocab tokens.json
  rnnlm import rnn.safetensors --vocab tokens.json --nonlinearity relu
  rnnlm import words.safetensors --vocab words.txt --token word --normalize none
  rnnlm import my.safetensors --vocab tokens.json --rename core.tok=embedding";

const DETAILS: &str = "\
Tensors:
  The layers are a torch.nn.RNN, GRU or LSTM with any name, or a minGRU or minLSTM, which has weight_ih_l0 and no \
weight_hh_l0. The embedding has `emb` in its name or is called `encoder`. \
The output layer has `linear`, `fc`, `out`, `head`, `dense` or `proj` in its name, or is called `decoder` or \
`classifier`. Prefixes such as `model.` and `module.` have no effect. --rename FROM=TO is for other names: a tensor FROM \
or FROM.x becomes TO or TO.x before names are recognized, so that modules can be called embedding, rnn and linear. Of \
several FROM, the longest applies. Layers with bias=False get biases of zeros, which is the same model.

Vocabulary:
  A JSON array of the tokens in the order of their ids, a JSON object of \"token\": id, or, in a file that is not *.json, \
one token per line. `<unk>`, `<UNK>` or `[UNK]` may have any id. If there is none, `<unk>` is added with a probability \
below 1e-8, which does not change the perplexity of known tokens.

Cell, layers, directions and sizes follow from the names and shapes of the tensors. Weights of 16 or 64 bits are \
converted to float32. `rnnlm generate`, `rnnlm eval` and `rnnlm train --init-from` accept the run.";

/// Create a run from a model that PyTorch trained.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{DETAILS}"))]
pub(crate) struct ImportArgs {
    /// Weights that safetensors.torch wrote with save_file(model.state_dict(), FILE) or save_model(model, FILE). The model
    /// has an embedding or one-hot input, recurrent layers and an output layer.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Vocabulary: the vocab.json of a run, a JSON array of the tokens, a JSON object of tokens and ids, or one token per
    /// line.
    #[arg(long, value_name = "FILE")]
    vocab: PathBuf,
    /// Rename tensors before their names are recognized; can be repeated.
    #[arg(long, value_parser = rename, value_name = "FROM=TO")]
    rename: Vec<Rename>,
    /// Activation function of a torch.nn.RNN, which its weights do not determine [default: tanh].
    #[arg(long, value_parser = nonlinearity, value_name = "tanh|relu")]
    nonlinearity: Option<Nonlinearity>,
    /// Unit of tokenization, unless --vocab is the vocab.json of a run [default: char].
    #[arg(long, value_parser = token_kind, value_name = "char|word|byte|word-punct")]
    token: Option<TokenKind>,
    /// Normalization of texts, unless --vocab is the vocab.json of a run. `book` keeps only the letters A-Z, in lower case, with
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
    let vocab = vocab(args)?;
    let file_bytes = args.file.metadata().map_or(0, |metadata| metadata.len());
    memory::check_import(file_bytes)?;
    let options = ImportOptions { nonlinearity: args.nonlinearity, renames: args.rename.clone() };
    let checkpoint = Checkpoint::read(&args.file, &options)?;
    let modules = checkpoint.modules().to_vec();
    let unknown = describe_unknown(&vocab);
    let imported = checkpoint.with_vocab(vocab)?;
    let model = imported.model();
    let stem = format!("{}-{}", corpora::stem(&args.file), model.cell.as_str());
    let folder = RunFolder::choose(args.out.as_ref(), args.force, &stem)?;
    let parameters = imported.values().len();
    // the other files of the run are small
    disk_space::check(&folder.path, 4 * parameters as u64)?;
    let run = folder.create_with(|path, replace| imported.save(path, replace))?;
    let run = run.path().display().to_string();
    match args.format {
        Format::Json => output::json(&json!({ "run_dir": run, "parameters": parameters, "model": model })),
        Format::Text => {
            print_model(args, &imported, &modules, &unknown);
            output::line(&format!("run {run}"))
        }
    }?;
    Ok(Exit::Success)
}

/// Reads the vocabulary.
fn vocab(args: &ImportArgs) -> Result<ImportVocab> {
    use rnnlm_vocab::Error::VocabContent;
    read_vocab(&args.vocab, args.token, args.normalize).map_err(|error| match error {
        rnnlm_model::Error::Vocab(VocabContent { .. }) if args.token.is_none() => {
            Failure::failed(error.to_string()).with_hint("--token word reads a vocabulary of words")
        }
        error => error.into(),
    })
}

/// Parses `FROM=TO`.
fn rename(text: &str) -> Result<Rename, String> {
    let is_path = |path: &str| !path.is_empty() && path.split('.').all(|attribute| !attribute.is_empty());
    match text.split_once('=') {
        Some((from, to)) if is_path(from) && is_path(to) => Ok(Rename { from: from.to_owned(), to: to.to_owned() }),
        _ => Err("expected FROM=TO, two attribute paths such as encoder=embedding or model.lstm=rnn".to_owned()),
    }
}

/// Prints to standard error what the files contained.
fn print_model(args: &ImportArgs, imported: &ImportedModel, modules: &[ImportedModule], unknown: &str) {
    let (model, vocab) = (imported.model(), imported.vocab());
    let input = if model.embedding_size == 0 { ", one-hot input" } else { "" };
    let parameters = human::thousands(imported.values().len() as u64);
    error_line(&format!("model   {}{input}, {parameters} parameters", describe::model(model)));
    error_line(&format!("modules {}", describe_modules(modules)));
    if matches!(model.cell, Cell::Rnn(_)) && args.nonlinearity.is_none() {
        error_line("note    the weights of an rnn do not determine its activation function; --nonlinearity sets it");
    }
    let tokens = human::count(vocab.len() as u64, &format!("{} token", vocab.kind()));
    error_line(&format!("vocab   {tokens}, normalization {}{unknown}", vocab.normalization()));
    if let Some(warning) = warn_normalization(vocab) {
        error_line(&warning);
    }
}

/// `encoder (embedding), rnn (recurrent layers, no biases), decoder (output layer)`.
fn describe_modules(modules: &[ImportedModule]) -> String {
    let describe = |module: &ImportedModule| {
        let has_bias_option = module.kind != rnnlm_model::ModuleKind::Embedding;
        let no_biases = if has_bias_option && !module.has_biases { ", no biases" } else { "" };
        format!("{} ({}{no_biases})", module.path, module.kind.description())
    };
    modules.iter().map(describe).collect::<Vec<_>>().join(", ")
}

/// How the vocabulary's file represents unknown tokens, if not as `<unk>` with id 0.
fn describe_unknown(vocab: &ImportVocab) -> String {
    match vocab.unknown() {
        _ if vocab.vocab().kind() == TokenKind::Subword => String::new(),
        None => format!(", `{UNKNOWN_TOKEN}` added"),
        Some((UNKNOWN_TOKEN, 0)) => String::new(),
        Some((UNKNOWN_TOKEN, id)) => format!(", `{UNKNOWN_TOKEN}` has id {id} in the file"),
        Some((token, id)) => format!(", `{UNKNOWN_TOKEN}` is `{token}` with id {id}"),
    }
}

/// A warning if the normalization removes tokens of the vocabulary from every text.
fn warn_normalization(vocab: &Vocab) -> Option<String> {
    let ordinary = vocab.tokens().enumerate().skip(1 + vocab.reserved());
    let mut lost = ordinary.filter(|&(id, token)| {
        // subwords have no normalization of their own
        let is_kept = matches!(vocab.kind(), TokenKind::Byte | TokenKind::Subword)
            || vocab.encode_prefix(token).ids == [id as u32];
        !is_kept
    });
    let (_, first) = lost.next()?;
    let count = human::count(1 + lost.count() as u64, "token");
    Some(format!(
        "warning: normalization {} removes {count} of the vocabulary, such as {first:?}, from every text; \
         --normalize none keeps a text as it is",
        vocab.normalization()
    ))
}
