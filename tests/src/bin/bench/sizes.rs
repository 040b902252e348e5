//! The table of what is measured, beside the walk: models, minibatches, and the arithmetic that each token costs.

use rnnlm_model::{Cell, ModelConfig, Nonlinearity, TrainConfig};
use rnnlm_vocab::TokenKind;

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    /// By which it is asked for.
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    pub(crate) cell: Cell,
    pub(crate) hidden_size: usize,
    pub(crate) num_layers: usize,
    pub(crate) batch_size: usize,
    pub(crate) token: TokenKind,
    /// 0 for one-hot input.
    pub(crate) embedding_size: usize,
    /// Entries of the vocabulary at the least, whether or not the text has them.
    pub(crate) vocab_size: usize,
    /// Tokens of the text, 0 for all.
    pub(crate) max_tokens: usize,
}

/// What is done with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Epochs of training.
    Train,
    /// Greedy decoding of a single sequence.
    Generate,
}

/// The book's model for 8.6, of which the rows differ.
const BOOK: Size = Size {
    name: "rnn-256",
    work: Work::Train,
    cell: Cell::Rnn(Nonlinearity::Tanh),
    hidden_size: 256,
    num_layers: 1,
    batch_size: 32,
    token: TokenKind::Char,
    embedding_size: 0,
    vocab_size: 0,
    max_tokens: 10_000,
};

/// Every row, in the order of the report.
pub(crate) const SIZES: &[Size] = &[
    BOOK,
    Size { name: "gru-256", cell: Cell::Gru { reset_after: true }, ..BOOK },
    Size { name: "lstm-256", cell: Cell::Lstm, ..BOOK },
    Size { name: "lstm-2x512", cell: Cell::Lstm, hidden_size: 512, num_layers: 2, batch_size: 64, ..BOOK },
    Size { name: "rnn-64", hidden_size: 64, ..BOOK },
    Size { name: "rnn-100-batch-20", hidden_size: 100, batch_size: 20, ..BOOK },
    Size { name: "rnn-1024", hidden_size: 1024, ..BOOK },
    Size { name: "rnn-256-batch-1", batch_size: 1, max_tokens: 2_000, ..BOOK },
    Size { name: "rnn-256-batch-256", batch_size: 256, max_tokens: 40_000, ..BOOK },
    Size {
        name: "lstm-256-words",
        cell: Cell::Lstm,
        token: TokenKind::Word,
        embedding_size: 128,
        vocab_size: 5_000,
        max_tokens: 8_000,
        ..BOOK
    },
    Size { name: "generate-rnn-256", work: Work::Generate, ..BOOK },
    Size { name: "generate-lstm-256", work: Work::Generate, cell: Cell::Lstm, ..BOOK },
];

impl Size {
    /// The model's sizes, for a text with `entries` different tokens.
    pub(crate) fn model(&self, entries: usize) -> ModelConfig {
        ModelConfig {
            cell: self.cell,
            hidden_size: self.hidden_size,
            num_layers: self.num_layers,
            embedding_size: self.embedding_size,
            ..ModelConfig::book(entries.max(self.vocab_size))
        }
    }

    /// The book's settings, with this row's minibatch.
    pub(crate) fn train(&self) -> TrainConfig {
        TrainConfig { batch_size: self.batch_size, ..TrainConfig::book() }
    }

    /// Multiplications and additions that the matrix products of one token cost, each counted as one. One-hot rows are
    /// looked up and cost none; a gradient costs twice its product, and the lowest layer's input needs none unless it is
    /// learned.
    pub(crate) fn flops(&self, entries: usize) -> f64 {
        let model = self.model(entries);
        let (h, v, e) = (self.hidden_size, model.vocab_size, self.embedding_size);
        let gates = model.stack().cell.num_gates();
        let inputs = e + (self.num_layers - 1) * h;
        let macs = gates * h * (self.num_layers * h + inputs) + v * h;
        match self.work {
            Work::Train => 6.0 * macs as f64,
            Work::Generate => 2.0 * macs as f64,
        }
    }

    /// What the PyTorch side is asked for.
    pub(crate) fn peer_arguments(&self) -> Vec<String> {
        let (mode, cell, token) = (self.work.name(), self.cell.as_str(), token_name(self.token));
        let numbers = [
            ("hidden-size", self.hidden_size),
            ("num-layers", self.num_layers),
            ("batch-size", self.batch_size),
            ("embedding-size", self.embedding_size),
            ("vocab-size", self.vocab_size),
            ("max-tokens", self.max_tokens),
        ];
        let words = [("mode", mode), ("cell", cell), ("token", token)].map(|(name, word)| (name, word.to_owned()));
        let numbers = numbers.map(|(name, number)| (name, number.to_string()));
        words.into_iter().chain(numbers).flat_map(|(name, value)| [format!("--{name}"), value]).collect()
    }
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Generate => "generate",
        }
    }
}

fn token_name(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Char => "char",
        TokenKind::Word => "word",
        TokenKind::Byte => "byte",
    }
}
