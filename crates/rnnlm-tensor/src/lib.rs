//! rnnlm-tensor
