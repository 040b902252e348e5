//! Which vector instructions this CPU has, and the one place where code compiled for them is called.
//!
//! A loop is written once, over [`Lanes`], and compiled for each instruction set in a function that carries the features.
//! An [`Isa`] can only be had by asking the CPU, so that holding one is the proof that its instructions may be executed.

use super::buffer::LINE;

/// An instruction set that this CPU has.
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
    /// The fastest one.
    pub fn detect() -> Self {
        Self::available().last().unwrap_or(Self(Level::Portable))
    }

    /// Every one that this CPU has, the fastest last.
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

    /// Its name: `AVX-512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "AVX-512",
        }
    }

    /// Whether sums and differences of whole vectors take no time from multiplications: AMD's CPUs have units of their own for
    /// them (the extension that tells is theirs alone), where Intel's add 16 numbers in the units that multiply.
    pub(super) fn adds_beside(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.0 == Level::Avx512 && is_x86_feature_detected!("sse4a");
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Runs a kernel in the code that was compiled for this instruction set.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Portable => run_portable(kernel),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is only made where `available` has seen AVX2 and FMA
            Level::Avx2 => unsafe { run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is only made where `available` has seen AVX-512F and VL, AVX2 and FMA
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

/// Asks for values to be brought into the first-level cache. A hint, which changes no result and does nothing where there is
/// no instruction for it.
#[inline(always)]
pub(super) fn prefetch(values: &[f32]) {
    prefetch_from(values.as_ptr(), values.len());
}

/// The same of `len` values from this place on, which may lie behind all that there are.
#[inline(always)]
pub(super) fn prefetch_from(place: *const f32, len: usize) {
    for first in (0..len).step_by(LINE) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: every x86-64 CPU has the instruction, and it reads nothing, wherever the place is
            unsafe { _mm_prefetch::<_MM_HINT_T0>(place.wrapping_add(first).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (place, first);
    }
}

/// A loop that is compiled once for each instruction set. `run` must be `#[inline(always)]`, and so must all that it
/// calls: only what ends up inside the function that carries the features is compiled for them.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The loop.
    fn run<L: Lanes>(self) -> Self::Output;
}

/// What a loop must know of the instruction set it is compiled for. Most loops are plain and the compiler vectorises them;
/// sums that must stay in registers are written with [`Lanes::Vector`].
pub trait Lanes {
    /// Whether `a·b + c` is one instruction; where it is not, `f32::mul_add` would call a library function.
    const FMA: bool;
    /// Numbers in a vector.
    const LANES: usize;
    /// Rows of a tile of a product and vectors in each, whose sums are to stay in registers.
    const TILE: [usize; 2];
    /// A register's worth of numbers.
    type Vector: Copy;

    /// Runs a part of a kernel in a function of its own, which has all registers to itself and is compiled once, wherever it
    /// is called.
    fn call<K: Kernel>(kernel: K) -> K::Output;

    /// `a·b + c`, rounded once where the hardware can.
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        if Self::FMA { a.mul_add(b, c) } else { a * b + c }
    }

    /// The same number in every lane.
    fn splat(value: f32) -> Self::Vector;

    /// The first [`Lanes::LANES`] values.
    ///
    /// # Panics
    /// If there are fewer.
    fn load(values: &[f32]) -> Self::Vector;

    /// The mirror of [`Lanes::load`].
    ///
    /// # Panics
    /// If there is less room.
    fn store(vector: Self::Vector, values: &mut [f32]);

    /// `a + b`, lane by lane.
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a − b`, lane by lane.
    fn subtract(a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// [`Lanes::mul_add`], lane by lane.
    fn mul_add_vector(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// Eight columns of eight numbers become as many rows: `rows[i·width + j] = columns[j·apart + i]`.
    ///
    /// # Panics
    /// If a slice ends before the square does.
    #[inline(always)]
    fn transpose(columns: &[f32], apart: usize, rows: &mut [f32], width: usize) {
        for i in 0..SQUARE {
            let row = &mut rows[i * width..][..SQUARE];
            row.iter_mut().enumerate().for_each(|(j, value)| *value = columns[j * apart + i]);
        }
    }
}

/// Rows and columns of what [`Lanes::transpose`] takes.
pub(super) const SQUARE: usize = 8;

/// What every CPU of the architecture has: SSE2 on x86-64 (16 registers of 4), NEON on AArch64 (32 of 4).
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
    fn subtract(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| a[lane] - b[lane])
    }

    #[inline(always)]
    fn mul_add_vector(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| Self::mul_add(a[lane], b[lane], c[lane]))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The registers of x86-64. Neither type leaves `isa.rs`, whose functions with the features are the only ones that run
    //! a kernel with it, and the proof that the CPU has them is the [`Isa`](super::Isa).

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
            // SAFETY: only `run_avx2` runs kernels with this type, and the slice has as many values as are read
            unsafe { _mm256_loadu_ps(values.as_ptr()) }
        }

        #[inline(always)]
        fn store(vector: __m256, values: &mut [f32]) {
            let values = &mut values[..Self::LANES];
            // SAFETY: only `run_avx2` runs kernels with this type, and the slice has room for what is written
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), vector) }
        }

        #[inline(always)]
        fn add(a: __m256, b: __m256) -> __m256 {
            // SAFETY: only `run_avx2` runs kernels with this type
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        fn subtract(a: __m256, b: __m256) -> __m256 {
            // SAFETY: only `run_avx2` runs kernels with this type
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        fn mul_add_vector(a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: only `run_avx2` runs kernels with this type
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn transpose(columns: &[f32], apart: usize, rows: &mut [f32], width: usize) {
            // SAFETY: only `run_avx2` runs kernels with this type
            unsafe { transpose(columns, apart, rows, width) }
        }
    }

    /// [`Lanes::transpose`]. Columns that are four apart share a register from the start, so that nothing has to cross from
    /// one half of a register to the other.
    ///
    /// # Safety
    /// The CPU must have AVX2.
    #[inline(always)]
    unsafe fn transpose(columns: &[f32], apart: usize, rows: &mut [f32], width: usize) {
        const LAST: usize = SQUARE - 1;
        assert!(LAST * apart + SQUARE <= columns.len(), "the columns end before the square does");
        assert!(LAST * width + SQUARE <= rows.len(), "the rows end before the square does");
        let (columns, rows) = (columns.as_ptr(), rows.as_mut_ptr());
        for half in [0, SQUARE / 2] {
            // SAFETY: the CPU has AVX2, as the caller promises; what is read and written are four and eight numbers of
            // columns and rows of the square, which lies within both slices, as asserted above
            unsafe {
                let both = |j: usize| {
                    let column = |j: usize| _mm_loadu_ps(columns.add(j * apart + half));
                    _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(column(j)), column(j + SQUARE / 2))
                };
                let (a, b, c, d) = (both(0), both(1), both(2), both(3));
                let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
                let (ab_behind, cd_behind) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
                let row = |i: usize| rows.add((half + i) * width);
                _mm256_storeu_ps(row(0), _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd));
                _mm256_storeu_ps(row(1), _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd));
                _mm256_storeu_ps(row(2), _mm256_shuffle_ps::<0b01_00_01_00>(ab_behind, cd_behind));
                _mm256_storeu_ps(row(3), _mm256_shuffle_ps::<0b11_10_11_10>(ab_behind, cd_behind));
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
            // SAFETY: only `run_avx512` runs kernels with this type, and the slice has as many values as are read
            unsafe { _mm512_loadu_ps(values.as_ptr()) }
        }

        #[inline(always)]
        fn store(vector: __m512, values: &mut [f32]) {
            let values = &mut values[..Self::LANES];
            // SAFETY: only `run_avx512` runs kernels with this type, and the slice has room for what is written
            unsafe { _mm512_storeu_ps(values.as_mut_ptr(), vector) }
        }

        #[inline(always)]
        fn add(a: __m512, b: __m512) -> __m512 {
            // SAFETY: only `run_avx512` runs kernels with this type
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        fn subtract(a: __m512, b: __m512) -> __m512 {
            // SAFETY: only `run_avx512` runs kernels with this type
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        fn mul_add_vector(a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: only `run_avx512` runs kernels with this type
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn transpose(columns: &[f32], apart: usize, rows: &mut [f32], width: usize) {
            // SAFETY: only `run_avx512` runs kernels with this type, and that has AVX2 as well
            unsafe { transpose(columns, apart, rows, width) }
        }
    }
}
