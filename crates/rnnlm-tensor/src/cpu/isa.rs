//! Instruction sets: run-time detection, and kernels compiled for each of them.
//!
//! A loop is written once, generic over [`Lanes`], and compiled for each instruction set inside a function with the
//! `target_feature` attribute. An [`Isa`] is only created by detection on this CPU; having one proves that its instructions
//! are available.

use super::buffer::LINE;

/// An instruction set that this CPU supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The widest one that this CPU supports.
    pub fn detect() -> Self {
        Self::available().last().unwrap_or(Self(Level::Portable))
    }

    /// All that this CPU supports, the widest last.
    pub fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let levels = {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
            [Some(Level::Portable), avx2.then_some(Level::Avx2), avx512.then_some(Level::Avx512)]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let levels = [Some(Level::Portable)];
        levels.into_iter().flatten().map(Self)
    }

    /// The name, such as `AVX-512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "AVX-512",
        }
    }

    /// Runs a kernel compiled for this instruction set.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Portable => run_portable(kernel),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` creates this level only after detecting AVX2 and FMA
            Level::Avx2 => unsafe { run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` creates this level only after detecting AVX-512F and VL, AVX2 and FMA
            Level::Avx512 => unsafe { run_avx512(kernel) },
        }
    }
}

#[inline(never)]
fn run_portable<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Portable>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<x86::Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
#[inline(never)]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<x86::Avx512>()
}

/// Prefetches values into the first-level cache. A hint without effect on results, and a no-op on architectures without the
/// instruction.
#[inline(always)]
pub(super) fn prefetch(values: &[f32]) {
    prefetch_from(values.as_ptr(), values.len());
}

/// Prefetches `len` values from `start`, which may be past the end of an allocation.
#[inline(always)]
pub(super) fn prefetch_from(start: *const f32, len: usize) {
    for first in (0..len).step_by(LINE) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: every x86-64 CPU has the instruction, and a prefetch of any address is allowed
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(first).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (start, first);
    }
}

/// A loop that is compiled once for each instruction set. `run` and everything it calls must be `#[inline(always)]`: only
/// code inlined into the function with the `target_feature` attribute is compiled for the instruction set.
pub trait Kernel {
    /// The result.
    type Output;
    /// The loop.
    fn run<L: Lanes>(self) -> Self::Output;
}

/// The vectors of an instruction set. Most loops are scalar code that the compiler vectorises; sums that must stay in
/// registers are written with [`Lanes::Vector`].
pub trait Lanes {
    /// Whether the CPU has a fused multiply-add; without one, `f32::mul_add` calls a library function.
    const FMA: bool;
    /// Elements of a vector.
    const LANES: usize;
    /// `[MR, NR / LANES]`: the rows of a tile of the matrix multiplication and the vectors in each row, all in registers.
    const TILE: [usize; 2];
    /// A vector register.
    type Vector: Copy;

    /// Runs a part of a kernel in a function that is not inlined: it has all registers to itself and is compiled once.
    fn call<K: Kernel>(kernel: K) -> K::Output;

    /// `a·b + c`, rounded once if [`Lanes::FMA`], else twice.
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        if Self::FMA { a.mul_add(b, c) } else { a * b + c }
    }

    /// The value in every lane.
    fn splat(value: f32) -> Self::Vector;

    /// The first [`Lanes::LANES`] values.
    ///
    /// # Panics
    /// If there are fewer.
    fn load(values: &[f32]) -> Self::Vector;

    /// Writes the first [`Lanes::LANES`] values.
    ///
    /// # Panics
    /// If there are fewer.
    fn store(vector: Self::Vector, values: &mut [f32]);

    /// `a + b`, lane by lane.
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// [`Lanes::mul_add`], lane by lane.
    fn mul_add_vector(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// Transposes an 8 × 8 block: `rows[i·row_stride + j] = columns[j·col_stride + i]`.
    ///
    /// # Panics
    /// If a slice ends before the block.
    #[inline(always)]
    fn transpose(columns: &[f32], col_stride: usize, rows: &mut [f32], row_stride: usize) {
        for i in 0..SQUARE {
            let row = &mut rows[i * row_stride..][..SQUARE];
            row.iter_mut().enumerate().for_each(|(j, value)| *value = columns[j * col_stride + i]);
        }
    }
}

/// Rows and columns of the block of [`Lanes::transpose`].
pub(super) const SQUARE: usize = 8;

/// The baseline of the architecture: SSE2 on x86-64 (16 registers of 4 lanes), NEON on AArch64 (32 of 4).
#[derive(Debug)]
pub(super) struct Portable;

impl Lanes for Portable {
    const FMA: bool = cfg!(target_arch = "aarch64");
    const LANES: usize = 8;
    const TILE: [usize; 2] = [4, 1];
    type Vector = [f32; 8];

    fn call<K: Kernel>(kernel: K) -> K::Output {
        run_portable(kernel)
    }

    #[inline(always)]
    fn splat(value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn load(values: &[f32]) -> [f32; 8] {
        std::array::from_fn(|lane| values[lane])
    }

    #[inline(always)]
    fn store(vector: [f32; 8], values: &mut [f32]) {
        values[..8].copy_from_slice(&vector);
    }

    #[inline(always)]
    fn add(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    fn mul_add_vector(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| Self::mul_add(a[lane], b[lane], c[lane]))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The vectors of x86-64. Both types are private to `isa.rs`: only its functions with the `target_feature` attribute run a
    //! kernel with them, and an [`Isa`](super::Isa) proves that the CPU has the features.

    use std::arch::x86_64::*;

    use super::{Kernel, Lanes, SQUARE, run_avx2, run_avx512};

    /// 16 registers of 8 lanes.
    #[derive(Debug)]
    pub(super) struct Avx2;

    impl Lanes for Avx2 {
        const FMA: bool = true;
        const LANES: usize = 8;
        const TILE: [usize; 2] = [4, 3];
        type Vector = __m256;

        #[inline(always)]
        fn call<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: only `run_avx2` runs kernels with this type
            unsafe { run_avx2(kernel) }
        }

        #[inline(always)]
        fn splat(value: f32) -> __m256 {
            // SAFETY: only `run_avx2` runs kernels with this type
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        fn load(values: &[f32]) -> __m256 {
            let values = &values[..Self::LANES];
            // SAFETY: only `run_avx2` runs kernels with this type, and the slice has `LANES` values
            unsafe { _mm256_loadu_ps(values.as_ptr()) }
        }

        #[inline(always)]
        fn store(vector: __m256, values: &mut [f32]) {
            let values = &mut values[..Self::LANES];
            // SAFETY: only `run_avx2` runs kernels with this type, and the slice has `LANES` values
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), vector) }
        }

        #[inline(always)]
        fn add(a: __m256, b: __m256) -> __m256 {
            // SAFETY: only `run_avx2` runs kernels with this type
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        fn mul_add_vector(a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: only `run_avx2` runs kernels with this type
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn transpose(columns: &[f32], col_stride: usize, rows: &mut [f32], row_stride: usize) {
            // SAFETY: only `run_avx2` runs kernels with this type
            unsafe { transpose(columns, col_stride, rows, row_stride) }
        }
    }

    /// [`Lanes::transpose`]. Columns `j` and `j + 4` are loaded into one register, so that no element crosses its 128-bit
    /// halves.
    ///
    /// # Safety
    /// The CPU must have AVX2.
    #[inline(always)]
    unsafe fn transpose(columns: &[f32], col_stride: usize, rows: &mut [f32], row_stride: usize) {
        const LAST: usize = SQUARE - 1;
        assert!(LAST * col_stride + SQUARE <= columns.len(), "the columns end before the block");
        assert!(LAST * row_stride + SQUARE <= rows.len(), "the rows end before the block");
        let (columns, rows) = (columns.as_ptr(), rows.as_mut_ptr());
        for half in [0, SQUARE / 2] {
            // SAFETY: the caller guarantees AVX2; four and eight elements of columns and rows of the block are read and
            // written, and the block is within both slices, as asserted above
            unsafe {
                let both = |j: usize| {
                    let column = |j: usize| _mm_loadu_ps(columns.add(j * col_stride + half));
                    _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(column(j)), column(j + SQUARE / 2))
                };
                let (a, b, c, d) = (both(0), both(1), both(2), both(3));
                let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
                let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
                let row = |i: usize| rows.add((half + i) * row_stride);
                _mm256_storeu_ps(row(0), _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd));
                _mm256_storeu_ps(row(1), _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd));
                _mm256_storeu_ps(row(2), _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high));
                _mm256_storeu_ps(row(3), _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high));
            }
        }
    }

    /// 32 registers of 16 lanes.
    #[derive(Debug)]
    pub(super) struct Avx512;

    impl Lanes for Avx512 {
        const FMA: bool = true;
        const LANES: usize = 16;
        const TILE: [usize; 2] = [8, 3];
        type Vector = __m512;

        #[inline(always)]
        fn call<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: only `run_avx512` runs kernels with this type
            unsafe { run_avx512(kernel) }
        }

        #[inline(always)]
        fn splat(value: f32) -> __m512 {
            // SAFETY: only `run_avx512` runs kernels with this type
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        fn load(values: &[f32]) -> __m512 {
            let values = &values[..Self::LANES];
            // SAFETY: only `run_avx512` runs kernels with this type, and the slice has `LANES` values
            unsafe { _mm512_loadu_ps(values.as_ptr()) }
        }

        #[inline(always)]
        fn store(vector: __m512, values: &mut [f32]) {
            let values = &mut values[..Self::LANES];
            // SAFETY: only `run_avx512` runs kernels with this type, and the slice has `LANES` values
            unsafe { _mm512_storeu_ps(values.as_mut_ptr(), vector) }
        }

        #[inline(always)]
        fn add(a: __m512, b: __m512) -> __m512 {
            // SAFETY: only `run_avx512` runs kernels with this type
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        fn mul_add_vector(a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: only `run_avx512` runs kernels with this type
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn transpose(columns: &[f32], col_stride: usize, rows: &mut [f32], row_stride: usize) {
            // SAFETY: only `run_avx512` runs kernels with this type, and that has AVX2 as well
            unsafe { transpose(columns, col_stride, rows, row_stride) }
        }
    }
}
