//! Central finite differences: `(loss(x + ε) − loss(x − ε)) / 2ε`, one value at a time.

/// ε. In double precision the truncation error, `ε²/6` times the third derivative, and the rounding error, `10⁻¹⁶/ε` times
/// the loss, are both about 10⁻¹¹.
const EPSILON: f64 = 1e-5;

/// The derivatives of `loss` with respect to the values with these `indices` in the slice that `leaf` returns.
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
        let above = at(value + EPSILON);
        let below = at(value - EPSILON);
        leaf(model)[index] = value;
        gradients.push((above - below) / (2.0 * EPSILON));
    }
    gradients
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_match_the_product_rule() {
        let mut values = vec![3.0, 5.0];
        let gradients = central(&mut values, |values| values.as_mut_slice(), &[1, 0], |v| v[0] * v[1] + v[1].sin());
        assert!((gradients[0] - (3.0 + 5.0_f64.cos())).abs() < 1e-9, "{gradients:?}");
        assert!((gradients[1] - 5.0).abs() < 1e-9, "{gradients:?}");
        assert_eq!(values, [3.0, 5.0]);
    }
}
