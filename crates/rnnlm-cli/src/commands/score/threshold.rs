//! Thresholds: the surprisal that a share of normal documents exceeds.

/// The smallest threshold that at most a share `quantile` of `surprisals` exceeds; `None` without surprisals.
///
/// Of n documents, at most k = ⌊quantile·n⌋ may be beyond the threshold, so it is the surprisal with k larger ones. A
/// document is beyond a threshold if its surprisal is larger; an equal one is not.
pub(super) fn of_quantile(surprisals: &[f64], quantile: f64) -> Option<f64> {
    let count = surprisals.len();
    let mut surprisals = surprisals.to_vec();
    surprisals.sort_by(f64::total_cmp);
    let is_allowed = |beyond: usize| beyond as f64 / count as f64 <= quantile;
    let product = (quantile * count as f64) as usize;
    // the product is rounded: 0.29 · 100 is below 29
    let beyond = if is_allowed(product + 1) { product + 1 } else { product };
    let index = count.checked_sub(1 + beyond.min(count.saturating_sub(1)))?;
    Some(surprisals[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_the_share_is_beyond_the_smallest_threshold() {
        let ten: Vec<f64> = (1..=10).rev().map(f64::from).collect();
        let of = |quantile| of_quantile(&ten, quantile);
        // of ten documents, 0, 1, 1, 2, 9 may be beyond
        assert_eq!(of(0.0), Some(10.0));
        assert_eq!(of(0.1), Some(9.0));
        assert_eq!(of(0.19), Some(9.0));
        assert_eq!(of(0.2), Some(8.0));
        assert_eq!(of(0.99), Some(1.0));
        assert_eq!(of_quantile(&[2.5], 0.5), Some(2.5));
        assert_eq!(of_quantile(&[], 0.5), None);
    }

    #[test]
    fn equal_surprisals_are_not_beyond() {
        // one of four may be beyond 7, but two are beyond everything smaller than 7
        assert_eq!(of_quantile(&[1.0, 7.0, 3.0, 7.0], 0.25), Some(7.0));
        assert_eq!(of_quantile(&[1.0, 7.0, 3.0, 7.0], 0.5), Some(3.0));
    }

    #[test]
    fn a_rounded_product_loses_no_document() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        // 0.29 · 100 = 28.999999999999996
        assert_eq!(of_quantile(&hundred, 0.29), Some(71.0));
    }
}
