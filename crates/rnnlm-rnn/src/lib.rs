//! rnnlm-rnn
