//! rnnlm-vocab
