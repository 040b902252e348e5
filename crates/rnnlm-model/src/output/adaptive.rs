//! The adaptive softmax, `torch.nn.AdaptiveLogSoftmaxWithLoss`: frequent tokens have a logit in the head, and the others are
//! in clusters, which are computed only for the rows whose targets are in them.
//!
//! ```text
//! head    s = softmax(y W_headᵀ + b)             [T·N, C₀ + K]   the shortlist of C₀ tokens, and the K clusters
//! tail i  q = softmax(y W₀ᵀ W₁ᵀ)                 [rows, Cᵢ]      W₀ [features, H], W₁ [Cᵢ, features]
//! ln p(token) = ln s[token]                       for a token of the shortlist
//!             = ln s[C₀ + i] + ln q[token]        for a token of cluster i
//! loss = mean of −ln p(target)
//! ```
//!
//! Source: Grave, Joulin, Cissé, Grangier, Jégou, *Efficient softmax approximation for GPUs* (2017), section 4.

use std::ops::Range;

use rnnlm_rnn::{ParameterId, ParameterLayout, ParameterSet};
use rnnlm_tensor::{Backend, Layout, Tensor, Transpose, View, ViewMut, ops};

use super::cluster_rows::ClusterRows;
use crate::Result;
use crate::config::{AdaptiveSoftmax, Cluster};

/// `softmax`: an adaptive softmax.
#[derive(Clone, Debug)]
pub(crate) struct AdaptiveOutput {
    vocab_size: usize,
    head: Head,
    tails: Vec<Tail>,
}

/// `softmax.head`: a linear layer for the shortlist and the clusters.
#[derive(Clone, Debug)]
struct Head {
    /// `[C₀ + K, H]`.
    weight: ParameterId,
    bias: Option<ParameterId>,
    size: usize,
}

/// `softmax.tail.i`: a projection, and a linear layer for the tokens of the cluster.
#[derive(Clone, Debug)]
struct Tail {
    /// `[features, H]`.
    projection: ParameterId,
    /// `[Cᵢ, features]`.
    weight: ParameterId,
    cluster: Cluster,
}

/// The rows of a minibatch whose losses are computed.
#[derive(Debug)]
pub(crate) struct TargetRows<'a, B: Backend> {
    pub(crate) clusters: &'a mut ClusterRows<B>,
    /// Memory for logits.
    pub(crate) logits: &'a mut Tensor<B>,
    /// `[T·N, 1]`.
    pub(crate) losses: ViewMut<'a, B>,
    /// `[T·N, H]`: the gradient of the input; only with gradients of the parameters.
    pub(crate) grad_y: ViewMut<'a, B>,
}

impl AdaptiveOutput {
    /// Appends `softmax.head.weight`, `softmax.head.bias` if there is one, and `softmax.tail.i.0.weight` and
    /// `softmax.tail.i.1.weight` of each cluster to the layout, in the order of PyTorch.
    pub(crate) fn new(
        layout: &mut ParameterLayout,
        config: &AdaptiveSoftmax,
        input_size: usize,
        vocab_size: usize,
    ) -> Result<Self> {
        let size = config.head_size();
        let weight = layout.add_weight("softmax.head.weight", [size, input_size], input_size)?;
        let bias = config.head_bias.then(|| layout.add_bias("softmax.head.bias", size, input_size)).transpose()?;
        let mut tail = |(index, cluster): (usize, Cluster)| {
            let name = |part: usize| format!("softmax.tail.{index}.{part}.weight");
            Ok(Tail {
                projection: layout.add_weight(name(0), [cluster.features, input_size], input_size)?,
                weight: layout.add_weight(name(1), [cluster.size, cluster.features], cluster.features)?,
                cluster,
            })
        };
        let tails = config.clusters(input_size, vocab_size).enumerate().map(&mut tail).collect::<Result<_>>()?;
        Ok(Self { vocab_size, head: Head { weight, bias, size }, tails })
    }

    /// Allocates the memory for `rows` rows of `input_size` features.
    pub(crate) fn allocate<B: Backend>(&self, backend: &B, rows: usize, input_size: usize) -> Result<ClusterRows<B>> {
        let clusters: Vec<Cluster> = self.tails.iter().map(|tail| tail.cluster).collect();
        ClusterRows::new(backend, [rows, input_size], &clusters, self.vocab_size)
    }

    /// The loss of every target. With `gradients`, adds the gradients of the parameters of the mean loss to them, and
    /// overwrites the gradient of the input `y`.
    pub(crate) fn losses<B: Backend>(
        &self,
        backend: &B,
        parameters: &ParameterSet<B>,
        y: View<'_, B>,
        targets: TargetRows<'_, B>,
        mut gradients: Option<&mut ParameterSet<B>>,
    ) -> Result<()> {
        let TargetRows { clusters, logits, losses, grad_y } = targets;
        let scale = 1.0 / y.shape()[0] as f32;
        ops::gather_rows(backend, y, &clusters.order, clusters.y.view_mut())?;
        self.head.losses(backend, parameters, scale, clusters, logits, gradients.as_deref_mut())?;
        for (index, tail) in self.tails.iter().enumerate() {
            tail.losses(backend, parameters, scale, (clusters, index), logits, gradients.as_deref_mut())?;
        }
        ops::gather_rows(backend, clusters.losses.view(), &clusters.positions, losses)?;
        if gradients.is_some() {
            ops::gather_rows(backend, clusters.grad_y.view(), &clusters.positions, grad_y)?;
        }
        Ok(())
    }

    /// The logarithm of the probability of every token, `[rows, V]`. As logits, they have the same softmax.
    pub(crate) fn log_probabilities<B: Backend>(
        &self,
        backend: &B,
        parameters: &ParameterSet<B>,
        y: View<'_, B>,
        clusters: &mut ClusterRows<B>,
        mut out: ViewMut<'_, B>,
    ) -> Result<()> {
        let rows = 0..y.shape()[0];
        let shortlist = self.head.size - self.tails.len();
        // the columns of the clusters are copied before the tokens of the first cluster replace them
        self.head.forward(backend, parameters, y, cols(&mut out, 0..self.head.size))?;
        ops::log_softmax(backend, None, cols(&mut out, 0..self.head.size))?;
        let of_clusters = View::<B>::new(&*out.buffer, out.layout).cols(shortlist..self.head.size);
        ops::copy(backend, of_clusters, clusters.cluster_log_probabilities.view_mut().rows(rows.clone()))?;
        for (index, Tail { projection, weight, cluster }) in self.tails.iter().enumerate() {
            let hidden = clusters.hidden.view_mut().rows(rows.clone()).cols(0..cluster.features);
            ops::gemm(backend, Transpose::NT, y, parameters.view(*projection), false, hidden)?;
            let hidden = clusters.hidden.view().rows(rows.clone()).cols(0..cluster.features);
            let tokens = cluster.first..cluster.first + cluster.size;
            let logits = cols(&mut out, tokens.clone());
            ops::gemm(backend, Transpose::NT, hidden, parameters.view(*weight), false, logits)?;
            let of_cluster = clusters.cluster_log_probabilities.view().rows(rows.clone()).cols(index..index + 1);
            ops::log_softmax(backend, Some(of_cluster), cols(&mut out, tokens))?;
        }
        Ok(())
    }
}

impl Head {
    /// `logits = y Wᵀ + b`.
    fn forward<B: Backend>(
        &self,
        backend: &B,
        parameters: &ParameterSet<B>,
        y: View<'_, B>,
        logits: ViewMut<'_, B>,
    ) -> Result<()> {
        let weight = parameters.view(self.weight);
        Ok(match self.bias {
            Some(bias) => ops::linear(backend, y, weight, parameters.view(bias), logits),
            None => ops::gemm(backend, Transpose::NT, y, weight, false, logits),
        }?)
    }

    /// The losses of all rows, and the gradients, as many rows at a time as `logits` has memory for.
    fn losses<B: Backend>(
        &self,
        backend: &B,
        parameters: &ParameterSet<B>,
        scale: f32,
        clusters: &mut ClusterRows<B>,
        logits: &mut Tensor<B>,
        mut gradients: Option<&mut ParameterSet<B>>,
    ) -> Result<()> {
        let ClusterRows { y, grad_y, losses, head_targets, .. } = clusters;
        for rows in chunks(backend, logits, 0..y.shape()[0], self.size) {
            let layout = scratch(backend, rows.len(), self.size);
            let y = y.view().rows(rows.clone());
            self.forward(backend, parameters, y, view_mut(logits, layout))?;
            let losses = losses.view_mut().rows(rows.clone());
            let grad_logits = view_mut(logits, layout);
            ops::softmax_cross_entropy(backend, scale, 0.0, head_targets, rows.clone(), grad_logits, losses)?;
            let Some(gradients) = gradients.as_deref_mut() else { continue };
            let grad_logits = view(logits, layout);
            if let Some(bias) = self.bias {
                ops::sum_rows(backend, grad_logits, gradients.view_mut(bias))?;
            }
            ops::gemm(backend, Transpose::TN, grad_logits, y, true, gradients.view_mut(self.weight))?;
            let grad_y = grad_y.view_mut().rows(rows);
            ops::gemm(backend, Transpose::NN, grad_logits, parameters.view(self.weight), false, grad_y)?;
        }
        Ok(())
    }
}

impl Tail {
    /// Adds the losses of the cluster's rows, and the gradients, to those of the head.
    fn losses<B: Backend>(
        &self,
        backend: &B,
        parameters: &ParameterSet<B>,
        scale: f32,
        (clusters, index): (&mut ClusterRows<B>, usize),
        logits: &mut Tensor<B>,
        mut gradients: Option<&mut ParameterSet<B>>,
    ) -> Result<()> {
        let all = clusters.of_cluster(index);
        if all.is_empty() {
            return Ok(());
        }
        let Cluster { size, features, .. } = self.cluster;
        let ClusterRows { y, grad_y, hidden, grad_hidden, losses, tail_losses, tail_targets, .. } = clusters;
        let (projection, weight) = (parameters.view(self.projection), parameters.view(self.weight));
        let y = y.view().rows(all.clone());
        let projected = hidden.view_mut().rows(all.clone()).cols(0..features);
        ops::gemm(backend, Transpose::NT, y, projection, false, projected)?;
        for rows in chunks(backend, logits, all.clone(), size) {
            let layout = scratch(backend, rows.len(), size);
            let hidden = hidden.view().rows(rows.clone()).cols(0..features);
            ops::gemm(backend, Transpose::NT, hidden, weight, false, view_mut(logits, layout))?;
            let losses = tail_losses.view_mut().rows(rows.clone());
            let (targets, grad_logits) = (&tail_targets[index], view_mut(logits, layout));
            ops::softmax_cross_entropy(backend, scale, 0.0, targets, rows.clone(), grad_logits, losses)?;
            let Some(gradients) = gradients.as_deref_mut() else { continue };
            let grad_logits = view(logits, layout);
            ops::gemm(backend, Transpose::TN, grad_logits, hidden, true, gradients.view_mut(self.weight))?;
            let grad_hidden = grad_hidden.view_mut().rows(rows).cols(0..features);
            ops::gemm(backend, Transpose::NN, grad_logits, weight, false, grad_hidden)?;
        }
        ops::axpy(backend, 1.0, tail_losses.view().rows(all.clone()), losses.view_mut().rows(all.clone()))?;
        let Some(gradients) = gradients else { return Ok(()) };
        let grad_hidden = grad_hidden.view().rows(all.clone()).cols(0..features);
        ops::gemm(backend, Transpose::TN, grad_hidden, y, true, gradients.view_mut(self.projection))?;
        Ok(ops::gemm(backend, Transpose::NN, grad_hidden, projection, true, grad_y.view_mut().rows(all))?)
    }
}

/// A block of columns of `out`, which stays usable afterwards.
fn cols<'a, B: Backend>(out: &'a mut ViewMut<'_, B>, range: Range<usize>) -> ViewMut<'a, B> {
    ViewMut::new(&mut *out.buffer, out.layout.cols(range))
}

/// The layout of `[rows, cols]` logits in the memory for logits.
fn scratch<B: Backend>(backend: &B, rows: usize, cols: usize) -> Layout {
    let stride = backend.row_stride(cols);
    Layout { offset: 0, rows, cols, stride, padding: stride - cols }
}

/// The ranges of `rows` whose logits, `cols` each, fit in the memory for logits.
fn chunks<B: Backend>(
    backend: &B,
    logits: &Tensor<B>,
    rows: Range<usize>,
    cols: usize,
) -> impl Iterator<Item = Range<usize>> + use<B> {
    let Layout { rows: capacity, stride, .. } = logits.view().layout;
    let chunk = (capacity * stride / backend.row_stride(cols)).max(1);
    let end = rows.end;
    rows.step_by(chunk).map(move |first| first..end.min(first + chunk))
}

fn view<B: Backend>(logits: &Tensor<B>, layout: Layout) -> View<'_, B> {
    View::new(logits.view().buffer, layout)
}

fn view_mut<B: Backend>(logits: &mut Tensor<B>, layout: Layout) -> ViewMut<'_, B> {
    ViewMut::new(logits.view_mut().buffer, layout)
}
