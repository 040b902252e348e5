//! The trait that a device implements, and the views that its operations take.

use std::fmt::Debug;
use std::ops::{DerefMut, Range};

use crate::{Activation, Layout, Mask, Result, Transpose, Update};

/// A device that stores matrices and computes with them.
///
/// The functions in [`crate::ops`] check the shapes stated here and then call these methods, so an implementation may
/// assume them. The views of one call do not overlap. With `accumulate`, an operation adds to its output (`+=`); without it,
/// the output is overwritten and never read. `∘` is the elementwise product, `[r, :]` is row `r`.
pub trait Backend: Clone + Debug + Send + Sync + 'static {
    /// Owned memory for `f32` on the device.
    type Buffer: DerefMut<Target = Self::Slice> + Debug + Send + Sync;
    /// Borrowed memory for `f32`: what a [`View`] points into. It is `[f32]` on a CPU.
    type Slice: ?Sized + Debug + Send + Sync;
    /// Memory for token ids on the device.
    type Indices: Debug + Send + Sync;
    /// A weight in the form that [`Backend::linear_packed`] reads, kept between calls; `()` where that is the weight itself.
    type LinearCache: Debug + Default + Send;

    /// The device's name in messages: `cpu (2 threads)`.
    fn name(&self) -> String;

    /// Runs `work` where operations have the least overhead. A CPU runs it in its thread pool.
    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }

    /// How many training steps may be queued before the host reads their results: more than 1 where reading waits for them.
    fn max_queued_steps(&self) -> usize {
        1
    }

    /// Whether operations on many short ranges of a buffer are faster than one on the whole buffer: `false` where each call is
    /// a kernel launch.
    fn prefers_ranges(&self) -> bool {
        false
    }

    /// The row stride of a [padded](crate::Tensor::padded) matrix with `cols` columns, at least `cols`.
    fn row_stride(&self, cols: usize) -> usize {
        cols
    }

    /// Allocates `len` zeros.
    ///
    /// # Errors
    /// If the device is out of memory.
    fn allocate(&self, len: usize) -> Result<Self::Buffer>;

    /// Allocates `len` ids, all 0.
    ///
    /// # Errors
    /// If the device is out of memory.
    fn allocate_indices(&self, len: usize) -> Result<Self::Indices>;

    /// `to[offset..offset + values.len()] = values`, copied from the host.
    ///
    /// # Errors
    /// If the range exceeds `to`, or the device fails.
    fn write(&self, values: &[f32], to: &mut Self::Slice, offset: usize) -> Result<()>;

    /// `values = from[offset..offset + values.len()]`, copied to the host.
    ///
    /// # Errors
    /// If the range exceeds `from`, or the device fails.
    fn read(&self, from: &Self::Slice, offset: usize, values: &mut [f32]) -> Result<()>;

    /// Replaces all ids.
    ///
    /// # Errors
    /// If the lengths differ, or the device fails.
    fn write_indices(&self, ids: &[u32], to: &mut Self::Indices) -> Result<()>;

    /// `to = from[offset..offset + to.len()]`.
    ///
    /// # Errors
    /// If the range exceeds `from`, or the device fails.
    fn copy_indices(&self, from: &Self::Indices, offset: usize, to: &mut Self::Indices) -> Result<()>;

    /// The number of ids.
    fn indices_len(&self, indices: &Self::Indices) -> usize;

    /// Changes the number of ids, at most to that of the allocation; a larger one panics. Ids that are added are unspecified.
    fn set_indices_len(&self, indices: &mut Self::Indices, len: usize);

    /// `out = value` for every element; `out` has any shape.
    ///
    /// # Errors
    /// If the device fails.
    fn fill(&self, value: f32, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = a`; the shapes are equal.
    ///
    /// # Errors
    /// If the device fails.
    fn copy(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out += alpha·a`; the shapes are equal.
    ///
    /// # Errors
    /// If the device fails.
    fn axpy(&self, alpha: f32, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = a ∘ b`, or `out += a ∘ b`; the three shapes are equal.
    ///
    /// # Errors
    /// If the device fails.
    fn multiply(&self, a: View<'_, Self>, b: View<'_, Self>, accumulate: bool, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = a / (a + b)` elementwise, 1/2 where both are 0; the three shapes are equal, and no element is negative.
    ///
    /// # Errors
    /// If the device fails.
    fn normalize(&self, a: View<'_, Self>, b: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = op(a)·op(b)`, or `out += op(a)·op(b)`; `transpose` selects the transposed operand. With `op(a)` of `[M, K]` and
    /// `op(b)` of `[K, N]`, `out` is `[M, N]`.
    ///
    /// # Errors
    /// If the device fails.
    fn gemm(
        &self,
        transpose: Transpose,
        a: View<'_, Self>,
        b: View<'_, Self>,
        accumulate: bool,
        out: ViewMut<'_, Self>,
    ) -> Result<()>;

    /// `out = x·weightᵀ + bias`; `x` is `[N, D]`, `weight` `[H, D]`, `bias` `[1, H]`, `out` `[N, H]`.
    ///
    /// # Errors
    /// If the device fails.
    fn linear(
        &self,
        x: View<'_, Self>,
        weight: View<'_, Self>,
        bias: View<'_, Self>,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.gemm(Transpose::NT, x, weight, false, ViewMut::new(out.buffer, out.layout))?;
        self.add_row(bias, out)
    }

    /// [`Backend::linear`] with a weight that is packed once for each `version` and kept in `cache`, for repeated calls with few
    /// rows, as in decoding. The results have the same bits as those of `linear`.
    ///
    /// # Errors
    /// If the device fails.
    fn linear_packed(
        &self,
        x: View<'_, Self>,
        weight: View<'_, Self>,
        version: u64,
        cache: &mut Self::LinearCache,
        bias: View<'_, Self>,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        let _ = (version, cache);
        self.linear(x, weight, bias, out)
    }

    /// `out[r, :] += row` for every row; `row` is `[1, cols]`.
    ///
    /// # Errors
    /// If the device fails.
    fn add_row(&self, row: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out += Σ_r a[r, :]`, the gradient of [`Backend::add_row`]; `out` is `[1, cols]`.
    ///
    /// # Errors
    /// If the device fails.
    fn sum_rows(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out[r, :] = table[:, ids[r]]`: one-hot rows times a transposed weight. `table` is `[H, V]`, `out` `[N, H]`; there
    /// are `N` ids.
    ///
    /// # Errors
    /// If an id is not below `V`, or the device fails.
    fn gather_columns(&self, table: View<'_, Self>, ids: &Self::Indices, out: ViewMut<'_, Self>) -> Result<()>;

    /// `table[:, ids[r]] += a[r, :]`, summed in the order of the rows, the gradient of [`Backend::gather_columns`]; and
    /// `sum += Σ_r a[r, :]`, the gradient of a bias. `a` is `[N, H]`, `table` `[H, V]`, `sum` `[1, H]`; there are `N` ids.
    ///
    /// # Errors
    /// If an id is not below `V`, or the device fails.
    fn scatter_add_columns(
        &self,
        a: View<'_, Self>,
        ids: &Self::Indices,
        table: ViewMut<'_, Self>,
        sum: ViewMut<'_, Self>,
    ) -> Result<()>;

    /// `out[r, :] = table[ids[r], :]`: an embedding. `table` is `[V, D]`, `out` `[N, D]`; there are `N` ids.
    ///
    /// # Errors
    /// If an id is not below `V`, or the device fails.
    fn gather_rows(&self, table: View<'_, Self>, ids: &Self::Indices, out: ViewMut<'_, Self>) -> Result<()>;

    /// `table[ids[r], :] += a[r, :]`, summed in the order of the rows: the gradient of [`Backend::gather_rows`]. `a` is
    /// `[N, D]`, `table` `[V, D]`; there are `N` ids.
    ///
    /// # Errors
    /// If an id is not below `V`, or the device fails.
    fn scatter_add_rows(&self, a: View<'_, Self>, ids: &Self::Indices, table: ViewMut<'_, Self>) -> Result<()>;

    /// `out[r, :] = 0` for every row with `mask[range.start + r] ≠ 0`; the range has as many elements as `out` has rows.
    ///
    /// # Errors
    /// If the device fails.
    fn zero_rows(&self, mask: &Self::Indices, range: Range<usize>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = φ(out)`; `out` has any shape.
    ///
    /// # Errors
    /// If the device fails.
    fn activate(&self, activation: Activation, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = out ∘ φ′`, with `φ′` in terms of the activated value `y`; the shapes are equal.
    ///
    /// # Errors
    /// If the device fails.
    fn activate_backward(&self, activation: Activation, y: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `losses[r] = −ln softmax(logits[r, :])[t]` (natural logarithm, not scaled) with `t = targets[range.start + r]`, and then
    /// `logits[r, :] = scale·(softmax(logits[r, :]) − (1 − ε)·one_hot(t) − ε/V)` with `ε = smoothing`. `logits` is `[N, V]`,
    /// `losses` `[N, 1]`; the range has `N` elements.
    ///
    /// # Errors
    /// If a target is not below `V`, or the device fails.
    fn softmax_cross_entropy(
        &self,
        scale: f32,
        smoothing: f32,
        targets: &Self::Indices,
        range: Range<usize>,
        logits: ViewMut<'_, Self>,
        losses: ViewMut<'_, Self>,
    ) -> Result<()>;

    /// `out[r, :] = ln softmax(out[r, :]) + shift[r]`; `out` is `[N, V]`, `shift` `[N, 1]`, zero if there is none.
    ///
    /// # Errors
    /// If the device fails.
    fn log_softmax(&self, shift: Option<View<'_, Self>>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = Σ a`, in an order that depends on the layout only; `out` is `[1, 1]`.
    ///
    /// # Errors
    /// If the device fails.
    fn sum(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = Σ a²`, in an order that depends on the layout only; `out` is `[1, 1]`.
    ///
    /// # Errors
    /// If the device fails.
    fn sum_squares(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// [`Backend::sum_squares`] of a row `[1, len]` whose elements outside of `ranges` are zero, with the same bits. The ranges
    /// are ascending and do not overlap. A device may skip the zeros.
    ///
    /// # Errors
    /// If the device fails.
    fn sum_squares_in(&self, a: View<'_, Self>, ranges: &[Range<usize>], out: ViewMut<'_, Self>) -> Result<()> {
        let _ = ranges;
        self.sum_squares(a, out)
    }

    /// `out = min(1, max_norm / (√sum_squares + 10⁻⁶))`, the factor of `torch.nn.utils.clip_grad_norm_`; both are `[1, 1]`.
    /// NaN stays NaN.
    ///
    /// # Errors
    /// If the device fails.
    fn clip_factor(&self, sum_squares: View<'_, Self>, max_norm: f32, out: ViewMut<'_, Self>) -> Result<()>;

    /// `skipped = 1` unless `|loss| ≤ bound` and `sum_squares` is finite; then `factor = NaN` unless `skipped = 0`. All are
    /// `[1, 1]`.
    ///
    /// # Errors
    /// If the device fails.
    fn skip_nonfinite(
        &self,
        bound: f32,
        loss: View<'_, Self>,
        sum_squares: View<'_, Self>,
        skipped: ViewMut<'_, Self>,
        factor: ViewMut<'_, Self>,
    ) -> Result<()>;

    /// `out = min(bound, max(−bound, out))`; `out` has any shape. NaN stays NaN.
    ///
    /// # Errors
    /// If the device fails.
    fn clamp(&self, bound: f32, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = out ∘ mask`, with the elements of [`Mask`]; `out` has any shape.
    ///
    /// # Errors
    /// If the device fails.
    fn dropout(&self, mask: Mask, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out[r, :] = m·out[r, :]`, where `m` is the element `(ids[r], 0)` of [`Mask`] for a matrix with one column; there are as
    /// many ids as rows.
    ///
    /// # Errors
    /// If the device fails.
    fn dropout_rows(&self, mask: Mask, ids: &Self::Indices, out: ViewMut<'_, Self>) -> Result<()>;

    /// Updates `parameters` and `state` by the equations of [`Update`] with `g = factor·gradients`. `factor` is `[1, 1]`; the
    /// other shapes are equal, except those of state buffers that `rule` does not have ([`Update::buffers`]). If `factor` is
    /// NaN, nothing changes.
    ///
    /// # Errors
    /// If the device fails.
    fn update(
        &self,
        rule: Update,
        factor: View<'_, Self>,
        gradients: View<'_, Self>,
        state: [ViewMut<'_, Self>; 2],
        parameters: ViewMut<'_, Self>,
    ) -> Result<()>;
}

/// A read-only view of a matrix on a device.
#[derive(Debug)]
pub struct View<'a, B: Backend> {
    /// The memory that contains the matrix.
    pub buffer: &'a B::Slice,
    /// Where the matrix is in the memory.
    pub layout: Layout,
}

impl<B: Backend> Clone for View<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for View<'_, B> {}

/// A mutable view of a matrix on a device.
#[derive(Debug)]
pub struct ViewMut<'a, B: Backend> {
    /// The memory that contains the matrix.
    pub buffer: &'a mut B::Slice,
    /// Where the matrix is in the memory.
    pub layout: Layout,
}
