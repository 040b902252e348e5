//! Which vector instructions this CPU has, and the one place where code compiled for them is called.
//!
//! A loop is written once, over [`Lanes`], and compiled for each instruction set in a function that carries the features.
//! An [`Isa`] can only be had by asking the CPU, so that holding one is the proof that its instructions may be executed.

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

    /// Runs a kernel in the code that was compiled for this instruction set.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Portable => kernel.run::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is only made where `available` has seen AVX2 and FMA
            Level::Avx2 => unsafe { run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is only made where `available` has seen AVX-512F and VL, AVX2 and FMA
            Level::Avx512 => unsafe { run_avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

/// A loop that is compiled once for each instruction set. `run` must be `#[inline(always)]`, and so must all that it
/// calls: only what ends up inside the function that carries the features is compiled for them.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The loop.
    fn run<L: Lanes>(self) -> Self::Output;
}

/// What a loop must know of the instruction set it is compiled for.
pub trait Lanes {
    /// Whether `a·b + c` is one instruction; where it is not, `f32::mul_add` would call a library function.
    const FMA: bool;
    /// Rows and columns of a tile of a product, whose sums are to stay in registers.
    const TILE: [usize; 2];

    /// `a·b + c`, rounded once where the hardware can.
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        if Self::FMA { a.mul_add(b, c) } else { a * b + c }
    }
}

/// What every CPU of the architecture has: SSE2 on x86-64 (16 registers of 4), NEON on AArch64 (32 of 4).
#[derive(Debug)]
pub(super) struct Portable;

impl Lanes for Portable {
    const FMA: bool = cfg!(target_arch = "aarch64");
    const TILE: [usize; 2] = [4, 8];
}

/// 16 registers of 8 lanes.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub(super) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx2 {
    const FMA: bool = true;
    const TILE: [usize; 2] = [4, 16];
}

/// 32 registers of 16 lanes.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub(super) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx512 {
    const FMA: bool = true;
    const TILE: [usize; 2] = [8, 32];
}
