//! Values that follow from several arguments.

use std::path::Path;

use clap::Parser;

use super::args::TrainArgs;
use crate::corpora::NAME_SEPARATOR;
use crate::failure::{Failure, Result};
use crate::prefix::PrefixText;

impl TrainArgs {
    /// The arguments of `rnnlm train` without flags, environment variables or files.
    pub(crate) fn defaults() -> Self {
        Self::parse_from(["train"])
    }

    /// The name of the text; the names of several texts, one a line.
    pub(crate) fn corpus(&self) -> String {
        self.corpora.join(&NAME_SEPARATOR.to_string())
    }

    /// The prefixes of the samples that the user named, on the command line or in a file.
    pub(crate) fn named_prefixes(&self) -> Result<Vec<PrefixText>> {
        match &self.prefix_file {
            Some(path) if path == Path::new("-") && self.corpus() == "-" => {
                Err(Failure::usage("--corpus and --prefix-file cannot both be standard input"))
            }
            Some(path) => Ok(vec![PrefixText::read(path)?]),
            None => Ok(self.prefixes.clone()),
        }
    }
}
