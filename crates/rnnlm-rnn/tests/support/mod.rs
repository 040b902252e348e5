//! What several tests use.

/// Values within ±1, without a pattern that would hide a wrong index.
pub(crate) fn values(len: usize, salt: u64) -> Vec<f32> {
    (0..len as u64).map(|i| (((i + salt) * 2_654_435_761) % 10_007) as f32 / 5_003.5 - 1.0).collect()
}

/// The largest difference relative to the largest magnitude: float32 sums of different order differ by this.
pub(crate) fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |largest, v| largest.max(v.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(found.iter().all(|v| v.is_finite()), "a value is not finite");
    worst / largest
}
