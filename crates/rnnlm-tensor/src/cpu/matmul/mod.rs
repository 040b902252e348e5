//! Matrix multiplication: `C[m, n] = A[m, k] · B[k, n]`, row-major, optionally added to the old `C`, with an epilogue.
//!
//! `B` is packed into panels as wide as a tile of the micro-kernel, so that the innermost loop reads consecutive memory. A
//! tile of sums stays in registers while the micro-kernel walks down a panel, `KC` rows at a time:
//!
//! ```text
//!                       panel 0   panel 1   …            tile (MR × NR)
//!                      ┌────────┬────────┬──           8 × 48  AVX-512
//!                   KC │ NR     │ NR     │             4 × 24  AVX2
//!        k             ├────────┼────────┼──  B        4 × 8   portable
//!     ┌────┬────┬─  KC │        │        │
//!  MR │ KC │ KC │      └────────┴────────┴──
//!     ├────┼────┼─     ┌────────┬────────┬──
//!  MR │    │    │   MR │  tile  │  tile  │
//!     └────┴────┴─     └────────┴────────┴──
//!          A                     C
//! ```
//!
//! ```text
//! split the rows of C among threads (or the columns, if C has few rows)      threading
//! for each block of KC rows of B                                             threading
//!     pack the block, unless it is packed already or is as fast in place     packing
//!     for each panel of NR columns                                           macro_kernel
//!         for each tile of MR rows                                           macro_kernel
//!             sums[i][j] = 0                                                 micro_kernel
//!             for p in 0..KC: sums[i][j] = fma(A[i][p], B[p][j], sums[i][j])
//!             C[i][j] = (C[i][j] +) sums[i][j] (+ epilogue, after the last block)
//! ```
//!
//! | file | contents |
//! |---|---|
//! | `blocking.rs` | `KC`, `MC`, and the sizes from which a path pays |
//! | `operand.rs` | strided operands, the epilogue |
//! | `panels.rs` | how columns are divided into panels |
//! | `packing.rs` | copying `B` into panels |
//! | `micro_kernel.rs` | one tile |
//! | `single_row.rs` | one row of `A`, as in decoding |
//! | `macro_kernel.rs` | the loops over panels and tiles |
//! | `packed.rs` | [`PackedMatrix`]: a `B` that is packed once and used many times |
//! | `threading.rs` | splitting the output among threads |
//! | `gemm.rs` | [`Backend::gemm`](crate::Backend::gemm) and [`Backend::linear`](crate::Backend::linear) |
//!
//! **Invariant (batch invariance).** An element is the sum, in the order of `k`, of chains of `KC` fused multiply-adds that
//! start from zero; block sums are added in order, then the epilogue. The order depends on `k` alone, not on `m`, `n`, the
//! tile, the number of threads or the instruction set. AVX2 and AVX-512 therefore give the same bits, and a row of `C` has
//! the same bits whatever other rows are multiplied with it. The portable code rounds products and sums separately where
//! the CPU has no fused multiply-add.

mod blocking;
mod gemm;
mod macro_kernel;
mod micro_kernel;
mod operand;
mod packed;
mod packing;
mod panels;
mod single_row;
#[cfg(test)]
mod tests;
mod threading;

pub use gemm::scratch_bytes;
pub(super) use gemm::{gemm, linear, linear_packed};
pub use operand::{Epilogue, MatRef};
pub use packed::{LinearCache, PackedMatrix};
