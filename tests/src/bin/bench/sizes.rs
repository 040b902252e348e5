//! The rows of the benchmark: models, minibatches, and the floating-point operations per token.

use std::ops::Range;

use rnnlm_model::{AdaptiveSoftmax, Cell, ModelConfig, Nonlinearity, SplitMix64, TrainConfig};
use rnnlm_vocab::TokenKind;

/// A row of the benchmark.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    /// The name, for `--filter`.
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    pub(crate) cell: Cell,
    pub(crate) hidden_size: usize,
    pub(crate) num_layers: usize,
    pub(crate) batch_size: usize,
    pub(crate) token: TokenKind,
    /// 0 for one-hot input.
    pub(crate) embedding_size: usize,
    /// The minimum vocabulary size, for texts with fewer distinct tokens.
    pub(crate) vocab_size: usize,
    /// The maximum number of tokens of the text; 0 for all.
    pub(crate) max_tokens: usize,
    /// Whether the ids are drawn from Zipf's distribution over the vocabulary instead of read from a text.
    pub(crate) is_zipf: bool,
    /// The cutoffs of an adaptive softmax; empty for a linear output layer.
    pub(crate) cutoffs: &'static [usize],
}

/// The measured operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Epochs of training.
    Train,
    /// Greedy decoding of a single sequence.
    Generate,
    /// Scoring documents of 20 to 200 tokens.
    Score,
    /// Sampling of as many sequences at a time as the batch size.
    GenerateBatch,
}

/// The book's model (8.6 in the Chinese edition, 9.6 in the current English one), which the other rows vary.
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
    is_zipf: false,
    cutoffs: &[],
};

/// A large vocabulary with Zipf-distributed ids.
const LARGE_VOCABULARY: Size = Size {
    name: "lstm-100k-full",
    cell: Cell::Lstm,
    embedding_size: 256,
    vocab_size: 100_000,
    max_tokens: 5_000,
    is_zipf: true,
    ..BOOK
};

/// Every row, in the order of the report.
pub(crate) const SIZES: &[Size] = &[
    BOOK,
    Size { name: "gru-256", cell: Cell::Gru { reset_after: true }, ..BOOK },
    Size { name: "lstm-256", cell: Cell::Lstm, ..BOOK },
    Size { name: "lstm-2x512", cell: Cell::Lstm, hidden_size: 512, num_layers: 2, batch_size: 64, ..BOOK },
    Size { name: "gru-2x256", cell: Cell::Gru { reset_after: true }, num_layers: 2, ..BOOK },
    Size { name: "mingru-2x256", cell: Cell::MinGru, num_layers: 2, ..BOOK },
    Size { name: "minlstm-2x256", cell: Cell::MinLstm, num_layers: 2, ..BOOK },
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
    LARGE_VOCABULARY,
    Size { name: "lstm-100k-adaptive", cutoffs: &[2_000, 10_000, 50_000], ..LARGE_VOCABULARY },
    Size { name: "generate-rnn-256", work: Work::Generate, ..BOOK },
    Size { name: "generate-lstm-256", work: Work::Generate, cell: Cell::Lstm, ..BOOK },
    Size { name: "score-lstm-256", work: Work::Score, cell: Cell::Lstm, batch_size: 64, ..BOOK },
    Size { name: "generate-64-lstm-256", work: Work::GenerateBatch, cell: Cell::Lstm, batch_size: 64, ..BOOK },
];

impl Size {
    /// The model for a text with `distinct_tokens`.
    pub(crate) fn model(&self, distinct_tokens: usize) -> ModelConfig {
        ModelConfig {
            cell: self.cell,
            hidden_size: self.hidden_size,
            num_layers: self.num_layers,
            embedding_size: self.embedding_size,
            adaptive_softmax: (!self.cutoffs.is_empty()).then(|| AdaptiveSoftmax::new(self.cutoffs.to_vec())),
            ..ModelConfig::book(distinct_tokens.max(self.vocab_size))
        }
    }

    /// The book's settings with this row's batch size.
    pub(crate) fn train(&self) -> TrainConfig {
        TrainConfig { batch_size: self.batch_size, ..TrainConfig::book() }
    }

    /// Floating-point operations per token in matrix multiplications: two per multiply-add. One-hot input is a lookup and costs
    /// none. The backward pass costs twice the forward pass.
    pub(crate) fn flops(&self, distinct_tokens: usize) -> f64 {
        let model = self.model(distinct_tokens);
        let h = self.hidden_size;
        let v = model.vocab_size;
        let e = self.embedding_size;
        let gates = model.stack().cell.num_gates();
        let inputs = e + (self.num_layers - 1) * h;
        let recurrent = if model.cell.recurrent_blocks().is_empty() { 0 } else { self.num_layers * h };
        let macs = (gates * h * (recurrent + inputs)) as f64 + self.output_macs(v);
        match self.work {
            Work::Train => 6.0 * macs,
            Work::Generate | Work::GenerateBatch | Work::Score => 2.0 * macs,
        }
    }

    /// Multiply-adds of the output layer per token. A cluster of an adaptive softmax is computed for the targets in it.
    fn output_macs(&self, v: usize) -> f64 {
        let h = self.hidden_size;
        let Some(&shortlist) = self.cutoffs.first() else { return (v * h) as f64 };
        let ends = self.cutoffs[1..].iter().copied().chain([v]);
        let weights = |ids: Range<usize>| ids.map(|id| 1.0 / (id + 1) as f64).sum::<f64>();
        let clusters = self.cutoffs.iter().zip(ends).enumerate().map(|(index, (&first, end))| {
            let features = h / 4_usize.pow(index as u32 + 1);
            (features * (h + end - first)) as f64 * weights(first..end) / weights(0..v)
        });
        (h * (shortlist + self.cutoffs.len())) as f64 + clusters.sum::<f64>()
    }

    /// The ids of a text with Zipf's distribution over the vocabulary: id `k` has a probability proportional to `1 / (k + 1)`.
    /// `xtask/bench/torch_lm.py` draws the same ones.
    pub(crate) fn zipf_ids(&self) -> Vec<u32> {
        let weights = (0..self.vocab_size).scan(0.0, |sum, id| {
            *sum += 1.0 / (id + 1) as f64;
            Some(*sum)
        });
        let cumulative: Vec<f64> = weights.collect();
        let total = cumulative.last().copied().unwrap_or(1.0);
        let mut random = SplitMix64::new(0);
        let mut draw = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * total;
        (0..self.max_tokens)
            .map(|_| {
                let point = draw();
                cumulative.partition_point(|&sum| sum <= point) as u32
            })
            .collect()
    }

    /// The arguments of the PyTorch script for this row.
    pub(crate) fn peer_arguments(&self) -> Vec<String> {
        let mode = self.work.name();
        let cell = self.cell.as_str();
        let token = token_name(self.token);
        let numbers = [
            ("hidden-size", self.hidden_size),
            ("num-layers", self.num_layers),
            ("batch-size", self.batch_size),
            ("embedding-size", self.embedding_size),
            ("vocab-size", self.vocab_size),
            ("max-tokens", self.max_tokens),
            ("zipf", usize::from(self.is_zipf)),
        ];
        let cutoffs = self.cutoffs.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let words = [("mode", mode), ("cell", cell), ("token", token), ("cutoffs", &cutoffs)]
            .map(|(name, word)| (name, word.to_owned()));
        let numbers = numbers.map(|(name, number)| (name, number.to_string()));
        words.into_iter().chain(numbers).flat_map(|(name, value)| [format!("--{name}"), value]).collect()
    }
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Generate => "generate",
            Self::Score => "score",
            Self::GenerateBatch => "generate-batch",
        }
    }
}

fn token_name(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Char => "char",
        TokenKind::Word => "word",
        TokenKind::Byte => "byte",
        TokenKind::WordPunct => "word-punct",
        TokenKind::Subword => "subword",
    }
}
