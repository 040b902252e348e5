//! Every tensor operation on every backend against naive loops in double precision: shapes that are no multiples of tile
//! sizes, blocks inside larger matrices, extreme values.

use std::sync::Arc;

use rnnlm_tensor::{Activation, Transpose};

use super::naive;
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{Block, Operands, Operation, Rule, nonzero};
use crate::draw::Draw;
use crate::paths::Target;
use crate::perturb::Perturbation;
use crate::tolerance;

/// Rows, columns, and the inner dimension of a matrix multiplication or the entries of a table; and the operands' setting.
const CASES: [([usize; 3], Setting); 9] = [
    ([1, 1, 1], Setting::Contiguous),
    ([3, 2, 7], Setting::Block),
    ([9, 33, 8], Setting::Contiguous),
    ([9, 33, 8], Setting::Block),
    ([32, 28, 64], Setting::Contiguous),
    ([70, 64, 257], Setting::Contiguous),
    ([70, 65, 257], Setting::Contiguous),
    ([70, 65, 257], Setting::Block),
    ([35, 1000, 2], Setting::Contiguous),
];
/// Sizes of matrix multiplications (m, n, k): 8 × 8 of a GPU's largest tiles, some of them partial, with scalar and with
/// vector loads; a split over k on a GPU; and several blocks of rows and of k on a CPU.
const LARGE_GEMMS: [[usize; 3]; 4] = [[900, 897, 17], [900, 900, 20], [132, 128, 320], [80, 256, 530]];

/// The storage or the values of a case's operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// Each operand is a contiguous matrix.
    Contiguous,
    /// Each operand is a block of a larger matrix.
    Block,
    /// Contiguous matrices with values that saturate, overflow an exponential, or are NaN.
    Extreme,
}

/// One case of one operation.
#[derive(Clone, Copy)]
struct Case {
    operation: Operation,
    shape: [usize; 3],
    setting: Setting,
}

/// Checks of every operation on one backend.
pub(super) fn checks(target: &Target) -> Vec<Check> {
    let mut checks = Vec::new();
    for operation in Operation::ALL {
        checks.extend(CASES.map(|(shape, setting)| check(target, Case { operation, shape, setting })));
        if is_gemm(operation) {
            let case = |shape| check(target, Case { operation, shape, setting: Setting::Contiguous });
            checks.extend(LARGE_GEMMS.map(case));
        }
        let has_extremes =
            matches!(operation, Operation::Activate(_) | Operation::SoftmaxCrossEntropy(_) | Operation::SkipNonfinite)
                || matches!(operation, Operation::Update(_) | Operation::Normalize | Operation::LogSoftmax(_));
        if has_extremes {
            checks.push(check(target, Case { operation, shape: [4, 12, 1], setting: Setting::Extreme }));
        }
    }
    checks
}

fn check(target: &Target, case: Case) -> Check {
    let device = Arc::clone(&target.device);
    let [rows, cols, inner] = case.shape;
    let depth = if is_gemm(case.operation) { format!("×{inner}") } else { String::new() };
    let setting = match case.setting {
        Setting::Contiguous => "",
        Setting::Block => " block",
        Setting::Extreme => " extreme",
    };
    Check {
        family: Family::Operations,
        subject: name(case.operation),
        shape: format!("{rows}×{cols}{depth}{setting}"),
        backend: target.backend.clone(),
        path: target.path.clone(),
        tolerance: tolerance::OPERATION,
        perturbations: perturbations(&case),
        expected: Box::new(move || Ok(quantities(&case.operands(), naive::run(case.operation, &case.operands())))),
        found: Box::new(move |perturbation| {
            let mut operands = case.operands();
            perturbation.into_iter().for_each(|perturbation| case.perturb(perturbation, &mut operands));
            let found = device.operation(case.operation, &operands)?;
            let found = found.into_iter().map(|values| values.into_iter().map(f64::from).collect());
            Ok(quantities(&case.operands(), found.collect()))
        }),
    }
}

/// Whether the operation is a matrix multiplication, which has an inner dimension.
fn is_gemm(operation: Operation) -> bool {
    matches!(operation, Operation::Gemm(..) | Operation::Linear)
}

fn name(operation: Operation) -> String {
    let accumulate = |yes: bool| if yes { " +=" } else { "" };
    match operation {
        Operation::Multiply(yes) => format!("multiply{}", accumulate(yes)),
        Operation::Normalize => "normalize".to_owned(),
        Operation::Gemm(Transpose::NN, yes) => format!("gemm A·B{}", accumulate(yes)),
        Operation::Gemm(Transpose::NT, yes) => format!("gemm A·Bᵀ{}", accumulate(yes)),
        Operation::Gemm(Transpose::TN, yes) => format!("gemm Aᵀ·B{}", accumulate(yes)),
        Operation::Activate(activation) => format!("{activation:?}").to_lowercase(),
        Operation::ActivateBackward(activation) => format!("{activation:?} backward").to_lowercase(),
        Operation::Fill => "fill".to_owned(),
        Operation::Copy => "copy".to_owned(),
        Operation::Axpy => "axpy".to_owned(),
        Operation::Linear => "linear".to_owned(),
        Operation::AddRow => "add_row".to_owned(),
        Operation::SumRows => "sum_rows".to_owned(),
        Operation::GatherColumns => "gather_columns".to_owned(),
        Operation::ScatterAddColumns => "scatter_add_columns".to_owned(),
        Operation::GatherRows => "gather_rows".to_owned(),
        Operation::ScatterAddRows => "scatter_add_rows".to_owned(),
        Operation::ZeroRows => "zero_rows".to_owned(),
        Operation::SoftmaxCrossEntropy(false) => "softmax_cross_entropy".to_owned(),
        Operation::SoftmaxCrossEntropy(true) => "softmax_cross_entropy smoothed".to_owned(),
        Operation::LogSoftmax(false) => "log_softmax".to_owned(),
        Operation::LogSoftmax(true) => "log_softmax with a shift".to_owned(),
        Operation::Sum => "sum".to_owned(),
        Operation::SumSquares => "sum_squares".to_owned(),
        Operation::SumSquaresIn => "sum_squares in ranges".to_owned(),
        Operation::ClipFactor => "clip_factor".to_owned(),
        Operation::SkipNonfinite => "skip_nonfinite".to_owned(),
        Operation::Clamp => "clamp".to_owned(),
        Operation::Dropout(0) => "dropout".to_owned(),
        Operation::Dropout(period) => format!("dropout, period {period}"),
        Operation::DropoutRows => "dropout_rows".to_owned(),
        Operation::Update(Rule::AdamW) => "update AdamW".to_owned(),
        Operation::Update(Rule::RmspropMomentum) => "update RMSprop momentum".to_owned(),
        Operation::Update(Rule::Rmsprop) => "update RMSprop".to_owned(),
        Operation::Update(Rule::Sgd) => "update SGD".to_owned(),
        Operation::Update(rule) => format!("update {rule:?}"),
    }
}

/// The buffers of output, losses and state, including the elements around a block; empty ones are omitted.
fn quantities(operands: &Operands, buffers: Vec<Vec<f64>>) -> Vec<Quantity> {
    let [first, second] = &operands.state;
    let blocks = [("output", &operands.out), ("losses", &operands.losses), ("state 0", first), ("state 1", second)];
    let named = blocks.into_iter().zip(buffers);
    let named = named.filter(|((_, block), _)| !block.values.is_empty());
    let quantity = |((name, block), values): ((&str, &Block), Vec<f64>)| {
        Quantity::new(name, vec![Axis::Row(block.outer[0]), Axis::Column(block.outer[1])], values)
    };
    named.map(quantity).collect()
}

fn perturbations(case: &Case) -> Vec<Perturbation> {
    match case.operation {
        Operation::Fill => vec![Perturbation::Scalar],
        // A skipped update ignores everything but the NaN that skips it.
        Operation::Update(_) | Operation::SkipNonfinite if case.setting == Setting::Extreme => {
            vec![Perturbation::Input]
        }
        Operation::SkipNonfinite => vec![Perturbation::Nan],
        Operation::ClipFactor | Operation::Axpy | Operation::Update(_) => {
            vec![Perturbation::Input, Perturbation::Scalar, Perturbation::Nan]
        }
        Operation::GatherColumns | Operation::GatherRows | Operation::ScatterAddColumns | Operation::ScatterAddRows
            if case.entries() == 1 =>
        {
            vec![Perturbation::Input, Perturbation::Nan]
        }
        Operation::GatherColumns | Operation::GatherRows | Operation::ScatterAddColumns | Operation::ScatterAddRows => {
            vec![Perturbation::Input, Perturbation::Id, Perturbation::Nan]
        }
        // A small change of a saturated input has no effect.
        Operation::Activate(_) if case.setting == Setting::Extreme => vec![Perturbation::Sign, Perturbation::Nan],
        // The first row keeps its values.
        Operation::ZeroRows => vec![Perturbation::Input, Perturbation::Id, Perturbation::Nan],
        // The mask drops the first element, which is the only one of the smallest case.
        Operation::Dropout(_) | Operation::DropoutRows if case.shape[0] == 1 => vec![Perturbation::Nan],
        Operation::Dropout(_) => vec![Perturbation::Scalar, Perturbation::Nan],
        // Another id may have the same factor.
        Operation::DropoutRows => vec![Perturbation::Nan],
        // The derivative of ReLU depends only on the sign of the activated value, which NaN does not have.
        Operation::ActivateBackward(Activation::Relu) => vec![Perturbation::Input],
        // With a single class the loss and the gradient are zero for every logit.
        Operation::SoftmaxCrossEntropy(_) if case.shape[1] == 1 => vec![Perturbation::Nan],
        Operation::SoftmaxCrossEntropy(_) if case.setting == Setting::Extreme => {
            vec![Perturbation::Id, Perturbation::Scalar, Perturbation::Nan]
        }
        // With a single class the logarithm is zero for every logit.
        Operation::LogSoftmax(_) if case.shape[1] == 1 => vec![Perturbation::Nan],
        Operation::SoftmaxCrossEntropy(_) => {
            vec![Perturbation::Input, Perturbation::Id, Perturbation::Scalar, Perturbation::Nan]
        }
        _ => vec![Perturbation::Input, Perturbation::Nan],
    }
}

/// Four rows of logits that overflow an exponential. The third row is uniform, the last one NaN.
fn extreme_logits() -> Vec<f32> {
    let logits = [1e4, -1e4, 88.0, -88.0, 3.0, 0.0, -1e4, 1e4, 1e4, 0.5, 100.0, -100.0];
    [logits, logits.map(|x| -x), [-3e38; 12], [f32::NAN; 12]].concat()
}

impl Case {
    /// The number of entries of the table that a gather or scatter indexes.
    fn entries(&self) -> usize {
        match self.operation {
            Operation::GatherRows | Operation::GatherColumns => self.a_shape()[usize::from(self.is_by_column())],
            _ => self.out_shape()[usize::from(self.is_by_column())],
        }
    }

    fn is_by_column(&self) -> bool {
        !matches!(self.operation, Operation::GatherRows | Operation::ScatterAddRows)
    }

    fn a_shape(&self) -> [usize; 2] {
        let [rows, cols, inner] = self.shape;
        match self.operation {
            Operation::Gemm(Transpose::TN, _) => [inner, rows],
            Operation::Gemm(..) | Operation::Linear => [rows, inner],
            Operation::AddRow | Operation::SumSquaresIn => [1, cols],
            Operation::LogSoftmax(true) => [rows, 1],
            Operation::GatherColumns => [cols, inner],
            Operation::GatherRows => [inner, cols],
            Operation::ClipFactor | Operation::SkipNonfinite | Operation::Update(_) => [1, 1],
            _ => [rows, cols],
        }
    }

    fn b_shape(&self) -> [usize; 2] {
        let [rows, cols, inner] = self.shape;
        match self.operation {
            Operation::Gemm(Transpose::NT, _) | Operation::Linear => [cols, inner],
            Operation::Gemm(..) => [inner, cols],
            Operation::Multiply(_) | Operation::Normalize | Operation::Update(_) => [rows, cols],
            Operation::SkipNonfinite => [1, 1],
            _ => [0, 0],
        }
    }

    fn out_shape(&self) -> [usize; 2] {
        let [rows, cols, inner] = self.shape;
        match self.operation {
            Operation::SumRows => [1, cols],
            Operation::ScatterAddColumns => [cols, inner],
            Operation::ScatterAddRows => [inner, cols],
            Operation::Sum
            | Operation::SumSquares
            | Operation::SumSquaresIn
            | Operation::ClipFactor
            | Operation::SkipNonfinite => [1, 1],
            _ => [rows, cols],
        }
    }

    /// An update has both state blocks, also if it uses fewer: the others must not change.
    fn state(&self, draw: &mut Draw) -> [Block; 2] {
        match self.operation {
            Operation::Update(_) | Operation::SkipNonfinite => {}
            Operation::ScatterAddColumns | Operation::Linear => {
                return [self.block([1, self.shape[1]], draw), Block::default()];
            }
            _ => return Default::default(),
        }
        [(); 2].map(|()| {
            let mut block = self.block(self.out_shape(), draw);
            // Means of squares are not negative.
            block.values.iter_mut().for_each(|value| *value = value.abs());
            block
        })
    }

    /// Draws the operands; the same values in every call.
    fn operands(&self) -> Operands {
        let mut draw = Draw::new(0x0BE5);
        let rows = self.shape[0];
        let mut operands = Operands {
            a: self.block(self.a_shape(), &mut draw),
            b: self.block(self.b_shape(), &mut draw),
            out: self.block(self.out_shape(), &mut draw),
            ids: draw.ids(rows, self.entries()),
            scalar: 0.7,
            ..Operands::default()
        };
        operands.state = self.state(&mut draw);
        if self.operation == Operation::ZeroRows {
            operands.ids = draw.ids(rows, 3);
            operands.ids[0] = 0;
        }
        match (self.operation, self.setting) {
            (Operation::SoftmaxCrossEntropy(_), Setting::Extreme) => {
                operands.losses = self.block([rows, 1], &mut draw);
                operands.out.values = extreme_logits();
                operands.ids = vec![7, 3, 2, 0];
            }
            (Operation::LogSoftmax(_), Setting::Extreme) => operands.out.values = extreme_logits(),
            (Operation::SumSquaresIn, _) => {
                let ranges = nonzero(self.shape[1]);
                for col in (0..self.shape[1]).filter(|col| !ranges.iter().any(|range| range.contains(col))) {
                    let index = operands.a.index(0, col);
                    operands.a.values[index] = 0.0;
                }
            }
            (Operation::SoftmaxCrossEntropy(_), _) => operands.losses = self.block([rows, 1], &mut draw),
            (Operation::Activate(_), Setting::Extreme) => {
                let row = [40.0, -40.0, 88.8, -88.8, 104.0, -104.0, 0.0, -0.0, 1e-30, f32::INFINITY, 20.0, f32::NAN];
                operands.out.values = [row, row.map(|x| -x), row.map(|x| x / 3.0), row.map(|x| x * 1e-3)].concat();
            }
            // Gates, which are not negative.
            (Operation::Normalize, setting) => {
                let factor = if setting == Setting::Extreme { 1e-30 } else { 0.5 };
                for operand in [&mut operands.a, &mut operands.b] {
                    operand.values.iter_mut().for_each(|value| *value = value.abs() * factor);
                    if setting == Setting::Extreme {
                        operand.values[1] = 0.0;
                    }
                }
            }
            // No update has been skipped before.
            (Operation::SkipNonfinite, setting) => {
                operands.out.values.fill(0.0);
                let factor = if setting == Setting::Extreme { f32::NAN } else { 0.3 };
                operands.a.values.iter_mut().for_each(|value| *value *= factor);
            }
            (Operation::Update(_), Setting::Extreme) => operands.a.values.fill(f32::NAN),
            // A squared norm above the limit, so that clipping happens.
            (Operation::ClipFactor, _) => operands.a.values.iter_mut().for_each(|value| *value = 1.0 + value.abs()),
            (Operation::ActivateBackward(_), _) => operands.a.values.iter_mut().for_each(|value| *value *= 0.5),
            _ => {}
        }
        operands
    }

    /// A contiguous matrix, or a block of a larger one, with values from `U(−2, 2)`.
    fn block(&self, [rows, cols]: [usize; 2], draw: &mut Draw) -> Block {
        let border = if self.setting == Setting::Block && rows * cols > 0 { [1, 2, 3, 4] } else { [0; 4] };
        let [above, below, left, right] = border;
        let outer = [above + rows + below, left + cols + right];
        let values = draw.uniform(outer[0] * outer[1], 2.0);
        Block { outer, rows: above..above + rows, cols: left..left + cols, values }
    }

    /// Perturbs one value that the operation reads.
    fn perturb(&self, perturbation: Perturbation, operands: &mut Operands) {
        let in_place = matches!(
            self.operation,
            Operation::Activate(_)
                | Operation::SoftmaxCrossEntropy(_)
                | Operation::LogSoftmax(_)
                | Operation::Clamp
                | Operation::Dropout(_)
                | Operation::DropoutRows
                | Operation::ZeroRows
        );
        let (row, col) = match self.operation {
            // Only the entries that the ids select are read.
            Operation::GatherColumns => (0, operands.ids[0] as usize),
            Operation::GatherRows => (operands.ids[0] as usize, 0),
            _ => (0, 0),
        };
        let block = if in_place { &mut operands.out } else { &mut operands.a };
        let index = block.index(row, col);
        let value = &mut block.values[index];
        match perturbation {
            Perturbation::Nan => *value = f32::NAN,
            Perturbation::Sign => *value *= -1.0,
            // Only a change of sign is certain to affect ReLU, its derivative and a clamped value.
            Perturbation::Input if self.is_relu() || self.operation == Operation::Clamp => {
                *value = if *value > 0.0 { -0.5 } else { 0.5 }
            }
            Perturbation::Input if value.is_nan() => *value = 0.5,
            Perturbation::Input => *value = *value * 0.99 + 0.1,
            Perturbation::Scalar => operands.scalar *= 1.01,
            Perturbation::Id if self.operation == Operation::ZeroRows => operands.ids[0] = 1,
            Perturbation::Id => operands.ids[0] = (operands.ids[0] + 1) % self.entries() as u32,
            _ => {}
        }
    }

    fn is_relu(&self) -> bool {
        matches!(self.operation, Operation::Activate(Activation::Relu) | Operation::ActivateBackward(Activation::Relu))
    }
}
