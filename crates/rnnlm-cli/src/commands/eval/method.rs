//! How a text is read: as one sequence, in blocks without context, or with a model that adapts to it.

use rnnlm_model::{DynamicConfig, DynamicRule, Run};
use serde_json::{Value, json};

use crate::commands::train::{Split, training_text};
use crate::failure::{Failure, Result};
use crate::values::{at_least_one, non_negative_f32, one_of, positive_f32};

/// The name of a rule of dynamic evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RuleName {
    Sgd,
    Rms,
}

fn rule(text: &str) -> Result<RuleName, String> {
    one_of(text, &[("rms", RuleName::Rms), ("sgd", RuleName::Sgd)])
}

// clap would take a doc comment on a flattened struct as the text of the command
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Method")]
pub(super) struct MethodArgs {
    /// Score a stream in blocks of N tokens, each from the zero state and the token before it, as nanoGPT evaluates a model
    /// with a context of N tokens. By default the state is carried through the whole text.
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "dynamic")]
    block_size: Option<usize>,
    /// Dynamic evaluation (Krause et al. 2018): the weights adapt to the text after every segment is scored. The run does
    /// not change. `rms` divides each gradient by its root mean square over the training text, `sgd` does not.
    #[arg(long, value_name = "rms|sgd", value_parser = rule, num_args = 0..=1, require_equals = true,
          default_missing_value = "rms")]
    dynamic: Option<RuleName>,
    /// Learning rate of dynamic evaluation [default: 0.0002 for rms, 0.05 for sgd].
    #[arg(long, value_name = "X", value_parser = positive_f32, allow_negative_numbers = true, requires = "dynamic")]
    dynamic_lr: Option<f32>,
    /// How far each update moves the weights back to the trained ones, from 0 to 1 [default: 0.001].
    #[arg(long, value_name = "X", value_parser = non_negative_f32, allow_negative_numbers = true, requires = "dynamic")]
    dynamic_decay: Option<f32>,
    /// Term added to the root mean square of rms [default: 0.001].
    #[arg(long, value_name = "X", value_parser = positive_f32, allow_negative_numbers = true, requires = "dynamic")]
    dynamic_eps: Option<f32>,
    /// Number of tokens in a segment [default: 20].
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "dynamic")]
    dynamic_steps: Option<usize>,
    /// Text of the run, at another location than when it was trained, for the gradient statistics of rms.
    #[arg(long, value_name = "NAME|PATH", requires = "dynamic")]
    training_corpus: Option<String>,
}

/// How a text is read.
#[derive(Debug)]
pub(super) enum Method {
    /// As one sequence, or document by document.
    Carried,
    /// In blocks of this many tokens.
    Blocks(usize),
    /// By dynamic evaluation, with the training text that its statistics need.
    Dynamic(DynamicConfig, Option<Box<Split>>),
}

impl Method {
    /// The method of the command line for a run.
    ///
    /// # Errors
    /// If the run or the rule has no such setting, or the training text cannot be read.
    pub(super) fn new(args: &MethodArgs, run: &Run) -> Result<Self> {
        if let Some(block_size) = args.block_size {
            if run.vocab().end_token().is_some() {
                let message =
                    format!("--block-size {block_size} needs a run on a stream, and this one is on documents");
                return Err(Failure::usage(message).with_hint("each document is scored from the zero state anyway"));
            }
            return Ok(Self::Blocks(block_size));
        }
        let Some(name) = args.dynamic else { return Ok(Self::Carried) };
        let (rule, lr) = match name {
            RuleName::Sgd => (DynamicRule::Sgd, 0.05),
            RuleName::Rms => (DynamicRule::Rms { eps: args.dynamic_eps.unwrap_or(1e-3) }, 2e-4),
        };
        let of_rms = [("eps", args.dynamic_eps.is_some()), ("corpus", args.training_corpus.is_some())];
        if name == RuleName::Sgd
            && let Some((setting, _)) = of_rms.iter().find(|(_, is_set)| *is_set)
        {
            let flag = if *setting == "eps" { "--dynamic-eps" } else { "--training-corpus" };
            return Err(Failure::usage(format!("--dynamic=sgd has no {flag}")));
        }
        let config = DynamicConfig {
            rule,
            num_steps: args.dynamic_steps.unwrap_or(20),
            lr: args.dynamic_lr.unwrap_or(lr),
            decay: args.dynamic_decay.unwrap_or(1e-3),
        };
        config.validate()?;
        let text = match rule {
            DynamicRule::Sgd => None,
            DynamicRule::Rms { .. } => Some(Box::new(training_text(run, args.training_corpus.as_deref())?)),
        };
        Ok(Self::Dynamic(config, text))
    }

    /// A line of the result; `None` for the usual method.
    pub(super) fn to_text(&self) -> Option<String> {
        match self {
            Self::Carried => None,
            Self::Blocks(size) => Some(format!("method          blocks of {size} tokens without context")),
            Self::Dynamic(DynamicConfig { rule, num_steps, lr, decay }, _) => {
                let rule = match rule {
                    DynamicRule::Sgd => "sgd".to_owned(),
                    DynamicRule::Rms { eps } => format!("rms, eps {eps}"),
                };
                Some(format!(
                    "method          dynamic evaluation, {rule}, learning rate {lr}, decay {decay}, segments of \
                     {num_steps} tokens"
                ))
            }
        }
    }

    /// Adds the settings to a result.
    pub(super) fn add_to(&self, result: &mut Value) {
        match self {
            Self::Carried => {}
            Self::Blocks(size) => result["block_size"] = json!(size),
            Self::Dynamic(DynamicConfig { rule, num_steps, lr, decay }, _) => {
                let (rule, eps) = match rule {
                    DynamicRule::Sgd => ("sgd", None),
                    DynamicRule::Rms { eps } => ("rms", Some(eps)),
                };
                // through the shortest decimal text, so that 0.1 does not become 0.10000000149011612
                let number = |value: &f32| value.to_string().parse::<f64>().unwrap_or_default();
                result["dynamic"] = json!({
                    "rule": rule,
                    "lr": number(lr),
                    "decay": number(decay),
                    "eps": eps.map(number),
                    "num_steps": num_steps,
                });
            }
        }
    }
}
