//! rnnlm-model
