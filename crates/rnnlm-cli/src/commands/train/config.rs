//! From the arguments to the configurations of text, model and training. Each optimizer and each schedule has its own
//! flags; a flag of another one is an error before training starts.

use std::path::Path;

use rnnlm_model::{Average, ModelConfig, OptimizerConfig, Schedule, TrainConfig};
use rnnlm_vocab::{CorpusOptions, Documents, Normalization, Sampling, TokenCache, TokenKind, Vocab};
use toml::Value;

use super::args::TrainArgs;
use super::settings::{Settings, flag};
use crate::corpora::{self, TextSource};
use crate::failure::{Failure, Result};
use crate::values::{AverageName, ScheduleName};

/// How the text is read.
pub(crate) fn corpus_options(args: &TrainArgs, source: &TextSource) -> CorpusOptions {
    let (kind, default_normalization) = match &args.tokenizer {
        Some(_) => (TokenKind::Subword, Normalization::None),
        None => (args.token, source.default_normalization()),
    };
    CorpusOptions {
        kind,
        normalization: args.normalize.unwrap_or(default_normalization),
        line_ends: args.line_ends.unwrap_or(corpora::default_line_ends(kind)),
        encoding: args.encoding,
        min_freq: args.min_freq,
        max_vocab: args.max_vocab,
        max_tokens: args.max_tokens.unwrap_or(source.default_max_tokens()),
        documents: args.documents,
        reserved: Vec::new(),
    }
}

/// The model for a vocabulary of `vocab_size` entries.
pub(crate) fn model_config(args: &TrainArgs, vocab_size: usize) -> ModelConfig {
    ModelConfig {
        cell: args.cell.with_options(args.nonlinearity, !args.reset_before),
        vocab_size,
        hidden_size: args.hidden_size,
        num_layers: args.num_layers,
        bidirectional: args.bidirectional,
        embedding_size: args.embedding_size,
        tie_weights: args.tie_weights,
        residual: args.residual,
        adaptive_softmax: args.adaptive.softmax(),
    }
}

/// Checks the settings of the adaptive softmax that do not depend on the text.
fn require_adaptive_settings(args: &TrainArgs) -> Result<()> {
    match args.adaptive.softmax() {
        Some(softmax) => Ok(softmax.validate()?),
        None => match ["div_value", "head_bias"].into_iter().find(|name| args.settings.is_explicit(name)) {
            Some(name) => {
                let message =
                    format!("{} needs --adaptive-softmax (set by {})", flag(name), args.settings.origin(name));
                Err(Failure::usage(message))
            }
            None => Ok(()),
        },
    }
}

/// The training configuration.
///
/// # Errors
/// If two settings contradict each other, or a setting that the schedule needs is missing.
pub(crate) fn train_config(args: &TrainArgs) -> Result<TrainConfig> {
    let optimizer = optimizer(args)?;
    let schedule = schedule(args)?;
    let settings = &args.settings;
    let both_set = settings.is_explicit("clip") && settings.is_explicit("clip_value");
    if both_set && args.clip > 0.0 && args.clip_value > 0.0 {
        let message = format!("--clip {} and --clip-value {} cannot be used together", args.clip, args.clip_value);
        return Err(Failure::usage(message).with_hint("omit one of them, or set it to 0"));
    }
    if args.patience > 0 && args.val_fraction == 0.0 && args.val_corpus.is_none() {
        let message = format!("--patience {} needs a validation set", args.patience);
        return Err(Failure::usage(message).with_hint("add --val-fraction 0.1 or --val-corpus"));
    }
    if args.extend_vocab && args.init_from.is_none() {
        return Err(Failure::usage("--extend-vocab needs --init-from, the run whose vocabulary is extended"));
    }
    require_document_settings(args)?;
    require_adaptive_settings(args)?;
    Ok(TrainConfig {
        epochs: args.epochs,
        batch_size: args.batch_size,
        shards: args.shards.unwrap_or(1),
        num_steps: args.num_steps,
        variable_bptt: args.variable_bptt,
        optimizer,
        accumulate: args.accumulate,
        no_bias_decay: args.no_bias_decay,
        average: average(args)?,
        lr: args.lr.unwrap_or(optimizer.default_lr()),
        schedule,
        warmup: args.warmup,
        schedule_by_step: args.schedule_by_step,
        warmup_steps: args.warmup_steps,
        // --clip has a default, which --clip-value replaces
        clip: if args.clip_value > 0.0 { 0.0 } else { args.clip },
        clip_value: args.clip_value,
        dropout: args.dropout,
        weight_drop: args.weight_drop,
        dropout_input: args.dropout_input,
        dropout_hidden: args.dropout_hidden,
        dropout_output: args.dropout_output,
        dropout_embedding: args.dropout_embedding,
        ar: args.ar,
        tar: args.tar,
        label_smoothing: args.label_smoothing,
        patience: args.patience,
        sampling: args.sampling,
        reset_state: args.reset_state,
        shuffle: !args.no_shuffle,
        init: args.init,
        seed: args.seed.value,
    })
}

/// An error if the model has an adaptive softmax and the ids of the vocabulary are not by descending frequency.
pub(crate) fn require_frequency_order(model: &ModelConfig, vocab: &Vocab) -> Result<()> {
    let (Some(_), Some(id)) = (&model.adaptive_softmax, vocab.first_out_of_frequency_order()) else { return Ok(()) };
    let token = |id: u32| vocab.token(id).unwrap_or_default().to_owned();
    let count = |id: u32| vocab.frequencies().get(id as usize).copied().unwrap_or_default();
    let message = format!(
        "--adaptive-softmax needs ids by descending frequency: token {id} `{}` occurs {} times, token {} `{}` only {}",
        token(id),
        count(id),
        id - 1,
        token(id - 1),
        count(id - 1)
    );
    Err(Failure::failed(message).with_hint("train with the vocabulary of the text, without --vocab and --extend-vocab"))
}

/// Whether the text is a token cache.
fn is_cache(args: &TrainArgs) -> bool {
    TokenCache::is_cache(Path::new(&args.corpus()))
}

/// An error if documents are read in a way that needs one stream, or if a stream has a setting of documents.
fn require_document_settings(args: &TrainArgs) -> Result<()> {
    let documents = args.documents;
    if documents == Documents::None {
        // the documents of a run or a cache are not known yet
        let is_stream = args.init_from.is_none() && args.vocab.is_none() && !is_cache(args);
        return match args.no_shuffle && is_stream {
            true => Err(Failure::usage("--no-shuffle needs documents: a stream is never shuffled")
                .with_hint("add --documents lines, or omit --no-shuffle")),
            false => Ok(()),
        };
    }
    let refused = [
        ("--sampling random", args.sampling == Sampling::Random, "it cuts documents anywhere"),
        ("--reset-state", args.reset_state, "the state starts anew with each document"),
        ("--bidirectional", args.bidirectional, "it reads across the ends of documents"),
    ];
    match refused.into_iter().find(|(_, is_set, _)| *is_set) {
        None => Ok(()),
        Some((flag, _, reason)) => {
            let message = format!("--documents {documents} and {flag} cannot be used together: {reason}");
            Err(Failure::usage(message).with_hint("omit one of them"))
        }
    }
}

fn average(args: &TrainArgs) -> Result<Average> {
    let average = match args.average {
        AverageName::None => Average::None,
        AverageName::NtAsgd => Average::NtAsgd,
        AverageName::Ema => Average::Ema { decay: args.ema_decay.unwrap_or(0.999) },
    };
    let own: &[&str] = if args.average == AverageName::Ema { &["ema_decay"] } else { &[] };
    refuse_others(&args.settings, &["ema_decay"], own, &format!("--average {}", average.as_str()))?;
    if average == Average::NtAsgd && args.val_fraction == 0.0 && args.val_corpus.is_none() {
        let message = "--average nt-asgd needs a validation set, whose perplexity begins the average";
        return Err(Failure::usage(message).with_hint("add --val-fraction 0.1 or --val-corpus"));
    }
    Ok(average)
}

fn optimizer(args: &TrainArgs) -> Result<OptimizerConfig> {
    let mut optimizer = args.optimizer;
    let own: &[&str] = match &mut optimizer {
        OptimizerConfig::Sgd { momentum, nesterov, weight_decay } => {
            set(momentum, args.momentum);
            set(weight_decay, args.weight_decay);
            *nesterov = args.nesterov;
            &["momentum", "nesterov", "weight_decay"]
        }
        OptimizerConfig::Adam { betas, eps, weight_decay } | OptimizerConfig::Adamw { betas, eps, weight_decay } => {
            set(&mut betas[0], args.beta1);
            set(&mut betas[1], args.beta2);
            set(eps, args.eps);
            set(weight_decay, args.weight_decay);
            &["beta1", "beta2", "eps", "weight_decay"]
        }
        OptimizerConfig::SparseAdam { betas, eps } => {
            set(&mut betas[0], args.beta1);
            set(&mut betas[1], args.beta2);
            set(eps, args.eps);
            &["beta1", "beta2", "eps"]
        }
        OptimizerConfig::Rmsprop { alpha, eps, weight_decay, momentum } => {
            set(alpha, args.alpha);
            set(eps, args.eps);
            set(weight_decay, args.weight_decay);
            set(momentum, args.momentum);
            &["alpha", "eps", "momentum", "weight_decay"]
        }
    };
    let all = ["momentum", "nesterov", "beta1", "beta2", "alpha", "eps", "weight_decay"];
    refuse_others(&args.settings, &all, own, &format!("--optimizer {}", optimizer.as_str()))?;
    Ok(optimizer)
}

fn schedule(args: &TrainArgs) -> Result<Schedule> {
    let missing = |name: &str, schedule: &str| Failure::usage(format!("--schedule {schedule} needs {}", flag(name)));
    let (schedule, own): (_, &[&str]) = match args.schedule {
        ScheduleName::Constant => (Schedule::Constant, &[]),
        ScheduleName::Step => {
            let step_size = args.step_size.ok_or_else(|| missing("step_size", "step"))?;
            (Schedule::Step { step_size, gamma: args.gamma.unwrap_or(0.1) }, &["step_size", "gamma"])
        }
        ScheduleName::Exponential => {
            let gamma = args.gamma.ok_or_else(|| missing("gamma", "exponential"))?;
            let decay_after = args.decay_after.unwrap_or(1);
            (Schedule::Exponential { gamma, decay_after }, &["gamma", "decay_after"])
        }
        ScheduleName::Cosine => (Schedule::Cosine { min_lr: args.min_lr.unwrap_or(0.0) }, &["min_lr"]),
        ScheduleName::OneCycle => {
            let pct_start = args.pct_start.unwrap_or(0.3);
            let div_factor = args.div_factor.unwrap_or(25.0);
            let final_div_factor = args.final_div_factor.unwrap_or(1e4);
            let schedule = Schedule::OneCycle { pct_start, div_factor, final_div_factor };
            (schedule, &["pct_start", "div_factor", "final_div_factor"])
        }
        ScheduleName::Plateau => {
            let factor = args.plateau_factor.unwrap_or(0.1);
            let patience = args.plateau_patience.unwrap_or(10);
            (Schedule::Plateau { factor, patience }, &["plateau_factor", "plateau_patience"])
        }
    };
    let all = [
        "step_size",
        "gamma",
        "decay_after",
        "min_lr",
        "pct_start",
        "div_factor",
        "final_div_factor",
        "plateau_factor",
        "plateau_patience",
    ];
    refuse_others(&args.settings, &all, own, &format!("--schedule {}", schedule.as_str()))?;
    Ok(schedule)
}

/// The value of a setting of the optimizer or the schedule; `None` if the optimizer or the schedule does not use it.
pub(crate) fn value_in_use(train: &TrainConfig, name: &str) -> Option<Value> {
    use OptimizerConfig::{Adam, Adamw, Rmsprop, Sgd, SparseAdam};
    // through the shortest decimal text, so that 0.1 does not become 0.10000000149011612
    let single = |value: f32| value.to_string().parse().ok().map(Value::Float);
    let double = |value: f64| Some(Value::Float(value));
    match (name, train.optimizer, train.schedule) {
        ("lr", ..) => single(train.lr),
        ("weight_decay", SparseAdam { .. }, _) => None,
        ("weight_decay", ..) => single(train.optimizer.weight_decay()),
        ("ema_decay", ..) => match train.average {
            Average::Ema { decay } => double(decay),
            _ => None,
        },
        ("momentum", Sgd { momentum, .. } | Rmsprop { momentum, .. }, _) => single(momentum),
        ("beta1", Adam { betas, .. } | Adamw { betas, .. } | SparseAdam { betas, .. }, _) => double(betas[0]),
        ("beta2", Adam { betas, .. } | Adamw { betas, .. } | SparseAdam { betas, .. }, _) => double(betas[1]),
        ("eps", Adam { eps, .. } | Adamw { eps, .. } | SparseAdam { eps, .. } | Rmsprop { eps, .. }, _) => single(eps),
        ("alpha", Rmsprop { alpha, .. }, _) => single(alpha),
        ("gamma", _, Schedule::Step { gamma, .. } | Schedule::Exponential { gamma, .. }) => double(gamma),
        ("decay_after", _, Schedule::Exponential { decay_after, .. }) => {
            i64::try_from(decay_after).ok().map(Value::Integer)
        }
        ("min_lr", _, Schedule::Cosine { min_lr }) => double(min_lr),
        ("pct_start", _, Schedule::OneCycle { pct_start, .. }) => double(pct_start),
        ("div_factor", _, Schedule::OneCycle { div_factor, .. }) => double(div_factor),
        ("final_div_factor", _, Schedule::OneCycle { final_div_factor, .. }) => double(final_div_factor),
        ("plateau_factor", _, Schedule::Plateau { factor, .. }) => double(factor),
        ("plateau_patience", _, Schedule::Plateau { patience, .. }) => i64::try_from(patience).ok().map(Value::Integer),
        _ => None,
    }
}

fn set<T: Copy>(setting: &mut T, given: Option<T>) {
    *setting = given.unwrap_or(*setting);
}

/// An error if the user set one of `all` that is not in `own`.
fn refuse_others(settings: &Settings, all: &[&str], own: &[&str], what: &str) -> Result<()> {
    match all.iter().find(|name| settings.is_explicit(name) && !own.contains(name)) {
        Some(name) => Err(Failure::usage(format!("{what} has no {} (set by {})", flag(name), settings.origin(name)))),
        None => Ok(()),
    }
}
