//! Reproducibility of the CPU's operations, bit for bit: AVX2 against AVX-512 code, one thread against several, and a row alone
//! against the same row among others. Matrix multiplication has its own tests next to its code.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::ops::Range;

use rnnlm_tensor::cpu::{Isa, math};
use rnnlm_tensor::{Activation, Cpu, Mask, MaskRows, Tensor, Update, View, ViewMut, ops};

/// Entries of the tables that ids select from: more than one block of ids.
const ENTRIES: usize = 70;

/// How a matrix is stored.
#[derive(Clone, Copy, Debug)]
enum Storage {
    Dense,
    Padded,
    /// A block of the columns of a wider matrix.
    Columns,
}

const STORAGES: [Storage; 3] = [Storage::Dense, Storage::Padded, Storage::Columns];

struct Matrix {
    tensor: Tensor<Cpu>,
    cols: Range<usize>,
}

impl Matrix {
    fn view(&self) -> View<'_, Cpu> {
        self.tensor.view().cols(self.cols.clone())
    }

    fn view_mut(&mut self) -> ViewMut<'_, Cpu> {
        self.tensor.view_mut().cols(self.cols.clone())
    }

    /// The elements, after a check that those around them have not changed.
    fn into_rows(self) -> Vec<Vec<f32>> {
        let rows = self.tensor.as_array();
        let around = rows.indexed_iter().filter(|((_, c), _)| !self.cols.contains(c));
        assert!(around.map(|(_, value)| value).all(|value| value.is_nan()), "a column of another matrix changed");
        rows.rows()
            .into_iter()
            .map(|row| row.iter().copied().skip(self.cols.start).take(self.cols.len()).collect())
            .collect()
    }
}

/// One call of an operation. The values of a row depend only on the row's key, so the same row can be placed among others.
struct Case<'a> {
    cpu: &'a Cpu,
    keys: &'a [usize],
    cols: usize,
    storage: Storage,
}

/// A value in `[−4, 4)` with a full mantissa.
fn value(seed: u64, key: usize, col: usize) -> f32 {
    let mut bits = seed << 48 ^ (key as u64) << 24 ^ col as u64;
    for _ in 0..3 {
        bits = (bits ^ bits >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    (bits >> 40) as f32 / (1 << 21) as f32 - 4.0
}

impl Case<'_> {
    /// A matrix with one row per key.
    fn matrix(&self, seed: u64) -> Matrix {
        self.rows(seed, self.keys)
    }

    /// A matrix with a single row.
    fn row(&self, seed: u64) -> Matrix {
        self.rows(seed, &[0])
    }

    fn rows(&self, seed: u64, keys: &[usize]) -> Matrix {
        self.stored(keys.len(), self.cols, |r, c| value(seed, keys[r], c))
    }

    fn stored(&self, rows: usize, cols: usize, f: impl Fn(usize, usize) -> f32) -> Matrix {
        let (mut tensor, cols) = match self.storage {
            Storage::Dense => (Tensor::zeros(self.cpu, rows, cols).unwrap(), 0..cols),
            Storage::Padded => (Tensor::padded(self.cpu, rows, cols).unwrap(), 0..cols),
            Storage::Columns => (Tensor::zeros(self.cpu, rows, cols + 3).unwrap(), 1..cols + 1),
        };
        // an operation may write padding, and must not read it
        tensor.view_mut().buffer.fill(f32::NAN);
        for ((r, c), element) in tensor.as_array_mut().indexed_iter_mut().filter(|((_, c), _)| cols.contains(c)) {
            *element = f(r, c - cols.start);
        }
        Matrix { tensor, cols }
    }

    /// Large values that cancel, with small values between them: the rounding errors of a sum in double precision then show in
    /// single precision.
    fn cancelling(&self) -> Matrix {
        let half = self.cols / 2;
        self.stored(self.keys.len(), self.cols, |r, c| match c % half.max(1) {
            pair if pair % 2 == 1 || c >= 2 * half => value(1, self.keys[r], c),
            pair if c < half => value(2, self.keys[r], pair) * 2.0_f32.powi(40),
            pair => -value(2, self.keys[r], pair) * 2.0_f32.powi(40),
        })
    }

    fn scalar(&self, value: f32) -> Matrix {
        self.stored(1, 1, |_, _| value)
    }

    /// A table with one row per id.
    fn table_of_rows(&self) -> Matrix {
        self.stored(ENTRIES, self.cols, |r, c| value(9, r, c))
    }

    /// A table with one column per id.
    fn table_of_columns(&self) -> Matrix {
        self.stored(self.cols, ENTRIES, |r, c| value(9, c, r))
    }

    /// One id per row.
    fn ids(&self, bound: usize) -> Vec<u32> {
        self.keys.iter().map(|key| (key * 7919 % bound) as u32).collect()
    }
}

type Operation = fn(&Case<'_>) -> Vec<Vec<f32>>;

fn activate(case: &Case<'_>, activation: Activation) -> Vec<Vec<f32>> {
    let mut out = case.matrix(1);
    ops::activate(case.cpu, activation, out.view_mut()).unwrap();
    let mut gradient = case.matrix(2);
    ops::activate_backward(case.cpu, activation, out.view(), gradient.view_mut()).unwrap();
    concatenate(out, gradient)
}

fn concatenate(left: Matrix, right: Matrix) -> Vec<Vec<f32>> {
    left.into_rows().into_iter().zip(right.into_rows()).map(|(left, right)| [left, right].concat()).collect()
}

fn multiply(case: &Case<'_>, accumulate: bool) -> Vec<Vec<f32>> {
    let mut out = case.matrix(3);
    ops::multiply(case.cpu, case.matrix(1).view(), case.matrix(2).view(), accumulate, out.view_mut()).unwrap();
    out.into_rows()
}

fn softmax_cross_entropy(case: &Case<'_>) -> Vec<Vec<f32>> {
    let mut logits = case.matrix(1);
    let mut losses = case.stored(case.keys.len(), 1, |_, _| 0.0);
    let targets = case.ids(case.cols);
    ops::softmax_cross_entropy(case.cpu, 0.3, 0.1, &targets, 0..targets.len(), logits.view_mut(), losses.view_mut())
        .unwrap();
    concatenate(logits, losses)
}

/// Operations whose output has one row per input row.
const ROW_WISE: &[(&str, Operation)] = &[
    ("fill", |case| {
        let mut out = case.matrix(1);
        ops::fill(case.cpu, 0.1, out.view_mut()).unwrap();
        out.into_rows()
    }),
    ("copy", |case| {
        let mut out = case.matrix(1);
        ops::copy(case.cpu, case.matrix(2).view(), out.view_mut()).unwrap();
        out.into_rows()
    }),
    ("axpy", |case| {
        let mut out = case.matrix(1);
        ops::axpy(case.cpu, 0.3, case.matrix(2).view(), out.view_mut()).unwrap();
        out.into_rows()
    }),
    ("multiply", |case| multiply(case, false)),
    ("multiply, accumulated", |case| multiply(case, true)),
    ("add_row", |case| {
        let mut out = case.matrix(1);
        ops::add_row(case.cpu, case.row(2).view(), out.view_mut()).unwrap();
        out.into_rows()
    }),
    ("clamp", |case| {
        let mut out = case.matrix(1);
        ops::clamp(case.cpu, 1.5, out.view_mut()).unwrap();
        out.into_rows()
    }),
    ("tanh", |case| activate(case, Activation::Tanh)),
    ("sigmoid", |case| activate(case, Activation::Sigmoid)),
    ("relu", |case| activate(case, Activation::Relu)),
    ("math::tanh", |case| {
        let map = |mut row: Vec<f32>| {
            math::tanh(case.cpu.isa(), &mut row);
            row
        };
        case.matrix(1).into_rows().into_iter().map(map).collect()
    }),
    ("math::sigmoid", |case| {
        let map = |mut row: Vec<f32>| {
            math::sigmoid(case.cpu.isa(), &mut row);
            row
        };
        case.matrix(1).into_rows().into_iter().map(map).collect()
    }),
    ("gather_columns", |case| {
        let mut out = case.matrix(1);
        ops::gather_columns(case.cpu, case.table_of_columns().view(), &case.ids(ENTRIES), out.view_mut()).unwrap();
        out.into_rows()
    }),
    ("gather_rows", |case| {
        let mut out = case.matrix(1);
        ops::gather_rows(case.cpu, case.table_of_rows().view(), &case.ids(ENTRIES), out.view_mut()).unwrap();
        out.into_rows()
    }),
    ("zero_rows", |case| {
        let (mut out, mask) = (case.matrix(1), case.ids(2));
        ops::zero_rows(case.cpu, &mask, 0..mask.len(), out.view_mut()).unwrap();
        out.into_rows()
    }),
    ("softmax_cross_entropy", softmax_cross_entropy),
];

fn update(case: &Case<'_>, rule: Update) -> Vec<Vec<f32>> {
    let factor = case.scalar(0.7);
    let mut first = case.matrix(2);
    // a mean of squares is not negative
    ops::activate(case.cpu, Activation::Relu, first.view_mut()).unwrap();
    let mut second = case.matrix(3);
    ops::activate(case.cpu, Activation::Relu, second.view_mut()).unwrap();
    let mut parameters = case.matrix(4);
    let state = [first.view_mut(), second.view_mut()];
    ops::update(case.cpu, rule, factor.view(), case.matrix(1).view(), state, parameters.view_mut()).unwrap();
    [first, second, parameters].map(Matrix::into_rows).concat()
}

fn adam(case: &Case<'_>, decoupled: bool) -> Vec<Vec<f32>> {
    let bias_corrections = [0.271, 0.0547];
    let betas = [0.9, 0.999];
    update(case, Update::Adam { lr: 0.01, betas, eps: 1e-8, weight_decay: 0.1, decoupled, bias_corrections })
}

fn sgd(case: &Case<'_>, momentum: f32, nesterov: bool) -> Vec<Vec<f32>> {
    update(case, Update::Sgd { lr: 0.1, momentum, nesterov, weight_decay: 0.01 })
}

/// The other operations: sums over rows, and operations that depend on the index of a row.
const OTHER: &[(&str, Operation)] = &[
    ("sum_rows", |case| {
        let mut out = case.row(2);
        ops::sum_rows(case.cpu, case.matrix(1).view(), out.view_mut()).unwrap();
        out.into_rows()
    }),
    ("scatter_add_columns", |case| {
        let mut table = case.table_of_columns();
        let mut sum = case.row(2);
        let ids = case.ids(ENTRIES);
        ops::scatter_add_columns(case.cpu, case.matrix(1).view(), &ids, table.view_mut(), sum.view_mut()).unwrap();
        [table.into_rows(), sum.into_rows()].concat()
    }),
    ("scatter_add_rows", |case| {
        let mut table = case.table_of_rows();
        ops::scatter_add_rows(case.cpu, case.matrix(1).view(), &case.ids(ENTRIES), table.view_mut()).unwrap();
        table.into_rows()
    }),
    ("sum", |case| {
        let mut out = case.scalar(0.0);
        ops::sum(case.cpu, case.cancelling().view(), out.view_mut()).unwrap();
        out.into_rows()
    }),
    ("sum_squares, clip_factor", |case| {
        let mut sum = case.scalar(0.0);
        ops::sum_squares(case.cpu, case.matrix(1).view(), sum.view_mut()).unwrap();
        let mut factor = case.scalar(0.0);
        ops::clip_factor(case.cpu, sum.view(), 0.1, factor.view_mut()).unwrap();
        [sum.into_rows(), factor.into_rows()].concat()
    }),
    ("skip_nonfinite", |case| {
        let mut skipped = case.scalar(0.0);
        let mut factor = case.scalar(0.5);
        let loss = case.scalar(1.5);
        ops::skip_nonfinite(case.cpu, 0.0, loss.view(), loss.view(), skipped.view_mut(), factor.view_mut()).unwrap();
        [skipped.into_rows(), factor.into_rows()].concat()
    }),
    ("dropout", |case| {
        let mut out = case.matrix(1);
        ops::dropout(
            case.cpu,
            Mask { probability: 0.3, seed: 11, layer: 2, step: 5, period: 0, rows: MaskRows::default() },
            out.view_mut(),
        )
        .unwrap();
        out.into_rows()
    }),
    ("SGD", |case| sgd(case, 0.0, false)),
    ("SGD with momentum", |case| sgd(case, 0.9, false)),
    ("SGD with Nesterov momentum", |case| sgd(case, 0.9, true)),
    ("Adam", |case| adam(case, false)),
    ("AdamW", |case| adam(case, true)),
    ("RMSprop", |case| {
        update(case, Update::Rmsprop { lr: 0.01, alpha: 0.99, eps: 1e-8, weight_decay: 0.1, momentum: 0.0 })
    }),
    ("RMSprop with momentum", |case| {
        update(case, Update::Rmsprop { lr: 0.01, alpha: 0.99, eps: 1e-8, weight_decay: 0.1, momentum: 0.9 })
    }),
];

fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    rows.iter().map(|row| row.iter().map(|value| value.to_bits()).collect()).collect()
}

/// Shapes with incomplete vectors, blocks and tasks, single rows with more than one block of a sum, and empty matrices.
const SHAPES: [[usize; 2]; 12] = [
    [0, 0],
    [0, 5],
    [1, 1],
    [1, 5],
    [3, 1],
    [7, 28],
    [65, 33],
    [130, 100],
    [33, 257],
    [70, 1030],
    [1, 50_001],
    [600, 131],
];

#[test]
fn results_are_the_same_for_any_number_of_threads_and_for_avx2_and_avx512() {
    let pools = [1, 2, 3].map(|threads| Cpu::new(threads).unwrap());
    // the portable code has no fused multiply-add, so only its numbers of threads are compared
    let (portable, with_fma): (Vec<Isa>, Vec<Isa>) = Isa::available().partition(|isa| isa.name() == "portable");
    for [rows, cols] in SHAPES {
        let keys: Vec<usize> = (0..rows).collect();
        for storage in STORAGES {
            for &(name, operation) in ROW_WISE.iter().chain(OTHER) {
                for isas in [&portable, &with_fma] {
                    let mut expected = None;
                    for (&isa, pool) in isas.iter().flat_map(|isa| pools.iter().map(move |pool| (isa, pool))) {
                        let cpu = pool.clone().with_isa(isa);
                        let found = operation(&Case { cpu: &cpu, keys: &keys, cols, storage });
                        let is_finite = found.iter().flatten().all(|value| value.is_finite());
                        assert!(
                            is_finite || name == "skip_nonfinite",
                            "{name}, {rows}×{cols} {storage:?} reads padding"
                        );
                        let found = bits(&found);
                        // not `assert_eq`, whose message would contain all elements
                        let is_equal = found == *expected.get_or_insert_with(|| found.clone());
                        let (isa, threads) = (isa.name(), cpu.threads());
                        assert!(is_equal, "{name}, {rows}×{cols} {storage:?}, {isa}, {threads} threads");
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_has_the_same_result_alone_and_among_others() {
    const KEY: usize = 1_000;
    let pool = Cpu::new(2).unwrap();
    for isa in Isa::available() {
        let cpu = pool.clone().with_isa(isa);
        for cols in [1, 5, 28, 33, 257, 1030] {
            for storage in STORAGES {
                for &(name, operation) in ROW_WISE {
                    let case = |keys: &[usize]| bits(&operation(&Case { cpu: &cpu, keys, cols, storage }));
                    let alone = case(&[KEY]);
                    for others in [1, 3, 31, 64] {
                        for position in [0, others / 2, others] {
                            let mut keys: Vec<usize> = (0..others).collect();
                            keys.insert(position, KEY);
                            let is_equal = case(&keys)[position] == alone[0];
                            let what = format!("{name}, {cols} columns {storage:?}, {}", isa.name());
                            assert!(is_equal, "{what}, row {position} among {others} others");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_dropout_mask_does_not_depend_on_the_number_of_rows() {
    let (_, dropout) = OTHER.iter().find(|(name, _)| *name == "dropout").unwrap();
    let cpu = Cpu::new(2).unwrap();
    for cols in [1, 5, 28, 33, 257] {
        for storage in STORAGES {
            let keys: Vec<usize> = (0..100).collect();
            let all = bits(&dropout(&Case { cpu: &cpu, keys: &keys, cols, storage }));
            for rows in [1, 3, 32, 33] {
                let some = bits(&dropout(&Case { cpu: &cpu, keys: &keys[..rows], cols, storage }));
                assert!(some == all[..rows], "{rows} rows, {cols} columns {storage:?}");
            }
        }
    }
}
