//! Normally distributed values whose bits depend on the seed alone.
//!
//! `rand_distr::Normal` calls `exp` and `ln` of the C library, whose last bits differ between versions. This is the same
//! algorithm on the crate `libm`: the ziggurat of G. Marsaglia and W. W. Tsang, in the variant ZIGNOR of J. A. Doornik, "An
//! Improved Ziggurat Method to Generate Normal Random Samples", 2005. It draws the same values from the same random bits.
//!
//! The density `f(x) = exp(−x²/2)` is covered by 256 layers of equal area `V`. Layer `i` is a box of width `x[i]` that
//! contains a box of width `x[i + 1]` completely under the density. Layer 0 is the box up to `R` and the tail beyond it.

use std::sync::LazyLock;

use ndarray_rand::rand::Rng;
use ndarray_rand::rand_distr::{Distribution, Open01};

/// Number of layers.
const LAYERS: usize = 256;
/// Start of the tail.
const R: f64 = 3.654_152_885_361_009;
/// Area of each layer.
const V: f64 = 0.004_928_673_233_99;

/// `N(0, std_dev²)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normal {
    pub(crate) std_dev: f32,
}

impl Distribution<f32> for Normal {
    fn sample<G: Rng + ?Sized>(&self, rng: &mut G) -> f32 {
        self.std_dev * standard(rng) as f32
    }
}

/// The widths of the boxes, and the density at each.
struct Tables {
    x: [f64; LAYERS + 1],
    f: [f64; LAYERS + 1],
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut x = [0.0; LAYERS + 1];
    x[0] = V / density(R);
    x[1] = R;
    for i in 2..LAYERS {
        x[i] = (-2.0 * libm::log(V / x[i - 1] + density(x[i - 1]))).sqrt();
    }
    Tables { x, f: x.map(density) }
});

/// The density of `N(0, 1)`, without its constant factor.
fn density(x: f64) -> f64 {
    libm::exp(-x * x / 2.0)
}

/// A value from `N(0, 1)`.
fn standard<G: Rng + ?Sized>(rng: &mut G) -> f64 {
    let Tables { x: widths, f: densities } = &*TABLES;
    loop {
        // 8 bits choose the layer, 52 others a multiple of 2⁻⁵¹ in [−1, 1)
        let bits = rng.next_u64();
        let i = bits as usize % LAYERS;
        let u = (bits >> 12) as f64 / (1_u64 << 51) as f64 - 1.0;
        let x = u * widths[i];
        if x.abs() < widths[i + 1] {
            return x;
        }
        if i == 0 {
            return tail(rng, u < 0.0);
        }
        // a height within the layer, accepted under the density
        if densities[i + 1] + (densities[i] - densities[i + 1]) * rng.random::<f64>() < density(x) {
            return x;
        }
    }
}

/// A value beyond `R`, by Marsaglia's method for the tail.
fn tail<G: Rng + ?Sized>(rng: &mut G, negative: bool) -> f64 {
    loop {
        let x = libm::log(rng.sample::<f64, _>(Open01)) / R;
        let y = libm::log(rng.sample::<f64, _>(Open01));
        if -2.0 * y >= x * x {
            return if negative { x - R } else { R - x };
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray_rand::rand::SeedableRng;
    use ndarray_rand::rand_distr;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_layers_end_at_the_maximum_of_the_density() {
        let Tables { x, f } = &*TABLES;
        assert!(x.is_sorted_by(|a, b| a > b));
        // the last layer's area: its box is the whole width below the maximum, f(0) = 1
        let last = x[LAYERS - 1] * (1.0 - f[LAYERS - 1]);
        assert!((last - V).abs() < 1e-10, "{last}");
    }

    #[test]
    fn values_equal_those_of_rand_distr() {
        // two million values visit every layer, and about 500 of them are in the tail
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut reference = rng.clone();
        let expected = rand_distr::Normal::new(0.0_f32, 0.01).unwrap();
        for index in 0..2_000_000 {
            let value: f32 = Normal { std_dev: 0.01 }.sample(&mut rng);
            assert_eq!(value.to_bits(), expected.sample(&mut reference).to_bits(), "value {index}");
        }
    }
}
