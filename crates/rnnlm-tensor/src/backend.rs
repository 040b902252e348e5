//! The seam between the mathematics and a device: some twenty operations on matrices of `f32`, each writing into memory
//! that exists already. [`crate::ops`] checks shapes once and calls these; an implementation may rely on that.

use std::fmt::Debug;
use std::ops::Range;

use crate::{Mask, Result, Update, View, ViewMut};

/// Which operand of a product is read transposed. These three are all that a linear map and its gradients need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transpose {
    /// `A·B`: a gradient on its way down, `dX = dY·W`.
    NN,
    /// `A·Bᵀ`: a linear map with PyTorch's weight layout, `Y = X·Wᵀ`.
    NT,
    /// `Aᵀ·B`: the gradient of a weight, `dW = dYᵀ·X`.
    TN,
}

/// A function applied to every element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `tanh x`, derivative `1 − y²`.
    Tanh,
    /// `max(0, x)`, derivative `1` where `y > 0`, else `0` (as PyTorch takes it at zero).
    Relu,
    /// `1 / (1 + e^−x)`, derivative `y·(1 − y)`.
    Sigmoid,
}

/// A device that holds matrices and computes with them.
///
/// Operations on views receive shapes that fit each other; the views of one call never share a buffer unless one of
/// them is the output itself. "`+=` if `accumulate`" means that the output's old values are added to, otherwise they
/// are overwritten without being read.
pub trait Backend: Clone + Debug + Send + Sync + 'static {
    /// Memory for `f32` on the device.
    type Buffer: Debug + Send + Sync;
    /// Memory for token ids on the device.
    type Indices: Debug + Send + Sync;
    /// A weight in the form that [`Backend::linear_packed`] reads, kept between calls; `()` where that is the weight itself.
    type LinearCache: Debug + Default + Send;

    /// The device, for people: `cpu (2 threads)`.
    fn name(&self) -> String;

    /// Runs `work` where the device's operations start fastest; a CPU moves it into its pool of threads.
    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }

    /// How many training steps may be handed over before what came of them is asked for: one where an operation is done when
    /// its call returns, more where a question waits for everything before it.
    fn max_queued_steps(&self) -> usize {
        1
    }

    /// How far apart the rows of a matrix of `cols` columns had best lie, at least `cols`; [`crate::Tensor::padded`] asks.
    fn row_stride(&self, cols: usize) -> usize {
        cols
    }

    /// `len` zeros.
    ///
    /// # Errors
    /// If the device has no room.
    fn allocate(&self, len: usize) -> Result<Self::Buffer>;

    /// `len` ids, all 0.
    ///
    /// # Errors
    /// If the device has no room.
    fn allocate_indices(&self, len: usize) -> Result<Self::Indices>;

    /// Copies `values` from the host to `to[offset..]`.
    ///
    /// # Errors
    /// If they do not fit, or the device fails.
    fn write(&self, values: &[f32], to: &mut Self::Buffer, offset: usize) -> Result<()>;

    /// Copies `from[offset..]` to the host, as much as `values` takes.
    ///
    /// # Errors
    /// If there is not that much, or the device fails.
    fn read(&self, from: &Self::Buffer, offset: usize, values: &mut [f32]) -> Result<()>;

    /// Replaces all ids.
    ///
    /// # Errors
    /// If the lengths differ, or the device fails.
    fn write_indices(&self, ids: &[u32], to: &mut Self::Indices) -> Result<()>;

    /// `to = from[offset..]`, as many as `to` has room for.
    ///
    /// # Errors
    /// If there are not that many, or the device fails.
    fn copy_indices(&self, from: &Self::Indices, offset: usize, to: &mut Self::Indices) -> Result<()>;

    /// Number of ids in `indices`.
    fn indices_len(&self, indices: &Self::Indices) -> usize;

    /// Every element becomes `value`.
    fn fill(&self, value: f32, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = a`.
    fn copy(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out += alpha·a`.
    fn axpy(&self, alpha: f32, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = a ∘ b`, `+=` if `accumulate`.
    fn multiply(&self, a: View<'_, Self>, b: View<'_, Self>, accumulate: bool, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = a·b` with the transposition that `transpose` names, `+=` if `accumulate`.
    fn gemm(
        &self,
        transpose: Transpose,
        a: View<'_, Self>,
        b: View<'_, Self>,
        accumulate: bool,
        out: ViewMut<'_, Self>,
    ) -> Result<()>;

    /// `out = x·weightᵀ + bias`; `bias` is `[1, cols]`.
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
    fn add_row(&self, row: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out += Σ_r a[r, :]`; `out` is `[1, cols]`.
    fn sum_rows(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out[r, :] = table[:, ids[r]]`: the product of one-hot rows with a weight in PyTorch's layout.
    fn gather_columns(&self, table: View<'_, Self>, ids: &Self::Indices, out: ViewMut<'_, Self>) -> Result<()>;

    /// `table[:, ids[r]] += a[r, :]`, in the order of the rows, the gradient of [`Backend::gather_columns`], and
    /// `sum += Σ_r a[r, :]`, `[1, cols]`.
    fn scatter_add_columns(
        &self,
        a: View<'_, Self>,
        ids: &Self::Indices,
        table: ViewMut<'_, Self>,
        sum: ViewMut<'_, Self>,
    ) -> Result<()>;

    /// `out[r, :] = table[ids[r], :]`: rows of a learned embedding.
    fn gather_rows(&self, table: View<'_, Self>, ids: &Self::Indices, out: ViewMut<'_, Self>) -> Result<()>;

    /// `table[ids[r], :] += a[r, :]`, in the order of the rows: the gradient of [`Backend::gather_rows`].
    fn scatter_add_rows(&self, a: View<'_, Self>, ids: &Self::Indices, table: ViewMut<'_, Self>) -> Result<()>;

    /// `out = φ(out)`.
    fn activate(&self, activation: Activation, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = out ∘ φ′`, the derivative written in terms of the activated value `y`.
    fn activate_backward(&self, activation: Activation, y: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// Replaces each row of logits by the gradient `scale·(softmax − one_hot(target))` and writes its negative log
    /// likelihood (natural logarithm, not scaled) to `losses`, `[rows, 1]`; the rows' targets are `targets[range]`.
    fn softmax_cross_entropy(
        &self,
        scale: f32,
        targets: &Self::Indices,
        range: Range<usize>,
        logits: ViewMut<'_, Self>,
        losses: ViewMut<'_, Self>,
    ) -> Result<()>;

    /// `out = Σ a`, `[1, 1]`, in a fixed order that no number of threads changes.
    fn sum(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = Σ a²`, `[1, 1]`, in a fixed order that no number of threads changes.
    fn sum_squares(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = min(1, max_norm / (√sum_squares + 10⁻⁶))`, both `[1, 1]`: the factor of `clip_grad_norm_`.
    fn clip_factor(&self, sum_squares: View<'_, Self>, max_norm: f32, out: ViewMut<'_, Self>) -> Result<()>;

    /// `skipped` becomes 1 unless `|loss| ≤ bound` and `sum_squares` is finite, and `factor` becomes NaN unless `skipped` is 0; all
    /// are `[1, 1]`.
    fn skip_nonfinite(
        &self,
        bound: f32,
        loss: View<'_, Self>,
        sum_squares: View<'_, Self>,
        skipped: ViewMut<'_, Self>,
        factor: ViewMut<'_, Self>,
    ) -> Result<()>;

    /// Every element is skipped to `−bound..=bound`; a NaN stays one.
    fn clamp(&self, bound: f32, out: ViewMut<'_, Self>) -> Result<()>;

    /// `out = out ∘ mask`.
    fn dropout(&self, mask: Mask, out: ViewMut<'_, Self>) -> Result<()>;

    /// Parameters move as `rule` says by `factor·gradients`; `factor` is `[1, 1]`, and of `state` there is what the rule keeps.
    /// A factor that is NaN leaves both as they are.
    fn update(
        &self,
        rule: Update,
        factor: View<'_, Self>,
        gradients: View<'_, Self>,
        state: [ViewMut<'_, Self>; 2],
        parameters: ViewMut<'_, Self>,
    ) -> Result<()>;
}
