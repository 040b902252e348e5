//! Which flags somebody gave: the others say what is done by default, and do not contradict a run that is gone on with.

use clap::ArgMatches;
use clap::parser::ValueSource;

/// The flags that somebody gave, as clap calls them; what the others say is a default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given(Vec<String>);

impl Given {
    /// The flags of a subcommand that were given.
    pub(crate) fn new(matches: &ArgMatches) -> Self {
        let given = |id: &&clap::Id| {
            matches.value_source(id.as_str()).is_some_and(|source| source != ValueSource::DefaultValue)
        };
        Self(matches.ids().filter(given).map(|id| id.as_str().to_owned()).collect())
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|given| given == flag)
    }
}
