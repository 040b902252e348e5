//! Describes a text, a model and a training configuration in a few words, for the first lines of a command's output.

use rnnlm_model::{Average, ModelConfig, OptimizerConfig, Schedule, TrainConfig};
use rnnlm_rnn::ExecutionPath;
use rnnlm_vocab::{Corpus, CorpusOptions, Documents, Normalization, TextIds, TokenKind};

use crate::human;
use crate::memory::Estimate;

/// A text of which `used` tokens are used: `10,000 of 42,000 characters, 28 distinct tokens, letters only, lower-case`.
pub(crate) fn text(corpus: &Corpus, used: usize, options: &CorpusOptions) -> String {
    let unit = match options.kind {
        TokenKind::Char => "character",
        TokenKind::Word => "word",
        TokenKind::Byte => "byte",
        TokenKind::WordPunct => "token",
        TokenKind::Subword => "subword",
    };
    let used = used as u64;
    let all = human::count(corpus.tokens, unit);
    let amount = match used {
        _ if used < corpus.tokens => format!("{} of {all}", human::thousands(used)),
        1 => all,
        _ => format!("all {all}"),
    };
    let normalization = match options.normalization {
        Normalization::Book => "letters only, lower-case",
        Normalization::Lower => "lower-case",
        Normalization::None => "not normalized",
    };
    let distinct = human::count(corpus.vocab.len() as u64, "distinct token");
    let unknown = match corpus.unknown.count() {
        0 => String::new(),
        count => {
            let rate = human::percent(count, corpus.tokens as usize);
            format!(", {} unknown ({rate})", human::thousands(count as u64))
        }
    };
    let documents = match corpus.vocab.documents() {
        Documents::None => String::new(),
        _ => format!(" in {}", human::count(corpus.documents.len() as u64, "document")),
    };
    format!("{amount}{documents}, {distinct}, {normalization}{unknown}")
}

/// `1,200 tokens`; `1,200 tokens in 150 documents`.
pub(crate) fn size(text: &TextIds<'_>) -> String {
    let tokens = human::count(text.num_tokens() as u64, "token");
    match text {
        TextIds::Stream(_) => tokens,
        TextIds::Documents(documents) => format!("{tokens} in {}", human::count(documents.len() as u64, "document")),
    }
}

/// `rnn tanh, 256 hidden units`; `gru reset-before, 2 layers, bidirectional, 64 hidden units`.
pub(crate) fn model(config: &ModelConfig) -> String {
    let mut name = config.stack().cell.name().to_owned();
    if config.num_layers > 1 {
        name.push_str(&format!(", {} layers", config.num_layers));
    }
    if config.bidirectional {
        name.push_str(", bidirectional");
    }
    name.push_str(&format!(", {}", human::count(config.hidden_size as u64, "hidden unit")));
    match (config.embedding_size, config.tie_weights) {
        (0, _) => {}
        (size, false) => name.push_str(&format!(", embedding size {size}")),
        (size, true) => name.push_str(&format!(", embedding size {size}, tied")),
    }
    if let Some(softmax) = &config.adaptive_softmax {
        let cutoffs: Vec<String> = softmax.cutoffs.iter().map(ToString::to_string).collect();
        name.push_str(&format!(", adaptive softmax {}", cutoffs.join(",")));
    }
    name
}

/// `learning rate 1, clip 1`; `adamw, learning rate 0.001, cosine after 2 epochs of warm-up, clip 1, dropout 0.5`.
pub(crate) fn training(train: &TrainConfig) -> String {
    let mut parts = Vec::new();
    if train.optimizer != OptimizerConfig::SGD {
        parts.push(train.optimizer.as_str().to_owned());
    }
    parts.push(format!("learning rate {}", train.lr));
    let schedule = train.schedule.as_str();
    let warmup = match (train.warmup, train.warmup_steps) {
        (0, 0) => None,
        (0, steps) => Some(human::count(steps, "step")),
        (epochs, _) => Some(human::count(epochs, "epoch")),
    };
    match (train.schedule, warmup) {
        (Schedule::Constant, None) => {}
        (_, None) => parts.push(schedule.to_owned()),
        (_, Some(warmup)) => parts.push(format!("{schedule} after {warmup} of warm-up")),
    }
    parts.push(match train.clip_value {
        0.0 => format!("clip {}", train.clip),
        bound => format!("clip by value {bound}"),
    });
    if train.shards > 1 {
        parts.push(format!("{} shards", train.shards));
    }
    if train.accumulate > 1 {
        parts.push(format!("gradients of {} minibatches", train.accumulate));
    }
    if train.variable_bptt {
        parts.push("variable-length BPTT".to_owned());
    }
    if train.average != Average::None {
        parts.push(format!("average {}", train.average.as_str()));
    }
    if train.dropout > 0.0 {
        parts.push(format!("dropout {}", train.dropout));
    }
    let regularization = [
        ("weight drop", train.weight_drop),
        ("dropout of embeddings", train.dropout_embedding),
        ("locked dropout of the input", train.dropout_input),
        ("between layers", train.dropout_hidden),
        ("of the output", train.dropout_output),
        ("AR", train.ar),
        ("TAR", train.tar),
        ("label smoothing", train.label_smoothing),
    ];
    let set = regularization.into_iter().filter(|(_, value)| *value > 0.0);
    parts.extend(set.map(|(name, value)| format!("{name} {value}")));
    parts.join(", ")
}

/// `38.1 MB of memory`; `2.1 GB of GPU memory, 350.2 MB of memory`.
pub(crate) fn memory(estimate: Estimate) -> String {
    let device = estimate.device.map(|bytes| format!("{} of GPU memory, ", human::bytes(bytes))).unwrap_or_default();
    format!("{device}{} of memory", human::bytes(estimate.host))
}

/// The execution path in use; also a value in the JSON output of `rnnlm train`.
pub(crate) fn execution_path(path: ExecutionPath) -> &'static str {
    match path {
        ExecutionPath::Fused => "fused path",
        ExecutionPath::Auto | ExecutionPath::Reference => "reference path",
    }
}
