//! One tensor operation on a device, beside the walk: operands lie as blocks inside larger matrices, so that offsets and
//! strides count and whatever an operation writes outside its output is seen.

use std::ops::Range;

use rnnlm_tensor::{Activation, Backend, Product, Tensor, View, ViewMut, ops};

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
    /// [`ops::multiply`], and whether it adds to its output.
    Multiply(bool),
    /// [`ops::gemm`], and whether it adds to its output.
    Gemm(Product, bool),
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
    /// [`ops::activate`].
    Activate(Activation),
    /// [`ops::activate_backward`].
    ActivateBackward(Activation),
    /// [`ops::softmax_cross_entropy`].
    SoftmaxCrossEntropy,
    /// [`ops::sum`].
    Sum,
    /// [`ops::sum_squares`].
    SumSquares,
    /// [`ops::clip_factor`].
    ClipFactor,
    /// [`ops::sgd`].
    Sgd,
}

impl Operation {
    /// All of them; a new one joins the list of checks by standing here.
    pub const ALL: [Self; 28] = [
        Self::Fill,
        Self::Copy,
        Self::Axpy,
        Self::Multiply(false),
        Self::Multiply(true),
        Self::Gemm(Product::AB, false),
        Self::Gemm(Product::AB, true),
        Self::Gemm(Product::ABt, false),
        Self::Gemm(Product::ABt, true),
        Self::Gemm(Product::AtB, false),
        Self::Gemm(Product::AtB, true),
        Self::AddRow,
        Self::SumRows,
        Self::GatherColumns,
        Self::ScatterAddColumns,
        Self::GatherRows,
        Self::ScatterAddRows,
        Self::Activate(Activation::Tanh),
        Self::Activate(Activation::Relu),
        Self::Activate(Activation::Sigmoid),
        Self::ActivateBackward(Activation::Tanh),
        Self::ActivateBackward(Activation::Relu),
        Self::ActivateBackward(Activation::Sigmoid),
        Self::SoftmaxCrossEntropy,
        Self::Sum,
        Self::SumSquares,
        Self::ClipFactor,
        Self::Sgd,
    ];
}

/// A block of a larger matrix.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Rows and columns of the whole.
    pub outer: [usize; 2],
    /// Which rows the operation sees.
    pub rows: Range<usize>,
    /// Which columns it sees.
    pub cols: Range<usize>,
    /// The whole, row by row.
    pub values: Vec<f32>,
}

impl Block {
    /// The place in `values` of an element of the block.
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

/// What an operation reads and writes; it looks only at what it needs.
#[derive(Clone, Debug, Default)]
pub struct Operands {
    /// The first input.
    pub a: Block,
    /// The second input, if it has one.
    pub b: Block,
    /// The output, with what it holds before.
    pub out: Block,
    /// The losses of a softmax cross-entropy.
    pub losses: Block,
    /// Ids or targets.
    pub ids: Vec<u32>,
    /// `alpha`, a value, a scale, a norm or a learning rate.
    pub scalar: f32,
}

pub(super) fn run<B: Backend>(backend: &B, operation: Operation, operands: &Operands) -> Result<Vec<Vec<f32>>> {
    let (a, b) = (operands.a.tensor(backend)?, operands.b.tensor(backend)?);
    let (mut out, mut losses) = (operands.out.tensor(backend)?, operands.losses.tensor(backend)?);
    let mut ids = backend.allocate_indices(operands.ids.len())?;
    backend.write_indices(&operands.ids, &mut ids)?;
    let (a, b, scalar) = (operands.a.view(&a), operands.b.view(&b), operands.scalar);
    let y = operands.out.view_mut(&mut out);
    match operation {
        Operation::Fill => ops::fill(backend, scalar, y)?,
        Operation::Copy => ops::copy(backend, a, y)?,
        Operation::Axpy => ops::axpy(backend, scalar, a, y)?,
        Operation::Multiply(accumulate) => ops::multiply(backend, a, b, accumulate, y)?,
        Operation::Gemm(product, accumulate) => ops::gemm(backend, product, a, b, accumulate, y)?,
        Operation::AddRow => ops::add_row(backend, a, y)?,
        Operation::SumRows => ops::sum_rows(backend, a, y)?,
        Operation::GatherColumns => ops::gather_columns(backend, a, &ids, y)?,
        Operation::ScatterAddColumns => ops::scatter_add_columns(backend, a, &ids, y)?,
        Operation::GatherRows => ops::gather_rows(backend, a, &ids, y)?,
        Operation::ScatterAddRows => ops::scatter_add_rows(backend, a, &ids, y)?,
        Operation::Activate(activation) => ops::activate(backend, activation, y)?,
        Operation::ActivateBackward(activation) => ops::activate_backward(backend, activation, a, y)?,
        Operation::SoftmaxCrossEntropy => {
            let losses = operands.losses.view_mut(&mut losses);
            ops::softmax_cross_entropy(backend, scalar, &ids, 0..operands.ids.len(), y, losses)?;
        }
        Operation::Sum => ops::sum(backend, a, y)?,
        Operation::SumSquares => ops::sum_squares(backend, a, y)?,
        Operation::ClipFactor => ops::clip_factor(backend, a, scalar, y)?,
        Operation::Sgd => ops::sgd(backend, scalar, a, b, y)?,
    }
    Ok(vec![out.to_vec(backend)?, losses.to_vec(backend)?])
}
