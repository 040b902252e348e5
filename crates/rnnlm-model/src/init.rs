//! Initial parameters. They are drawn on the host from a generator with a specified stream (ChaCha8), so that a seed gives
//! the same model on every device.

use ndarray::Array1;
use ndarray_rand::RandomExt;
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand_distr::Uniform;
use rand_chacha::ChaCha8Rng;
use rnnlm_rnn::{ParameterLayout, ParameterSpec};

use crate::Init;
use crate::normal::Normal;

/// One value per parameter, in the order of the layout.
pub(crate) fn draw(layout: &ParameterLayout, init: Init, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values = vec![0.0; layout.len()];
    for spec in layout.specs() {
        values[spec.range()].copy_from_slice(draw_one(spec, init, &mut rng).as_slice().unwrap_or_default());
    }
    values
}

fn draw_one(spec: &ParameterSpec, init: Init, rng: &mut ChaCha8Rng) -> Array1<f32> {
    let len = spec.range().len();
    match init {
        _ if spec.embedding => Array1::random_using(len, Normal { std_dev: 1.0 }, rng),
        Init::Uniform => {
            let bound = 1.0 / (spec.fan_in as f32).sqrt();
            Array1::random_using(len, Uniform::new_inclusive(-bound, bound).expect("the bound 1/√H is finite"), rng)
        }
        Init::Normal if spec.shape.len() == 1 => Array1::zeros(len),
        Init::Normal => Array1::random_using(len, Normal { std_dev: 0.01 }, rng),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> ParameterLayout {
        let mut layout = ParameterLayout::default();
        layout.add_weight("weight", [100, 64], 64).unwrap();
        layout.add_bias("bias", 100, 64).unwrap();
        layout
    }

    #[test]
    fn uniform_values_fill_the_interval_that_pytorch_draws_from() {
        let values = draw(&layout(), Init::Uniform, 1);
        let (low, high) = values.iter().fold((0.0_f32, 0.0_f32), |(low, high), &v| (low.min(v), high.max(v)));
        assert!((-0.125..-0.12).contains(&low) && (0.12..=0.125).contains(&high), "{low} {high}");
        // the variance of U(−a, a) is a²/3 = 0.0052
        let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        assert!((variance - 0.005_208).abs() < 0.000_2, "{variance}");
    }

    #[test]
    fn normal_weights_have_the_standard_deviation_of_the_book_and_biases_are_zero() {
        let values = draw(&layout(), Init::Normal, 1);
        let (weights, biases) = values.split_at(6400);
        let deviation = (weights.iter().map(|v| v * v).sum::<f32>() / 6400.0).sqrt();
        assert!((deviation - 0.01).abs() < 0.000_4, "{deviation}");
        assert!(biases.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn embeddings_are_standard_normal_with_every_initialization() {
        let mut layout = ParameterLayout::default();
        layout.add_embedding("embedding.weight", [100, 64]).unwrap();
        for init in [Init::Uniform, Init::Normal] {
            let values = draw(&layout, init, 1);
            let deviation = (values.iter().map(|v| v * v).sum::<f32>() / 6400.0).sqrt();
            assert!((deviation - 1.0).abs() < 0.04, "{init:?}: {deviation}");
        }
    }

    #[test]
    fn equal_seeds_give_equal_values_and_other_seeds_give_others() {
        assert_eq!(draw(&layout(), Init::Uniform, 7), draw(&layout(), Init::Uniform, 7));
        assert_ne!(draw(&layout(), Init::Uniform, 7), draw(&layout(), Init::Uniform, 8));
    }
}
