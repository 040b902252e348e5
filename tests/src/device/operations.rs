//! Tensor operations on a device. Operands can be blocks of larger matrices, which tests offsets and leading dimensions and
//! shows writes outside the output.

use std::ops::Range;

use rnnlm_tensor::{Activation, Backend, Mask, MaskRows, Tensor, Transpose, Update, View, ViewMut, ops};

use crate::Result;

/// Every operation of the tensor crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`ops::fill`].
    Fill,
    /// [`ops::copy`].
    Copy,
    /// [`ops::axpy`].
    Axpy,
    /// [`ops::multiply`], and whether it accumulates.
    Multiply(bool),
    /// [`ops::normalize`].
    Normalize,
    /// [`ops::gemm`], and whether it accumulates.
    Gemm(Transpose, bool),
    /// [`ops::linear`].
    Linear,
    /// [`ops::add_row`].
    AddRow,
    /// [`ops::sum_rows`].
    SumRows,
    /// [`ops::gather_columns`].
    GatherColumns,
    /// [`ops::scatter_add_columns`].
    ScatterAddColumns,
    /// [`ops::gather_rows`].
    GatherRows,
    /// [`ops::scatter_add_rows`].
    ScatterAddRows,
    /// [`ops::zero_rows`].
    ZeroRows,
    /// [`ops::activate`].
    Activate(Activation),
    /// [`ops::activate_backward`].
    ActivateBackward(Activation),
    /// [`ops::softmax_cross_entropy`], and whether it smooths the labels.
    SoftmaxCrossEntropy(bool),
    /// [`ops::log_softmax`], and whether it has a shift.
    LogSoftmax(bool),
    /// [`ops::sum`].
    Sum,
    /// [`ops::sum_squares`].
    SumSquares,
    /// [`ops::sum_squares_in`] of the first row, which is zero outside of some ranges.
    SumSquaresIn,
    /// [`ops::clip_factor`].
    ClipFactor,
    /// [`ops::skip_nonfinite`].
    SkipNonfinite,
    /// [`ops::clamp`].
    Clamp,
    /// [`ops::dropout`], and the period of the mask.
    Dropout(u32),
    /// [`ops::dropout_rows`].
    DropoutRows,
    /// [`ops::update`] with one of its rules.
    Update(Rule),
}

/// The variants of [`Update`], with settings that all have an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Plain SGD.
    Sgd,
    /// SGD with momentum.
    Momentum,
    /// SGD with Nesterov's momentum.
    Nesterov,
    /// Adam.
    Adam,
    /// AdamW.
    AdamW,
    /// RMSprop.
    Rmsprop,
    /// RMSprop with momentum.
    RmspropMomentum,
}

impl Rule {
    /// The update with the learning rate `lr`.
    pub fn update(self, lr: f32) -> Update {
        let sgd = |momentum, nesterov| Update::Sgd { lr, momentum, nesterov, weight_decay: 0.3 };
        let adam = |decoupled| Update::Adam {
            lr,
            betas: [0.8, 0.9],
            eps: 0.1,
            weight_decay: 0.3,
            decoupled,
            bias_corrections: [0.36, 0.5],
        };
        let rmsprop = |momentum| Update::Rmsprop { lr, alpha: 0.9, eps: 0.1, weight_decay: 0.3, momentum };
        match self {
            Self::Sgd => sgd(0.0, false),
            Self::Momentum => sgd(0.7, false),
            Self::Nesterov => sgd(0.7, true),
            Self::Adam => adam(false),
            Self::AdamW => adam(true),
            Self::Rmsprop => rmsprop(0.0),
            Self::RmspropMomentum => rmsprop(0.7),
        }
    }
}

/// ε of a softmax cross-entropy that smooths the labels.
pub(crate) const SMOOTHING: f32 = 0.1;

/// Where the row of a sum of squares is not zero, as ascending ranges.
pub(crate) fn nonzero(len: usize) -> Vec<Range<usize>> {
    match len {
        0..15 => std::iter::once(0..len).collect(),
        _ => vec![0..1, len / 3..len / 2, len - len / 5..len],
    }
}

/// A dropout mask with this probability and period.
pub(crate) fn mask(probability: f32, period: u32) -> Mask {
    Mask { probability, seed: 0x0123_4567_89AB_CDEF, layer: 2, step: 0x1_0000_0003, period, rows: MaskRows::default() }
}

impl Operation {
    /// All operations. The checks are created from this list.
    pub const ALL: [Self; 46] = [
        Self::Fill,
        Self::Copy,
        Self::Axpy,
        Self::Multiply(false),
        Self::Multiply(true),
        Self::Normalize,
        Self::Gemm(Transpose::NN, false),
        Self::Gemm(Transpose::NN, true),
        Self::Gemm(Transpose::NT, false),
        Self::Gemm(Transpose::NT, true),
        Self::Gemm(Transpose::TN, false),
        Self::Gemm(Transpose::TN, true),
        Self::Linear,
        Self::AddRow,
        Self::SumRows,
        Self::GatherColumns,
        Self::ScatterAddColumns,
        Self::GatherRows,
        Self::ScatterAddRows,
        Self::ZeroRows,
        Self::Activate(Activation::Tanh),
        Self::Activate(Activation::Relu),
        Self::Activate(Activation::Sigmoid),
        Self::ActivateBackward(Activation::Tanh),
        Self::ActivateBackward(Activation::Relu),
        Self::ActivateBackward(Activation::Sigmoid),
        Self::SoftmaxCrossEntropy(false),
        Self::SoftmaxCrossEntropy(true),
        Self::LogSoftmax(false),
        Self::LogSoftmax(true),
        Self::Sum,
        Self::SumSquares,
        Self::SumSquaresIn,
        Self::ClipFactor,
        Self::SkipNonfinite,
        Self::Clamp,
        Self::Dropout(0),
        Self::Dropout(4),
        Self::DropoutRows,
        Self::Update(Rule::Sgd),
        Self::Update(Rule::Momentum),
        Self::Update(Rule::Nesterov),
        Self::Update(Rule::Adam),
        Self::Update(Rule::AdamW),
        Self::Update(Rule::Rmsprop),
        Self::Update(Rule::RmspropMomentum),
    ];
}

/// A block of a larger matrix.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Rows and columns of the matrix.
    pub outer: [usize; 2],
    /// The rows of the block.
    pub rows: Range<usize>,
    /// The columns of the block.
    pub cols: Range<usize>,
    /// The values of the matrix in row-major order.
    pub values: Vec<f32>,
}

impl Block {
    /// The index in `values` of an element of the block.
    pub fn index(&self, row: usize, col: usize) -> usize {
        (self.rows.start + row) * self.outer[1] + self.cols.start + col
    }

    /// An element of the block, in double precision.
    pub fn at(&self, row: usize, col: usize) -> f64 {
        f64::from(self.values[self.index(row, col)])
    }

    /// Rows and columns of the block.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows.len(), self.cols.len()]
    }

    fn tensor<B: Backend>(&self, backend: &B) -> Result<Tensor<B>> {
        Ok(Tensor::from_slice(backend, self.outer[0], self.outer[1], &self.values)?)
    }

    fn view<'a, B: Backend>(&self, tensor: &'a Tensor<B>) -> View<'a, B> {
        tensor.view().rows(self.rows.clone()).cols(self.cols.clone())
    }

    fn view_mut<'a, B: Backend>(&self, tensor: &'a mut Tensor<B>) -> ViewMut<'a, B> {
        tensor.view_mut().rows(self.rows.clone()).cols(self.cols.clone())
    }
}

/// The operands of an operation; each operation uses only some of them.
#[derive(Clone, Debug, Default)]
pub struct Operands {
    /// The first input.
    pub a: Block,
    /// The second input, if it has one.
    pub b: Block,
    /// The output and its previous values.
    pub out: Block,
    /// The losses of a softmax cross-entropy.
    pub losses: Block,
    /// An optimizer's state. The first block is also a gradient factor, a sum of rows or a bias.
    pub state: [Block; 2],
    /// Ids, targets or flags.
    pub ids: Vec<u32>,
    /// `alpha`, a value, a scale, a norm, a bound, a probability or a learning rate.
    pub scalar: f32,
}

pub(super) fn run<B: Backend>(backend: &B, operation: Operation, operands: &Operands) -> Result<Vec<Vec<f32>>> {
    let a = operands.a.tensor(backend)?;
    let b = operands.b.tensor(backend)?;
    let mut out = operands.out.tensor(backend)?;
    let mut losses = operands.losses.tensor(backend)?;
    let mut first = operands.state[0].tensor(backend)?;
    let mut second = operands.state[1].tensor(backend)?;
    // The ids are a range of a longer buffer, like those of a minibatch.
    let mut ids = backend.allocate_indices(operands.ids.len())?;
    let mut all = backend.allocate_indices(operands.ids.len() + 2)?;
    backend.write_indices(&[&[0], &operands.ids[..], &[0]].concat(), &mut all)?;
    backend.copy_indices(&all, 1, &mut ids)?;
    let a = operands.a.view(&a);
    let b = operands.b.view(&b);
    let scalar = operands.scalar;
    let y = operands.out.view_mut(&mut out);
    match operation {
        Operation::Fill => ops::fill(backend, scalar, y)?,
        Operation::Copy => ops::copy(backend, a, y)?,
        Operation::Axpy => ops::axpy(backend, scalar, a, y)?,
        Operation::Multiply(accumulate) => ops::multiply(backend, a, b, accumulate, y)?,
        Operation::Normalize => ops::normalize(backend, a, b, y)?,
        Operation::Gemm(transpose, accumulate) => ops::gemm(backend, transpose, a, b, accumulate, y)?,
        Operation::Linear => ops::linear(backend, a, b, operands.state[0].view(&first), y)?,
        Operation::AddRow => ops::add_row(backend, a, y)?,
        Operation::SumRows => ops::sum_rows(backend, a, y)?,
        Operation::GatherColumns => ops::gather_columns(backend, a, &ids, y)?,
        Operation::ScatterAddColumns => {
            ops::scatter_add_columns(backend, a, &ids, y, operands.state[0].view_mut(&mut first))?;
        }
        Operation::GatherRows => ops::gather_rows(backend, a, &ids, y)?,
        Operation::ScatterAddRows => ops::scatter_add_rows(backend, a, &ids, y)?,
        Operation::ZeroRows => ops::zero_rows(backend, &all, 1..operands.ids.len() + 1, y)?,
        Operation::Activate(activation) => ops::activate(backend, activation, y)?,
        Operation::ActivateBackward(activation) => ops::activate_backward(backend, activation, a, y)?,
        Operation::SoftmaxCrossEntropy(smooths) => {
            let losses = operands.losses.view_mut(&mut losses);
            let smoothing = if smooths { SMOOTHING } else { 0.0 };
            ops::softmax_cross_entropy(backend, scalar, smoothing, &ids, 0..operands.ids.len(), y, losses)?;
        }
        Operation::LogSoftmax(shifts) => ops::log_softmax(backend, shifts.then_some(a), y)?,
        Operation::Sum => ops::sum(backend, a, y)?,
        Operation::SumSquares => ops::sum_squares(backend, a, y)?,
        Operation::SumSquaresIn => ops::sum_squares_in(backend, a, &nonzero(a.shape()[1]), y)?,
        Operation::ClipFactor => ops::clip_factor(backend, a, scalar, y)?,
        Operation::SkipNonfinite => {
            ops::skip_nonfinite(backend, scalar, a, b, y, operands.state[0].view_mut(&mut first))?;
        }
        Operation::Clamp => ops::clamp(backend, scalar, y)?,
        Operation::Dropout(period) => ops::dropout(backend, mask(scalar, period), y)?,
        Operation::DropoutRows => ops::dropout_rows(backend, mask(scalar, 0), &ids, y)?,
        Operation::Update(rule) => {
            let state = [operands.state[0].view_mut(&mut first), operands.state[1].view_mut(&mut second)];
            ops::update(backend, rule.update(scalar), a, b, state, y)?;
        }
    }
    [out, losses, first, second].iter().map(|tensor| Ok(tensor.to_vec(backend)?)).collect()
}
