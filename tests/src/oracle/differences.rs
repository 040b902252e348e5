//! Gradients without derivatives, beside the walk's stage 7: `(loss(x + ε) − loss(x − ε)) / 2ε`, one value at a time.

/// The step. In double precision the truncation, `ε²/6` of the third derivative, and the rounding, `10⁻¹⁶/ε` of the loss,
/// are both about 10⁻¹¹.
const EPSILON: f64 = 1e-5;

/// The derivative of `loss` by each of the values `indices` of the leaf that `leaf` points at.
pub fn central<M>(
    model: &mut M,
    leaf: impl Fn(&mut M) -> &mut [f64],
    indices: &[usize],
    loss: impl Fn(&M) -> f64,
) -> Vec<f64> {
    let mut gradients = Vec::new();
    for &index in indices {
        let value = leaf(model)[index];
        let mut at = |x: f64| {
            leaf(model)[index] = x;
            loss(model)
        };
        let (above, below) = (at(value + EPSILON), at(value - EPSILON));
        leaf(model)[index] = value;
        gradients.push((above - below) / (2.0 * EPSILON));
    }
    gradients
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derivative_of_a_product_is_the_other_factor() {
        let mut values = vec![3.0, 5.0];
        let gradients = central(&mut values, |values| values.as_mut_slice(), &[1, 0], |v| v[0] * v[1] + v[1].sin());
        assert!((gradients[0] - (3.0 + 5.0_f64.cos())).abs() < 1e-9, "{gradients:?}");
        assert!((gradients[1] - 5.0).abs() < 1e-9, "{gradients:?}");
        assert_eq!(values, [3.0, 5.0]);
    }
}
