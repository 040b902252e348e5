//! What a command can fail with, which exit code that is, and what may help.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rnnlm_model::ImportError;
use rnnlm_vocab::Normalization;

use crate::format;

/// How the program ends. The numbers are documented in `rnnlm --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done.
    Success = 0,
    /// It could not be done.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Training left the numbers behind.
    Diverged = 3,
    /// A run is damaged, from a newer version, or does not fit.
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

/// Anything that ends a command.
#[derive(Debug)]
pub(crate) enum Failure {
    /// From the libraries.
    Model(rnnlm_model::Error),
    /// Of the command's own making: message, hint, exit code.
    Own { message: String, hint: Option<String>, exit: Exit },
    /// Training left the numbers behind: message, learning rate, and where the last good model is.
    Diverged { message: String, lr: f32, kept: Option<String> },
    /// The end of a training that could not be saved: why, what is kept instead, and the run.
    NotSaved { error: Box<rnnlm_model::Error>, kept: String, run: PathBuf },
    /// Standard input or output.
    Stream(std::io::Error),
}

impl Failure {
    /// A failure with exit code 1.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Own { message: message.into(), hint: Some(hint.into()), exit: Exit::Failed }
    }

    /// Values on the command line that do not go together: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Own { message: message.into(), hint: None, exit: Exit::Usage }
    }

    /// A device that was asked for by name and is not to be had: exit code 1, and the message says it all.
    pub(crate) fn no_device(message: String) -> Self {
        Self::Own { message, hint: None, exit: Exit::Failed }
    }

    /// `--no-detach`: nothing that a machine could go through with.
    /// The same with something that may help.
    pub(crate) fn with_hint(self, hint: &str) -> Self {
        match self {
            Self::Own { message, exit, .. } => Self::Own { message, hint: Some(hint.to_owned()), exit },
            other => other,
        }
    }

    pub(crate) fn without_end(num_steps: usize) -> Self {
        Self::Own {
            message: format!(
                "--no-detach: gradients would flow through every step since the start of the epoch, so that each minibatch \
                 took more memory and time than the one before it; here they end after {num_steps} steps, and only the \
                 values of the state are carried on"
            ),
            hint: Some(
                "--num-steps lets gradients flow further; --reset-state does not even carry the values".to_owned(),
            ),
            exit: Exit::Usage,
        }
    }

    /// Training that left the numbers behind: exit code 3.
    pub(crate) fn diverged(message: String, lr: f32) -> Self {
        Self::Diverged { message, lr, kept: None }
    }

    /// A divergence that knows which model is left; any other failure as it is.
    pub(crate) fn keeping(self, run: &Path, model: &str) -> Self {
        match self {
            Self::Diverged { message, lr, .. } => {
                let kept = format!("{model} is kept in {}", run.display());
                Self::Diverged { message, lr, kept: Some(kept) }
            }
            other => other,
        }
    }

    /// A training whose end could not be saved; an error of another kind as it is.
    pub(crate) fn not_saved(self, kept: String, run: &Path) -> Self {
        match self {
            Self::Model(error @ rnnlm_model::Error::Io { .. }) => {
                Self::NotSaved { error: Box::new(error), kept, run: run.to_owned() }
            }
            other => other,
        }
    }

    /// A folder that `--force` leaves alone because it does not read as a run: exit code 4.
    pub(crate) fn not_replaced(folder: &Path, error: rnnlm_model::Error) -> Self {
        if matches!(error, rnnlm_model::Error::NotARun { .. }) {
            return Self::Model(error);
        }
        let folder = folder.display();
        Self::Own {
            message: format!("`{folder}` is not a whole run and so not replaced: {error}"),
            hint: Some("another --out; or, if nothing in the folder is needed, remove it first".to_owned()),
            exit: Exit::BadModel,
        }
    }

    /// Whether the reader of standard output has gone.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Stream(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit(&self) -> Exit {
        use rnnlm_model::Error as E;
        match self {
            Self::Own { exit, .. } => *exit,
            Self::Stream(_) | Self::NotSaved { .. } => Exit::Failed,
            Self::Diverged { .. } => Exit::Diverged,
            Self::Model(
                E::Damaged { .. }
                | E::Mismatch { .. }
                | E::NewerFormat { .. }
                | E::NotARun { .. }
                | E::NeverTrained { .. }
                | E::Import { .. },
            ) => Exit::BadModel,
            Self::Model(
                E::Setting { .. }
                | E::TiedSizes { .. }
                | E::Temperature(_)
                | E::FewerEpochs { .. }
                | E::VocabMismatch { .. },
            ) => Exit::Usage,
            Self::Model(_) => Exit::Failed,
        }
    }

    /// What the user may try.
    pub(crate) fn hints(&self) -> Vec<String> {
        use rnnlm_model::Error as E;
        use rnnlm_vocab::Error as V;
        let hint = |text: &str| vec![text.to_owned()];
        match self {
            Self::Own { hint, .. } => hint.iter().cloned().collect(),
            Self::Diverged { lr, kept, .. } => {
                let smaller =
                    format!("a smaller learning rate, such as --lr {}", format::one_digit(f64::from(*lr) / 10.0));
                let clipping = "gradient clipping, --clip 1 (0 is none), or fewer steps, --num-steps".to_owned();
                [smaller, clipping].into_iter().chain(kept.clone()).collect()
            }
            Self::NotSaved { kept, run, .. } => {
                let again = format!("once there is room, rnnlm train --resume {} goes on from there", run.display());
                vec![kept.clone(), again]
            }
            Self::Model(E::Locked { .. }) => hint("wait for its end, or end it: Ctrl-C saves"),
            Self::Model(E::Exists { .. }) => hint("another --out; --resume to go on with a run; --force to replace it"),
            Self::Model(E::Damaged { .. } | E::Mismatch { .. }) => {
                hint("the file was changed after it was written; take it from a copy of the run, or train again")
            }
            Self::Model(E::NewerFormat { .. }) => hint("a newer rnnlm reads it"),
            Self::Model(E::Vocab(V::InvalidUtf8 { .. })) => hint("--token byte --normalize none takes any bytes"),
            Self::Model(E::Vocab(V::Empty { bytes: 1.., normalization: Normalization::Book, .. })) => {
                hint("--normalize none keeps every character")
            }
            Self::Model(E::NeverTrained { .. }) => hint("--init-from begins a training with its weights"),
            Self::Model(E::VocabMismatch { .. }) => hint("leave the flag out: the vocabulary knows how a text is read"),
            Self::Model(E::Import { reason, .. }) => hint(import_hint(reason)),
            Self::Model(E::NotARun { .. }) => hint("rnnlm train makes runs, in runs/ if not told otherwise"),
            _ => Vec::new(),
        }
    }
}

/// What may make a file of weights one that can be imported.
fn import_hint(reason: &ImportError) -> &'static str {
    match reason {
        ImportError::Pickled | ImportError::Format(_) => {
            "safetensors.torch.save_file(model.state_dict(), FILE) writes what is needed"
        }
        ImportError::Missing { tensor, .. } if tensor.contains("bias") => {
            "layers with bias=False have no place here; biases of zeros are the same model"
        }
        ImportError::Missing { .. } => {
            "the model's attributes must be called rnn, linear and, unless its input is one-hot, embedding, without a prefix"
        }
        ImportError::Unexpected { tensor, .. } if tensor.contains("weight_hr") => "proj_size must be 0",
        ImportError::Unexpected { .. } => "leave out what is not the model's: save its state_dict() alone",
        ImportError::Shape { .. } | ImportError::NotAMatrix { .. } | ImportError::Gates { .. } => {
            "attribute rnn is a torch.nn.RNN, GRU or LSTM with proj_size 0, linear a torch.nn.Linear on its output"
        }
        ImportError::Dtype { .. } => "model.float() has float32 weights",
        ImportError::VocabSize { .. } => {
            "--vocab is the vocabulary that the model was trained with, \"<unk>\" included"
        }
        ImportError::Nonlinearity { .. } => "leave --nonlinearity out: the file says what it is",
        _ => "train it again",
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Model(error) => error.fmt(f),
            Self::NotSaved { error, .. } => write!(f, "the last of the training is not saved: {error}"),
            Self::Own { message, .. } | Self::Diverged { message, .. } => f.write_str(message),
            Self::Stream(_) => f.write_str("standard input or output failed"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Model(error) => error.source(),
            Self::NotSaved { error, .. } => error.source(),
            Self::Own { .. } | Self::Diverged { .. } => None,
            Self::Stream(error) => Some(error),
        }
    }
}

impl<E: Into<rnnlm_model::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into() {
            error @ rnnlm_model::Error::Diverged { lr, .. } => Self::diverged(error.to_string(), lr),
            error => Self::Model(error),
        }
    }
}
