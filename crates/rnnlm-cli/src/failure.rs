//! The errors of the commands, their exit codes and their hints.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rnnlm_model::{ImportError, TrainConfig};
use rnnlm_vocab::{LikelyContent, Normalization};

use crate::human;
use crate::progress::error_line;

/// The exit codes, as documented in `rnnlm --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    /// A file, the text, memory, the device, or standard input or output.
    Failed = 1,
    /// An invalid command line or setting.
    Usage = 2,
    /// Training diverged.
    Diverged = 3,
    /// A run that is damaged, does not match, or is from a newer version.
    BadModel = 4,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// An error that ends a command.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of a library crate.
    Library(rnnlm_model::Error),
    /// An error of this crate.
    Command { message: String, hint: Option<String>, exit: Exit },
    /// Training diverged. `kept` names the model that is left.
    Diverged { message: String, lr: f32, settings: Option<Box<TrainConfig>>, kept: Option<String> },
    /// The end of a training run was not saved. `kept` names the model that is left.
    NotSaved { error: Box<rnnlm_model::Error>, kept: String, run: PathBuf },
    /// Standard input or output failed.
    StandardStream(std::io::Error),
}

impl Failure {
    /// An error with exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Command { message: message.into(), hint: None, exit: Exit::Failed }
    }

    /// An invalid command line or setting: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Command { message: message.into(), hint: None, exit: Exit::Usage }
    }

    /// A run that cannot be used as requested: exit code 4.
    pub(crate) fn bad_model(message: impl Into<String>) -> Self {
        Self::Command { message: message.into(), hint: None, exit: Exit::BadModel }
    }

    /// A folder that `--force` does not replace because it is not a complete run: exit code 4.
    pub(crate) fn not_replaced(folder: &Path, error: rnnlm_model::Error) -> Self {
        if matches!(error, rnnlm_model::Error::NotARun { .. }) {
            return Self::Library(error);
        }
        Self::bad_model(format!("`{}` is not replaced, because it is not a complete run: {error}", folder.display()))
            .with_hint("choose another --out, or remove the folder if nothing in it is needed")
    }

    /// Adds a hint to an error of this crate.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Command { message, exit, .. } => Self::Command { message, hint: Some(hint.into()), exit },
            other => other,
        }
    }

    /// Adds to a divergence which model is kept in which run; other errors stay as they are.
    pub(crate) fn with_kept_model(self, run: &Path, model: &str) -> Self {
        match self {
            Self::Diverged { message, lr, settings, .. } => {
                let kept = format!("{model} is kept in {}", run.display());
                Self::Diverged { message, lr, settings, kept: Some(kept) }
            }
            other => other,
        }
    }

    /// Adds to a divergence the settings of the run, so that no hint names one that is in use; other errors stay as they
    /// are.
    pub(crate) fn with_settings(self, train: &TrainConfig) -> Self {
        match self {
            Self::Diverged { message, lr, kept, .. } => {
                Self::Diverged { message, lr, settings: Some(Box::new(train.clone())), kept }
            }
            other => other,
        }
    }

    /// Turns an I/O error of the last save into [`Failure::NotSaved`]; other errors stay as they are.
    pub(crate) fn into_not_saved(self, kept: String, run: &Path) -> Self {
        match self {
            Self::Library(error @ rnnlm_model::Error::Io { .. }) => {
                Self::NotSaved { error: Box::new(error), kept, run: run.to_owned() }
            }
            other => other,
        }
    }

    /// Prints the error with its causes and hints to standard error.
    pub(crate) fn print(&self) {
        error_line(&format!("error: {self}"));
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            error_line(&format!("  caused by: {error}"));
            source = error.source();
        }
        for hint in self.hints() {
            error_line(&format!("hint: {hint}"));
        }
    }

    /// Whether the reader of standard output closed the pipe.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::StandardStream(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit(&self) -> Exit {
        use rnnlm_model::Error as E;
        use rnnlm_vocab::Error as V;
        match self {
            Self::Command { exit, .. } => *exit,
            Self::StandardStream(_) | Self::NotSaved { .. } => Exit::Failed,
            Self::Diverged { .. } => Exit::Diverged,
            Self::Library(
                E::Damaged { .. }
                | E::Abandoned { .. }
                | E::Mismatch { .. }
                | E::NewerFormat { .. }
                | E::NotARun { .. }
                | E::NeverTrained { .. }
                | E::Import { .. }
                | E::Vocab(V::DamagedCache { .. } | V::CacheMismatch { .. }),
            ) => Exit::BadModel,
            Self::Library(
                E::Setting { .. }
                | E::TiedSizes { .. }
                | E::Temperature(_)
                | E::Regex { .. }
                | E::FewerEpochs { .. }
                | E::VocabMismatch { .. },
            ) => Exit::Usage,
            Self::Library(_) => Exit::Failed,
        }
    }

    /// What the user can try.
    pub(crate) fn hints(&self) -> Vec<String> {
        use rnnlm_model::Error as E;
        use rnnlm_vocab::Error as V;
        let hint = |text: &str| vec![text.to_owned()];
        match self {
            Self::Command { hint, .. } => hint.iter().cloned().collect(),
            Self::Diverged { lr, settings, kept, .. } => {
                let smaller = human::one_digit(f64::from(*lr) / 10.0);
                let smaller = format!("reduce the learning rate, for example --lr {smaller}");
                let clipping = settings.as_deref().map(clipping_hint);
                [Some(smaller), clipping, kept.clone()].into_iter().flatten().collect()
            }
            Self::NotSaved { kept, run, .. } => {
                let resume = format!("free disk space, then run `rnnlm train --resume {}`", run.display());
                vec![kept.clone(), resume]
            }
            Self::Library(E::Locked { .. }) => {
                hint("wait for the other process, or stop it with Ctrl-C; it saves first")
            }
            Self::Library(E::Exists { .. }) => {
                hint("choose another --out, continue the run with --resume, or replace it with --force")
            }
            Self::Library(E::NoBestModel { .. }) => {
                hint("omit --best; --val-fraction or --val-corpus gives a run a validation set")
            }
            Self::Library(E::Damaged { .. } | E::Mismatch { .. }) => {
                hint("the file was changed after it was written; restore it from a copy of the run, or train again")
            }
            Self::Library(E::Abandoned { .. }) => {
                hint("copy one of the files step-*.safetensors in `checkpoints` over trainer.safetensors")
            }
            Self::Library(E::NewerFormat { .. }) => hint("use a newer version of rnnlm"),
            Self::Library(E::Vocab(V::InvalidUtf8 { likely, .. })) => {
                vec![encoding_hint(*likely), "use --token byte --normalize none, which accepts any bytes".to_owned()]
            }
            Self::Library(E::Vocab(V::InvalidEncoding { .. })) => hint("name the encoding of the text with --encoding"),
            Self::Library(E::Vocab(V::Device { .. })) => hint("name a file or a pipe, or - for standard input"),
            Self::Library(E::Vocab(V::Empty { bytes: 1.., normalization: Normalization::Book, .. })) => {
                hint("use --normalize none, which keeps every character")
            }
            Self::Library(E::Vocab(V::NoSubwords)) => hint(SUBWORDS_HINT),
            Self::Library(E::Vocab(V::DamagedCache { .. })) => hint("build it again with `rnnlm corpus build --force`"),
            Self::Library(E::Vocab(V::CacheMismatch { .. })) => {
                hint("build another cache, or replace this one with `rnnlm corpus build --force`")
            }
            Self::Library(E::Vocab(V::CacheBusy { .. })) => hint("wait for the other process"),
            Self::Library(E::Vocab(V::Exists { .. })) => hint("choose another --out"),
            Self::Library(E::Vocab(V::DiskSpace { .. })) => hint("free disk space, or build the cache on another disk"),
            Self::Library(E::NeverTrained { .. }) => hint("use --init-from to train from its weights"),
            Self::Library(E::VocabMismatch { .. }) => hint("omit the flag; the vocabulary defines how text is read"),
            Self::Library(E::Import { reason, .. }) => vec![import_hint(reason)],
            Self::Library(E::NoCandidates) => hint("allow more tokens: leave out --ban, or add --allow-unknown"),
            Self::Library(E::Regex { reason, .. }) if reason.starts_with("matches no") => {
                hint("the tokens of the vocabulary have to spell the text; vocab.json of the run lists them")
            }
            Self::Library(E::Regex { .. }) => {
                hint("https://docs.rs/regex describes the syntax; quote it for the shell")
            }
            Self::Library(E::NotARun { .. }) => hint("`rnnlm train` creates runs, by default in runs/"),
            _ => Vec::new(),
        }
    }
}

/// How to build a program that reads subwords.
const SUBWORDS_HINT: &str = "build it with `cargo install --path crates/rnnlm-cli --features subwords`";

/// What a text that is not UTF-8 probably is, and how it can be read.
fn encoding_hint(likely: LikelyContent) -> String {
    match likely {
        LikelyContent::Wide("UTF-16") => {
            "it is probably UTF-16 without a byte order mark; add --encoding utf-16le or utf-16be".to_owned()
        }
        LikelyContent::Wide(name) => format!("it is probably {name}; convert it with iconv -f {name} -t UTF-8"),
        LikelyContent::WesternSingleByte => format!("it is probably {likely}; add --encoding windows-1252"),
        LikelyContent::OtherEncoding => {
            format!("it is probably {likely}; name it, for example --encoding windows-1251, gbk or shift_jis")
        }
        LikelyContent::Compressed(_) => format!("it is probably {likely}; decompress it"),
        LikelyContent::Format(_) => format!("it is probably {likely}; save its content as text"),
        LikelyContent::Truncated => format!("it is probably {likely}; the file may be incomplete"),
        LikelyContent::DamagedUtf8 => format!("it is probably {likely}; iconv -c -f UTF-8 -t UTF-8 removes them"),
        _ => format!("it is probably {likely}, not a text"),
    }
}

/// How to limit gradients further than a run that diverged.
fn clipping_hint(train: &TrainConfig) -> String {
    let clipping = match (train.clip, train.clip_value) {
        (0.0, 0.0) => "clip gradients with --clip 1 (0 disables it)".to_owned(),
        (0.0, value) => format!("reduce --clip-value (now {value})"),
        (norm, _) if norm > 1.0 => format!("clip gradients at a smaller norm with --clip 1 (now {norm})"),
        (norm, _) => format!("reduce --clip (now {norm})"),
    };
    match train.num_steps {
        1 => clipping,
        steps => format!("{clipping}, or reduce --num-steps (now {steps})"),
    }
}

/// How to make a weights file that can be imported.
fn import_hint(reason: &ImportError) -> String {
    let hint = match reason {
        ImportError::Pickled | ImportError::Format(_) => {
            "write the file with safetensors.torch.save_file(model.state_dict(), FILE)"
        }
        ImportError::Missing { tensor, .. } if tensor.contains("bias") => {
            "a module has all of its biases or, with bias=False, none"
        }
        ImportError::Missing { .. } => {
            "the model needs a torch.nn.RNN, GRU or LSTM and a torch.nn.Linear; --rename FROM=TO names them rnn and linear"
        }
        ImportError::Unrecognized { modules } => {
            let name = modules.first().map_or("FROM", |(name, _)| name);
            return format!("add --rename {name}=embedding or --rename {name}=linear; linear is the output layer");
        }
        ImportError::Ambiguous { .. } => {
            "save the state_dict() of one model only; --rename FROM=TO changes a name that is recognized wrongly"
        }
        ImportError::NothingToRename { .. } => {
            "FROM of --rename FROM=TO is a tensor or whole attributes, such as model.rnn"
        }
        ImportError::RenamedTwice { .. } | ImportError::SameName { .. } => "change --rename FROM=TO",
        ImportError::Unexpected { tensor, .. } if tensor.contains("weight_hr") => "use proj_size=0",
        ImportError::Unexpected { .. } => "save only the model's own state_dict()",
        ImportError::Shape { .. } | ImportError::NotAMatrix { .. } | ImportError::Gates { .. } => {
            "the model is a torch.nn.RNN, GRU or LSTM with proj_size=0, and a torch.nn.Linear on its output"
        }
        ImportError::Dtype { .. } => "convert the weights to float32 with model.float()",
        ImportError::VocabSize { .. } => {
            "pass the vocabulary that the model was trained with, with one token for each row, as --vocab"
        }
        ImportError::Nonlinearity { .. } => "omit --nonlinearity; the file determines it",
        _ => "train the model again",
    };
    hint.to_owned()
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Library(error) => error.fmt(f),
            Self::NotSaved { error, .. } => write!(f, "the end of the training run was not saved: {error}"),
            Self::Command { message, .. } | Self::Diverged { message, .. } => f.write_str(message),
            Self::StandardStream(_) => f.write_str("standard input or output failed"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Library(error) => error.source(),
            Self::NotSaved { error, .. } => error.source(),
            Self::Command { .. } | Self::Diverged { .. } => None,
            Self::StandardStream(error) => Some(error),
        }
    }
}

impl<E: Into<rnnlm_model::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into() {
            error @ rnnlm_model::Error::Diverged { lr, .. } => {
                Self::Diverged { message: error.to_string(), lr, settings: None, kept: None }
            }
            rnnlm_model::Error::Vocab(rnnlm_vocab::Error::TooLarge { name, bytes, needed, limit }) => {
                let [bytes, needed, limit] = [bytes, needed, limit].map(|number| human::bytes(number.into()));
                let needed = if needed == limit { format!("more than {limit}") } else { needed };
                let message = format!("`{name}` needs {needed} of memory after {bytes} of text, {limit} is available");
                Self::failed(message).with_hint("use a part of it: head -c 100M FILE | rnnlm train --corpus -")
            }
            error => Self::Library(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divergence_does_not_suggest_what_is_set() {
        let hint = |clip, clip_value, num_steps| {
            clipping_hint(&TrainConfig { clip, clip_value, num_steps, ..TrainConfig::book() })
        };
        assert_eq!(hint(0.0, 0.0, 35), "clip gradients with --clip 1 (0 disables it), or reduce --num-steps (now 35)");
        assert_eq!(hint(1.0, 0.0, 35), "reduce --clip (now 1), or reduce --num-steps (now 35)");
        assert_eq!(hint(5.0, 0.0, 1), "clip gradients at a smaller norm with --clip 1 (now 5)");
        assert_eq!(hint(0.0, 0.5, 1), "reduce --clip-value (now 0.5)");
    }
}
