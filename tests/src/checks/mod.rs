//! All checks, one file per family.

mod adaptive;
mod batch_invariance;
mod golden;
mod layers;
mod model;
mod naive;
mod operations;
mod oracle;
pub mod properties;
mod quantities;
mod regularization;
pub mod text;
mod training;
mod trajectory;

pub use model::config as model_config;

use crate::check::Check;
use crate::paths::Paths;

/// Every check of the given paths, in the order of the table.
pub fn all(paths: &Paths) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.extend(paths.operations.iter().flat_map(operations::checks));
    checks.extend(oracle::checks(&paths.reference));
    checks.extend(model::checks(&paths.reference));
    checks.extend(paths.targets().flat_map(regularization::checks));
    checks.extend(paths.targets().flat_map(adaptive::checks));
    checks.extend(paths.targets().flat_map(golden::checks));
    checks.extend(paths.targets().flat_map(training::checks));
    checks.extend(paths.others.iter().flat_map(|target| trajectory::checks(&paths.reference, target)));
    checks.extend(paths.others.iter().flat_map(|target| layers::checks(&paths.reference, target)));
    checks.extend(paths.multi_block.iter().flat_map(|target| layers::multi_block(&paths.reference, target)));
    checks.extend(paths.targets().flat_map(properties::checks));
    checks.extend(batch_invariance::checks(paths));
    checks.extend(text::checks());
    checks
}
