//! Operations on views: each function checks shapes and then calls the method of [`Backend`] with the same name.
//!
//! The arguments have the same order everywhere: backend, parameters, inputs, output.

use std::ops::Range;

use crate::error::{check_len, check_same, check_shape};
use crate::{Activation, Backend, Error, Mask, Result, Transpose, Update, View, ViewMut};

/// `out = value` for every element.
///
/// # Errors
/// If the device fails.
pub fn fill<B: Backend>(backend: &B, value: f32, out: ViewMut<'_, B>) -> Result<()> {
    backend.fill(value, out)
}

/// `out = a`.
///
/// # Errors
/// If the shapes differ, or the device fails.
pub fn copy<B: Backend>(backend: &B, a: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
    check_same("copy", ("a", a.shape()), ("out", out.shape()))?;
    backend.copy(a, out)
}

/// `out += alpha·a`.
///
/// # Errors
/// If the shapes differ, or the device fails.
pub fn axpy<B: Backend>(backend: &B, alpha: f32, a: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
    check_same("axpy", ("a", a.shape()), ("out", out.shape()))?;
    backend.axpy(alpha, a, out)
}

/// `out = a ∘ b`, or `out += a ∘ b` with `accumulate`.
///
/// # Errors
/// If the three shapes differ, or the device fails.
pub fn multiply<B: Backend>(
    backend: &B,
    a: View<'_, B>,
    b: View<'_, B>,
    accumulate: bool,
    out: ViewMut<'_, B>,
) -> Result<()> {
    check_same("multiply", ("a", a.shape()), ("b", b.shape()))?;
    check_same("multiply", ("a", a.shape()), ("out", out.shape()))?;
    backend.multiply(a, b, accumulate, out)
}

/// `out = a / (a + b)` elementwise, 1/2 where both are 0: the first of two gates that are divided by their sum. No element
/// may be negative.
///
/// # Errors
/// If the three shapes differ, or the device fails.
pub fn normalize<B: Backend>(backend: &B, a: View<'_, B>, b: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
    check_same("normalize", ("a", a.shape()), ("b", b.shape()))?;
    check_same("normalize", ("a", a.shape()), ("out", out.shape()))?;
    backend.normalize(a, b, out)
}

/// `out = op(a)·op(b)`, or `out += op(a)·op(b)` with `accumulate`; `transpose` selects the transposed operand.
///
/// # Errors
/// If the inner or the outer dimensions do not match, or the device fails.
pub fn gemm<B: Backend>(
    backend: &B,
    transpose: Transpose,
    a: View<'_, B>,
    b: View<'_, B>,
    accumulate: bool,
    out: ViewMut<'_, B>,
) -> Result<()> {
    let [a_rows, a_cols] = a.shape();
    let [b_rows, b_cols] = b.shape();
    let (op, (rows, inner), (inner_b, cols)) = match transpose {
        Transpose::NN => ("gemm A·B", (a_rows, a_cols), (b_rows, b_cols)),
        Transpose::NT => ("gemm A·Bᵀ", (a_rows, a_cols), (b_cols, b_rows)),
        Transpose::TN => ("gemm Aᵀ·B", (a_cols, a_rows), (b_rows, b_cols)),
    };
    if inner != inner_b {
        return Err(Error::Shape { op, left_name: "a", left: a.shape(), right_name: "b", right: b.shape() });
    }
    check_shape(op, "out", out.shape(), [rows, cols])?;
    backend.gemm(transpose, a, b, accumulate, out)
}

/// `out = x·weightᵀ + bias`, `torch.nn.functional.linear`.
///
/// # Errors
/// If the shapes do not match, or the device fails.
pub fn linear<B: Backend>(
    backend: &B,
    x: View<'_, B>,
    weight: View<'_, B>,
    bias: View<'_, B>,
    out: ViewMut<'_, B>,
) -> Result<()> {
    check_linear(&x, &weight, &bias, &out)?;
    backend.linear(x, weight, bias, out)
}

/// [`linear`] with a weight that is packed once for each `version` and kept in `cache`: [`Backend::linear_packed`].
///
/// # Errors
/// As [`linear`].
pub fn linear_packed<B: Backend>(
    backend: &B,
    x: View<'_, B>,
    (weight, version): (View<'_, B>, u64),
    cache: &mut B::LinearCache,
    bias: View<'_, B>,
    out: ViewMut<'_, B>,
) -> Result<()> {
    check_linear(&x, &weight, &bias, &out)?;
    backend.linear_packed(x, weight, version, cache, bias, out)
}

fn check_linear<B: Backend>(
    x: &View<'_, B>,
    weight: &View<'_, B>,
    bias: &View<'_, B>,
    out: &ViewMut<'_, B>,
) -> Result<()> {
    let [rows, inner] = x.shape();
    let [cols, weight_inner] = weight.shape();
    if inner != weight_inner {
        let (left, right) = (x.shape(), weight.shape());
        return Err(Error::Shape { op: "linear", left_name: "x", left, right_name: "weight", right });
    }
    check_shape("linear", "bias", bias.shape(), [1, cols])?;
    check_shape("linear", "out", out.shape(), [rows, cols])
}

/// `out[r, :] += row` for every row, as a bias is added.
///
/// # Errors
/// If `row` is not `[1, cols]`, or the device fails.
pub fn add_row<B: Backend>(backend: &B, row: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
    check_shape("add_row", "row", row.shape(), [1, out.layout.cols])?;
    backend.add_row(row, out)
}

/// `out += Σ_r a[r, :]`: the gradient of a bias.
///
/// # Errors
/// If `out` is not `[1, cols]`, or the device fails.
pub fn sum_rows<B: Backend>(backend: &B, a: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
    check_shape("sum_rows", "out", out.shape(), [1, a.layout.cols])?;
    backend.sum_rows(a, out)
}

/// `out[r, :] = table[:, ids[r]]`: the product of one-hot rows and a transposed weight `[cols, V]`.
///
/// # Errors
/// If the number of ids is not the number of rows, the widths differ, an id is not below `V`, or the device fails.
pub fn gather_columns<B: Backend>(
    backend: &B,
    table: View<'_, B>,
    ids: &B::Indices,
    out: ViewMut<'_, B>,
) -> Result<()> {
    check_len("gather_columns", "ids", out.layout.rows, backend.indices_len(ids))?;
    check_shape("gather_columns", "table", table.shape(), [out.layout.cols, table.layout.cols])?;
    backend.gather_columns(table, ids, out)
}

/// `table[:, ids[r]] += a[r, :]`, the gradient of [`gather_columns`], and `sum += Σ_r a[r, :]`, `[1, cols]`, the gradient of
/// a bias.
///
/// # Errors
/// As [`gather_columns`].
pub fn scatter_add_columns<B: Backend>(
    backend: &B,
    a: View<'_, B>,
    ids: &B::Indices,
    table: ViewMut<'_, B>,
    sum: ViewMut<'_, B>,
) -> Result<()> {
    check_len("scatter_add_columns", "ids", a.layout.rows, backend.indices_len(ids))?;
    check_shape("scatter_add_columns", "table", table.shape(), [a.layout.cols, table.layout.cols])?;
    check_shape("scatter_add_columns", "sum", sum.shape(), [1, a.layout.cols])?;
    backend.scatter_add_columns(a, ids, table, sum)
}

/// `out[r, :] = table[ids[r], :]`: rows of an embedding `[V, cols]`.
///
/// # Errors
/// If the number of ids is not the number of rows, the widths differ, an id is not below `V`, or the device fails.
pub fn gather_rows<B: Backend>(backend: &B, table: View<'_, B>, ids: &B::Indices, out: ViewMut<'_, B>) -> Result<()> {
    check_len("gather_rows", "ids", out.layout.rows, backend.indices_len(ids))?;
    check_shape("gather_rows", "table", table.shape(), [table.layout.rows, out.layout.cols])?;
    backend.gather_rows(table, ids, out)
}

/// `table[ids[r], :] += a[r, :]`: the gradient of [`gather_rows`].
///
/// # Errors
/// As [`gather_rows`].
pub fn scatter_add_rows<B: Backend>(
    backend: &B,
    a: View<'_, B>,
    ids: &B::Indices,
    table: ViewMut<'_, B>,
) -> Result<()> {
    check_len("scatter_add_rows", "ids", a.layout.rows, backend.indices_len(ids))?;
    check_shape("scatter_add_rows", "table", table.shape(), [table.layout.rows, a.layout.cols])?;
    backend.scatter_add_rows(a, ids, table)
}

/// `out[r, :] = 0` for every row with `mask[range.start + r] ≠ 0`, as `out.masked_fill_(mask[range], 0)`.
///
/// # Errors
/// If the range does not have the length `rows` or exceeds the mask, or the device fails.
pub fn zero_rows<B: Backend>(backend: &B, mask: &B::Indices, range: Range<usize>, out: ViewMut<'_, B>) -> Result<()> {
    let available = backend.indices_len(mask).saturating_sub(range.start);
    check_len("zero_rows", "flags", out.layout.rows, range.len())?;
    check_len("zero_rows", "flags", range.len(), range.len().min(available))?;
    backend.zero_rows(mask, range, out)
}

/// `out = φ(out)`, elementwise.
///
/// # Errors
/// If the device fails.
pub fn activate<B: Backend>(backend: &B, activation: Activation, out: ViewMut<'_, B>) -> Result<()> {
    backend.activate(activation, out)
}

/// `out = out ∘ φ′`, with `φ′` in terms of the activated value `y`.
///
/// # Errors
/// If the shapes differ, or the device fails.
pub fn activate_backward<B: Backend>(
    backend: &B,
    activation: Activation,
    y: View<'_, B>,
    out: ViewMut<'_, B>,
) -> Result<()> {
    check_same("activate_backward", ("y", y.shape()), ("out", out.shape()))?;
    backend.activate_backward(activation, y, out)
}

/// `losses = −ln softmax(logits)[target]`, `[rows, 1]`, and `logits = scale·(softmax(logits) − (1 − ε)·one_hot(target) − ε/V)`
/// with `ε = smoothing`, `[rows, V]`; the targets of the rows are `targets[range]`.
///
/// With `scale = 1 / rows`, `logits` becomes the gradient of the PyTorch loss `CrossEntropyLoss(label_smoothing=ε)`, which
/// is the mean loss for `ε = 0`. The losses have no smoothing.
///
/// # Errors
/// If the number of targets or losses is not the number of rows, a target is not below `V`, or the device fails.
pub fn softmax_cross_entropy<B: Backend>(
    backend: &B,
    scale: f32,
    smoothing: f32,
    targets: &B::Indices,
    range: Range<usize>,
    logits: ViewMut<'_, B>,
    losses: ViewMut<'_, B>,
) -> Result<()> {
    let available = backend.indices_len(targets).saturating_sub(range.start);
    check_len("softmax_cross_entropy", "targets", logits.layout.rows, range.len())?;
    check_len("softmax_cross_entropy", "targets", range.len(), range.len().min(available))?;
    check_shape("softmax_cross_entropy", "losses", losses.shape(), [logits.layout.rows, 1])?;
    backend.softmax_cross_entropy(scale, smoothing, targets, range, logits, losses)
}

/// `out[r, :] = ln softmax(out[r, :]) + shift[r]`, `torch.nn.functional.log_softmax` with an optional `shift` `[rows, 1]`.
///
/// # Errors
/// If `shift` is not `[rows, 1]`, or the device fails.
pub fn log_softmax<B: Backend>(backend: &B, shift: Option<View<'_, B>>, out: ViewMut<'_, B>) -> Result<()> {
    if let Some(shift) = &shift {
        check_shape("log_softmax", "shift", shift.shape(), [out.layout.rows, 1])?;
    }
    backend.log_softmax(shift, out)
}

/// `out = Σ a`, `[1, 1]`.
///
/// # Errors
/// If `out` is not `[1, 1]`, or the device fails.
pub fn sum<B: Backend>(backend: &B, a: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
    check_shape("sum", "out", out.shape(), [1, 1])?;
    backend.sum(a, out)
}

/// `out = Σ a²`, `[1, 1]`: the squared global norm if `a` is the flat buffer of all gradients.
///
/// # Errors
/// If `out` is not `[1, 1]`, or the device fails.
pub fn sum_squares<B: Backend>(backend: &B, a: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
    check_shape("sum_squares", "out", out.shape(), [1, 1])?;
    backend.sum_squares(a, out)
}

/// [`sum_squares`] of a row `[1, len]` whose elements outside of `ranges` are zero, with the same bits.
///
/// # Errors
/// If `a` is not a row, `out` is not `[1, 1]`, the ranges overlap, are not ascending or exceed the row, or the device fails.
pub fn sum_squares_in<B: Backend>(
    backend: &B,
    a: View<'_, B>,
    ranges: &[Range<usize>],
    out: ViewMut<'_, B>,
) -> Result<()> {
    check_shape("sum_squares_in", "a", a.shape(), [1, a.layout.cols])?;
    check_shape("sum_squares_in", "out", out.shape(), [1, 1])?;
    let mut end = 0;
    for range in ranges {
        check_len("sum_squares_in", "elements before a range", range.start, range.start.max(end))?;
        end = range.end;
    }
    check_len("sum_squares_in", "elements", a.layout.cols, a.layout.cols.max(end))?;
    backend.sum_squares_in(a, ranges, out)
}

/// `out = min(1, max_norm / (√sum_squares + 10⁻⁶))`, the factor of `torch.nn.utils.clip_grad_norm_`.
///
/// # Errors
/// If a view is not `[1, 1]`, or the device fails.
pub fn clip_factor<B: Backend>(
    backend: &B,
    sum_squares: View<'_, B>,
    max_norm: f32,
    out: ViewMut<'_, B>,
) -> Result<()> {
    check_shape("clip_factor", "sum_squares", sum_squares.shape(), [1, 1])?;
    check_shape("clip_factor", "out", out.shape(), [1, 1])?;
    backend.clip_factor(sum_squares, max_norm, out)
}

/// Skips the update of a step whose loss or gradient is not finite, and every later update: `skipped = 1` unless
/// `|loss| ≤ bound` and `sum_squares` is finite; then `factor = NaN` unless `skipped = 0`.
///
/// # Errors
/// If a view is not `[1, 1]`, or the device fails.
pub fn skip_nonfinite<B: Backend>(
    backend: &B,
    bound: f32,
    loss: View<'_, B>,
    sum_squares: View<'_, B>,
    skipped: ViewMut<'_, B>,
    factor: ViewMut<'_, B>,
) -> Result<()> {
    check_shape("skip_nonfinite", "loss", loss.shape(), [1, 1])?;
    check_shape("skip_nonfinite", "sum_squares", sum_squares.shape(), [1, 1])?;
    check_shape("skip_nonfinite", "skipped", skipped.shape(), [1, 1])?;
    check_shape("skip_nonfinite", "factor", factor.shape(), [1, 1])?;
    backend.skip_nonfinite(bound, loss, sum_squares, skipped, factor)
}

/// `out = min(bound, max(−bound, out))`, as `torch.nn.utils.clip_grad_value_`; NaN stays NaN.
///
/// # Errors
/// If the device fails.
pub fn clamp<B: Backend>(backend: &B, bound: f32, out: ViewMut<'_, B>) -> Result<()> {
    backend.clamp(bound, out)
}

/// `out = out ∘ mask`: dropout in the forward pass and, with the same mask, its gradient in the backward pass.
///
/// # Errors
/// If the device fails.
pub fn dropout<B: Backend>(backend: &B, mask: Mask, out: ViewMut<'_, B>) -> Result<()> {
    backend.dropout(mask, out)
}

/// `out[r, :] = m·out[r, :]`, where `m` is 0 or `1 / (1 − p)` and depends on `ids[r]` only: dropout of whole rows of an
/// embedding, in the forward pass and, with the same mask, of the gradient. `m` is the element `(ids[r], 0)` of [`Mask`] for
/// a matrix with one column.
///
/// # Errors
/// If the number of ids is not the number of rows, or the device fails.
pub fn dropout_rows<B: Backend>(backend: &B, mask: Mask, ids: &B::Indices, out: ViewMut<'_, B>) -> Result<()> {
    check_len("dropout_rows", "ids", out.layout.rows, backend.indices_len(ids))?;
    backend.dropout_rows(mask, ids, out)
}

/// Updates `parameters` and `state` by the equations of [`Update`] with `g = factor·gradients`. Entries of `state` that `rule`
/// does not have ([`Update::buffers`]) are ignored. If `factor` is NaN, nothing changes.
///
/// # Errors
/// If the shapes differ, `factor` is not `[1, 1]`, or the device fails.
pub fn update<B: Backend>(
    backend: &B,
    rule: Update,
    factor: View<'_, B>,
    gradients: View<'_, B>,
    state: [ViewMut<'_, B>; 2],
    parameters: ViewMut<'_, B>,
) -> Result<()> {
    check_shape("update", "factor", factor.shape(), [1, 1])?;
    check_same("update", ("gradients", gradients.shape()), ("parameters", parameters.shape()))?;
    for (name, buffer) in rule.buffers().iter().copied().zip(&state) {
        check_same("update", (name, buffer.shape()), ("parameters", parameters.shape()))?;
    }
    backend.update(rule, factor, gradients, state, parameters)
}
