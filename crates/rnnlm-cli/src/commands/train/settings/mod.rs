//! The settings of `rnnlm train` from several sources. The first source that names a setting determines its value:
//!
//! ```text
//! --hidden-size 512             a flag
//! RNNLM_HIDDEN_SIZE=512         an environment variable
//! hidden_size = 512             the file of --config
//! --preset rnn-scratch          a preset
//!                               the default
//! ```

mod environment;
mod file;
mod layers;
mod names;
mod preset;
mod resolved;

pub(crate) use self::layers::{ParseError, parse};
pub(crate) use self::names::flag;
pub(crate) use self::preset::Preset;
pub(crate) use self::resolved::{Origin, Settings};
