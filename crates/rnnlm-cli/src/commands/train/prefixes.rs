//! The prefixes of the samples.

use std::path::Path;

use super::args::TrainArgs;
use crate::failure::{Failure, Result};
use crate::prefix::PrefixText;

impl TrainArgs {
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
