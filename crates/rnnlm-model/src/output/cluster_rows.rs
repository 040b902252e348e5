//! The rows of a minibatch in the order of the clusters of their targets.
//!
//! ```text
//! targets       0 7 1 3 9 2        shortlist 0 1, cluster 0 from 2, cluster 1 from 6
//! order         0 2 │ 3 5 │ 1 4    the rows of the shortlist, of cluster 0, of cluster 1, each in the order of the minibatch
//! head targets  0 1 │ 2 2 │ 3 3    a token of the shortlist, or the shortlist's size and the cluster
//! tail targets      │ 1 0 │ 1 3    the token within its cluster
//! ```

use std::ops::Range;

use rnnlm_tensor::{Backend, Tensor};

use crate::config::Cluster;
use crate::{Error, Result};

/// The rows of a minibatch by cluster, and the values that are computed in that order. All memory is allocated once.
#[derive(Debug)]
pub(crate) struct ClusterRows<B: Backend> {
    vocab_size: usize,
    /// The first token of each cluster.
    cutoffs: Vec<usize>,
    /// The first row of the shortlist, of each cluster, and the number of rows.
    bounds: Vec<usize>,
    host: HostRows,
    /// The row of the minibatch at each position.
    pub(crate) order: B::Indices,
    /// The position of each row of the minibatch.
    pub(crate) positions: B::Indices,
    /// `T·N` targets of the head.
    pub(crate) head_targets: B::Indices,
    /// `T·N` targets of each cluster; 0 for rows of others.
    pub(crate) tail_targets: Vec<B::Indices>,
    /// `[T·N, H]`: the input, and its gradient.
    pub(crate) y: Tensor<B>,
    pub(crate) grad_y: Tensor<B>,
    /// `[T·N, features]`: the projected input of the clusters' rows, and its gradient. A cluster uses the first columns.
    pub(crate) hidden: Tensor<B>,
    pub(crate) grad_hidden: Tensor<B>,
    /// `[T·N, 1]`: losses of the head and of the clusters.
    pub(crate) losses: Tensor<B>,
    pub(crate) tail_losses: Tensor<B>,
    /// `[T·N, clusters]`: log-probabilities of the clusters.
    pub(crate) cluster_log_probabilities: Tensor<B>,
}

/// The indices on the host.
#[derive(Debug)]
struct HostRows {
    order: Vec<u32>,
    positions: Vec<u32>,
    head_targets: Vec<u32>,
    tail_targets: Vec<Vec<u32>>,
}

impl<B: Backend> ClusterRows<B> {
    /// Memory for `rows` rows of `input_size` features.
    pub(crate) fn new(
        backend: &B,
        [rows, input_size]: [usize; 2],
        clusters: &[Cluster],
        vocab_size: usize,
    ) -> Result<Self> {
        let features = clusters.iter().map(|cluster| cluster.features).max().unwrap_or(0);
        let indices = || Ok::<_, Error>(backend.allocate_indices(rows)?);
        let padded = |cols| Ok::<_, Error>(Tensor::padded(backend, rows, cols)?);
        let column = || Ok::<_, Error>(Tensor::zeros(backend, rows, 1)?);
        Ok(Self {
            vocab_size,
            cutoffs: clusters.iter().map(|cluster| cluster.first).collect(),
            bounds: vec![0; clusters.len() + 2],
            host: HostRows {
                order: vec![0; rows],
                positions: vec![0; rows],
                head_targets: vec![0; rows],
                tail_targets: vec![vec![0; rows]; clusters.len()],
            },
            order: indices()?,
            positions: indices()?,
            head_targets: indices()?,
            tail_targets: clusters.iter().map(|_| indices()).collect::<Result<_>>()?,
            y: padded(input_size)?,
            grad_y: padded(input_size)?,
            hidden: padded(features)?,
            grad_hidden: padded(features)?,
            losses: column()?,
            tail_losses: column()?,
            cluster_log_probabilities: Tensor::zeros(backend, rows, clusters.len())?,
        })
    }

    /// Changes the number of rows, at most to those that the memory was made for. Nothing is allocated.
    pub(crate) fn set_rows(&mut self, backend: &B, rows: usize) {
        let HostRows { order, positions, head_targets, tail_targets } = &mut self.host;
        [order, positions, head_targets].into_iter().chain(tail_targets).for_each(|ids| ids.resize(rows, 0));
        let device = [&mut self.order, &mut self.positions, &mut self.head_targets];
        device.into_iter().chain(&mut self.tail_targets).for_each(|ids| backend.set_indices_len(ids, rows));
        [&mut self.y, &mut self.grad_y, &mut self.losses].into_iter().for_each(|tensor| tensor.set_rows(rows));
    }

    /// Orders the rows by the clusters of their targets.
    ///
    /// # Errors
    /// If a target is not below **V**, or the device fails.
    pub(crate) fn group(&mut self, backend: &B, targets: &[u32]) -> Result<()> {
        let Self { vocab_size, cutoffs, bounds, host, .. } = self;
        if let Some(&id) = targets.iter().find(|&&id| id as usize >= *vocab_size) {
            return Err(rnnlm_tensor::Error::IdOutOfRange { op: "adaptive softmax", id, bound: *vocab_size }.into());
        }
        // 0 for the shortlist, 1 for the first cluster
        let group = |target: u32| cutoffs.partition_point(|&first| first <= target as usize);
        bounds.fill(0);
        for &target in targets {
            bounds[group(target) + 1] += 1;
        }
        for index in 1..bounds.len() {
            bounds[index] += bounds[index - 1];
        }
        let shortlist = cutoffs[0];
        for (row, &target) in targets.iter().enumerate() {
            let group = group(target);
            // the bound of a group moves from its first to its last row, which is the first one of the next group
            let position = bounds[group];
            bounds[group] += 1;
            host.order[position] = row as u32;
            host.positions[row] = position as u32;
            for (index, tail_targets) in host.tail_targets.iter_mut().enumerate() {
                tail_targets[position] = if index + 1 == group { target - cutoffs[index] as u32 } else { 0 };
            }
            host.head_targets[position] = if group == 0 { target } else { (shortlist + group - 1) as u32 };
        }
        bounds.rotate_right(1);
        bounds[0] = 0;
        backend.write_indices(&host.order, &mut self.order)?;
        backend.write_indices(&host.positions, &mut self.positions)?;
        backend.write_indices(&host.head_targets, &mut self.head_targets)?;
        for (host, device) in host.tail_targets.iter().zip(&mut self.tail_targets) {
            backend.write_indices(host, device)?;
        }
        Ok(())
    }

    /// The positions of the rows whose targets are in cluster `index`.
    pub(crate) fn of_cluster(&self, index: usize) -> Range<usize> {
        self.bounds[index + 1]..self.bounds[index + 2]
    }
}
