//! The block sizes of the matrix multiplication, named as in the BLIS papers where they name them, and the sizes from which
//! a different path pays.

/// Depth of a block of `k`: a panel of `KC` rows stays in the second-level cache. The only size here on which results
/// depend: sums over more than `KC` terms are sums of block sums.
pub(super) const KC: usize = 256;
/// Rows of the output that one task multiplies by all panels before the next: their part of `A` stays in the second-level
/// cache.
pub(super) const MC: usize = 256;
/// The most rows of a tile of any instruction set.
pub(super) const MAX_MR: usize = 8;
/// The most columns of a tile of any instruction set.
pub(super) const MAX_NR: usize = 48;
/// Panels that the single-row kernel multiplies together: one panel has too few independent sums to hide the latency of a
/// fused multiply-add.
pub(super) const SINGLE_ROW_PANELS: usize = 4;

/// Multiplications with fewer floating-point operations run on the calling thread: starting a task costs microseconds.
pub(super) const PARALLEL_MIN_FLOPS: usize = 1 << 19;
/// Matrices with fewer elements are packed by one thread.
pub(super) const PARALLEL_PACK_MIN_LEN: usize = 1 << 15;
/// A single row times fewer weights runs on one thread: half a megabyte.
pub(super) const PARALLEL_ROW_MIN_LEN: usize = 1 << 17;
/// An output of at most so many rows is split by columns: each thread would otherwise read all of `B` for a few rows.
pub(super) const COLUMN_SPLIT_MAX_ROWS: usize = 32;

/// The largest leading dimension of a `B` that is multiplied unpacked: two rows a page of memory.
pub(super) const UNPACKED_MAX_LDB: usize = 512;
/// At most so many rows of output do not repay packing a `B` that can be read in place.
pub(super) const UNPACKED_MAX_ROWS: usize = 32;
/// The largest leading dimension of a transposed `A` that is read in place: a block of it stays in the first-level cache.
pub(super) const UNPACKED_MAX_LDA: usize = 64;
