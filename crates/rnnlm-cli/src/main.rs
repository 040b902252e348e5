//! The `rnnlm` command.
fn main() {}
