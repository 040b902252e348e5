//! From flags to the training's configuration: an optimizer and a schedule have settings of their own, each with a flag, and a
//! flag that belongs to another one is a mistake that is named before anything starts.

use rnnlm_model::{OptimizerConfig, Schedule, TrainConfig};
use toml::Value;

use super::TrainArgs;
use super::settings::{Settings, flag};
use super::values::ScheduleName;
use crate::failure::{Failure, Result};

/// The training that was asked for.
pub(crate) fn train_config(args: &TrainArgs, settings: &Settings) -> Result<TrainConfig> {
    let (optimizer, schedule) = (optimizer(args, settings)?, schedule(args, settings)?);
    if settings.has("clip") && settings.has("clip_value") && args.clip > 0.0 && args.clip_value > 0.0 {
        let message =
            format!("--clip {} and --clip-value {}: gradients are clipped one way", args.clip, args.clip_value);
        return Err(Failure::usage(message));
    }
    if args.patience > 0 && args.val_fraction == 0.0 && args.val_corpus.is_none() {
        let message = format!("--patience {} waits for held-out text, and there is none", args.patience);
        return Err(Failure::usage(message).with_hint("--val-fraction 0.1 holds out a tenth of the text"));
    }
    Ok(TrainConfig {
        epochs: args.epochs,
        batch_size: args.batch_size,
        num_steps: args.num_steps,
        optimizer,
        lr: args.lr.unwrap_or(optimizer.default_lr()),
        schedule,
        warmup: args.warmup,
        // the norm's bound has a default, which another way of clipping replaces
        clip: if args.clip_value > 0.0 { 0.0 } else { args.clip },
        clip_value: args.clip_value,
        dropout: args.dropout,
        patience: args.patience,
        sampling: args.sampling,
        reset_state: args.reset_state,
        init: args.init,
        seed: args.seed,
    })
}

fn optimizer(args: &TrainArgs, settings: &Settings) -> Result<OptimizerConfig> {
    let mut optimizer = args.optimizer;
    let own: &[&str] = match &mut optimizer {
        OptimizerConfig::Sgd { momentum, nesterov, weight_decay } => {
            set(momentum, args.momentum);
            set(weight_decay, args.weight_decay);
            *nesterov = args.nesterov;
            &["momentum", "nesterov"]
        }
        OptimizerConfig::Adam { betas, eps, weight_decay } | OptimizerConfig::Adamw { betas, eps, weight_decay } => {
            set(&mut betas[0], args.beta1);
            set(&mut betas[1], args.beta2);
            set(eps, args.eps);
            set(weight_decay, args.weight_decay);
            &["beta1", "beta2", "eps"]
        }
        OptimizerConfig::Rmsprop { alpha, eps, weight_decay, momentum } => {
            set(alpha, args.alpha);
            set(eps, args.eps);
            set(weight_decay, args.weight_decay);
            set(momentum, args.momentum);
            &["alpha", "eps", "momentum"]
        }
    };
    let all = ["momentum", "nesterov", "beta1", "beta2", "alpha", "eps"];
    refuse_others(settings, &all, own, &format!("--optimizer {}", optimizer.as_str()))?;
    Ok(optimizer)
}

fn schedule(args: &TrainArgs, settings: &Settings) -> Result<Schedule> {
    let missing = |name: &str, schedule: &str| Failure::usage(format!("--schedule {schedule} needs {}", flag(name)));
    let (schedule, own): (_, &[&str]) = match args.schedule {
        ScheduleName::Constant => (Schedule::Constant, &[]),
        ScheduleName::Step => {
            let step_size = args.step_size.ok_or_else(|| missing("step_size", "step"))?;
            (Schedule::Step { step_size, gamma: args.gamma.unwrap_or(0.1) }, &["step_size", "gamma"])
        }
        ScheduleName::Exponential => {
            let gamma = args.gamma.ok_or_else(|| missing("gamma", "exponential"))?;
            (Schedule::Exponential { gamma }, &["gamma"])
        }
        ScheduleName::Cosine => (Schedule::Cosine { min_lr: args.min_lr.unwrap_or(0.0) }, &["min_lr"]),
        ScheduleName::Plateau => {
            let (factor, patience) = (args.plateau_factor.unwrap_or(0.1), args.plateau_patience.unwrap_or(10));
            (Schedule::Plateau { factor, patience }, &["plateau_factor", "plateau_patience"])
        }
    };
    let all = ["step_size", "gamma", "min_lr", "plateau_factor", "plateau_patience"];
    refuse_others(settings, &all, own, &format!("--schedule {}", schedule.as_str()))?;
    Ok(schedule)
}

/// What became of a setting of the optimizer or the schedule that nobody gave a value; none where it has no meaning.
pub(super) fn resolved(train: &TrainConfig, name: &str) -> Option<Value> {
    use OptimizerConfig::{Adam, Adamw, Rmsprop, Sgd};
    // by way of its shortest text: 0.1 is not to become 0.10000000149011612
    let single = |value: f32| value.to_string().parse().ok().map(Value::Float);
    let double = |value: f64| Some(Value::Float(value));
    match (name, train.optimizer, train.schedule) {
        ("lr", ..) => single(train.lr),
        ("weight_decay", ..) => single(train.optimizer.weight_decay()),
        ("momentum", Sgd { momentum, .. } | Rmsprop { momentum, .. }, _) => single(momentum),
        ("beta1", Adam { betas, .. } | Adamw { betas, .. }, _) => double(betas[0]),
        ("beta2", Adam { betas, .. } | Adamw { betas, .. }, _) => double(betas[1]),
        ("eps", Adam { eps, .. } | Adamw { eps, .. } | Rmsprop { eps, .. }, _) => single(eps),
        ("alpha", Rmsprop { alpha, .. }, _) => single(alpha),
        ("gamma", _, Schedule::Step { gamma, .. } | Schedule::Exponential { gamma }) => double(gamma),
        ("min_lr", _, Schedule::Cosine { min_lr }) => double(min_lr),
        ("plateau_factor", _, Schedule::Plateau { factor, .. }) => double(factor),
        ("plateau_patience", _, Schedule::Plateau { patience, .. }) => i64::try_from(patience).ok().map(Value::Integer),
        _ => None,
    }
}

fn set<T: Copy>(setting: &mut T, given: Option<T>) {
    *setting = given.unwrap_or(*setting);
}

/// An error if one of `all` was given that is not one of `own`.
fn refuse_others(settings: &Settings, all: &[&str], own: &[&str], what: &str) -> Result<()> {
    match all.iter().find(|name| settings.has(name) && !own.contains(name)) {
        Some(name) => Err(Failure::usage(format!("{what} has no {} ({})", flag(name), settings.origin(name)))),
        None => Ok(()),
    }
}
