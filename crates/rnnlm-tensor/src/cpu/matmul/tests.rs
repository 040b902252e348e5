//! The multiplication against its definition, bit for bit, and against sums in double precision.

use super::blocking::{KC, UNPACKED_MAX_LDA, UNPACKED_MAX_ROWS};
use super::operand::Store;
use super::packed::{multiply_in_place, reads_in_place};
use super::{Epilogue, MatRef, PackedMatrix};
use crate::cpu::Isa;

/// Values of about unit size, without a pattern that would hide a wrong index.
fn values(len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| ((i * 2_654_435_761 + 12_345) % 10_007) as f32 / 5_003.5 - 1.0).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// One element as the module's documentation defines it: chains of `KC` fused multiply-adds, block sums in order, then the
/// epilogue.
fn defined(isa: Isa, terms: impl ExactSizeIterator<Item = (f32, f32)>, old: Option<f32>, added: Option<f32>) -> f32 {
    let fused = isa.name() != "portable" || cfg!(target_arch = "aarch64");
    let terms: Vec<(f32, f32)> = terms.collect();
    let block_sum = |block: &[(f32, f32)]| {
        block.iter().fold(0.0, |sum, &(a, b)| if fused { a.mul_add(b, sum) } else { a * b + sum })
    };
    let mut sum = old;
    for block in terms.chunks(KC) {
        let block = block_sum(block);
        sum = Some(sum.map_or(block, |sum| sum + block));
    }
    let sum = sum.unwrap_or(0.0);
    added.map_or(sum, |added| added + sum)
}

#[test]
fn every_element_has_the_bits_of_the_definition_for_every_shape_epilogue_and_instruction_set() {
    for isa in Isa::available() {
        for m in [1, 2, 3, 7, 8, 9, 17] {
            for n in [1, 7, 8, 28, 33, 100] {
                for k in [1, 8, 33, 255, 256, 257, 600] {
                    let (a, b, table) = (values(m * (k + 3)), values(k * (n + 2)), values(3 * n));
                    let ids: Vec<u32> = (0..m as u32).map(|i| i % 3).collect();
                    let mut packed = PackedMatrix::new(isa, k, n);
                    packed.pack(&b, n + 2);
                    let before = values(m * (n + 1));
                    let gather = Epilogue::Gather { values: &table, stride: n, ids: &ids };
                    for (accumulate, epilogue) in [false, true].into_iter().flat_map(|accumulate| {
                        [Epilogue::None, Epilogue::Bias(&table[..n]), gather].map(|e| (accumulate, e))
                    }) {
                        let mut c = before.clone();
                        packed.multiply(m, MatRef::row_major(&a, k + 3), &mut c, n + 1, accumulate, epilogue);
                        for i in 0..m {
                            for j in 0..n {
                                let terms = (0..k).map(|p| (a[i * (k + 3) + p], b[p * (n + 2) + j]));
                                let old = accumulate.then_some(before[i * (n + 1) + j]);
                                let added = match epilogue {
                                    Epilogue::None => None,
                                    Epilogue::Bias(bias) => Some(bias[j]),
                                    Epilogue::Gather { .. } => Some(table[ids[i] as usize * n + j]),
                                };
                                let (found, expected) = (c[i * (n + 1) + j], defined(isa, terms, old, added));
                                assert!(
                                    found.to_bits() == expected.to_bits(),
                                    "{} {m}×{n}×{k} ({i}, {j}) {accumulate} {epilogue:?}: {found} {expected}",
                                    isa.name()
                                );
                            }
                            assert_eq!(c[i * (n + 1) + n], before[i * (n + 1) + n], "the padding is not written");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn products_agree_with_sums_in_double_precision() {
    let (m, n, k) = (17, 100, 600);
    let (a, b) = (values(m * k), values(k * n));
    for isa in Isa::available() {
        let mut packed = PackedMatrix::new(isa, k, n);
        packed.pack(&b, n);
        let mut c = vec![0.0; m * n];
        packed.multiply(m, MatRef::row_major(&a, k), &mut c, n, false, Epilogue::None);
        for (index, found) in c.iter().enumerate() {
            let terms = (0..k).map(|p| f64::from(a[index / n * k + p]) * f64::from(b[p * n + index % n]));
            let expected: f64 = terms.sum();
            // rounding errors of k terms below 1 add up like a random walk: about √k · 2⁻²⁴ each way
            let tolerance = 2e-6 * (k as f64).sqrt();
            assert!((f64::from(*found) - expected).abs() <= tolerance, "{}: {found} {expected}", isa.name());
        }
    }
}

#[test]
fn a_transposed_operand_gives_the_same_bits_as_its_row_major_copy() {
    for isa in Isa::available() {
        // a transposed A with few rows is read in place, one with many is packed in strips
        for m in [9, UNPACKED_MAX_LDA, UNPACKED_MAX_LDA + 11] {
            let (n, k) = (33, 300);
            let (a, b) = (values(m * k), values(k * n));
            let b_transposed: Vec<f32> = (0..n * k).map(|i| b[i % k * n + i / k]).collect();
            let a_transposed: Vec<f32> = (0..k * m).map(|i| a[i % m * k + i / m]).collect();
            let (mut plain, mut transposed) = (PackedMatrix::new(isa, k, n), PackedMatrix::new(isa, k, n));
            plain.pack(&b, n);
            transposed.pack_transposed(&b_transposed, k);
            let (mut c, mut d) = (vec![0.0; m * n], vec![0.0; m * n]);
            plain.multiply(m, MatRef::row_major(&a, k), &mut c, n, false, Epilogue::None);
            transposed.multiply(m, MatRef::transposed(&a_transposed, m), &mut d, n, false, Epilogue::None);
            assert_eq!(bits(&c), bits(&d));
        }
    }
}

#[test]
fn a_right_operand_in_place_gives_the_same_bits_as_a_packed_one() {
    for isa in Isa::available() {
        // panels that are whole, narrow and padded
        for n in [28, 32, 48, 64, 100, 112, 256] {
            let (m, k) = (UNPACKED_MAX_ROWS, 300);
            let (a, b) = (values(m * k), values(k * n));
            let (a, b_in_place) = (MatRef::transposed(&a, m), MatRef::row_major(&b, n));
            assert!(reads_in_place(b_in_place, m));
            let (mut c, mut d) = (vec![0.0; m * n], vec![0.0; m * n]);
            let mut packed = PackedMatrix::new(isa, k, n);
            packed.pack(&b, n);
            packed.multiply(m, a, &mut c, n, false, Epilogue::None);
            let to = Store { stride: n, accumulate: false, epilogue: Epilogue::None };
            multiply_in_place([m, k, n], [a, b_in_place], &mut PackedMatrix::new(isa, 0, 0), &mut d, to);
            assert_eq!(bits(&c), bits(&d), "{} {n}", isa.name());
        }
    }
}

#[test]
fn splitting_rows_changes_no_bit_and_nan_propagates() {
    for isa in Isa::available() {
        let (m, n, k) = (23, 40, 300);
        let (mut a, b) = (values(m * k), values(k * n));
        a[5 * k + 7] = f32::NAN;
        let mut packed = PackedMatrix::new(isa, k, n);
        packed.pack(&b, n);
        let mut whole = vec![0.0; m * n];
        packed.multiply(m, MatRef::row_major(&a, k), &mut whole, n, false, Epilogue::None);
        assert!(whole[5 * n..6 * n].iter().all(|c| c.is_nan()) && whole[6 * n..].iter().all(|c| c.is_finite()));
        for rows in [1, 3, 8, 16] {
            let mut parts = vec![0.0; m * n];
            for first in (0..m).step_by(rows) {
                let a = MatRef::row_major(&a[first * k..], k);
                packed.multiply(rows.min(m - first), a, &mut parts[first * n..], n, false, Epilogue::None);
            }
            assert_eq!(bits(&parts), bits(&whole), "{} in blocks of {rows}", isa.name());
        }
    }
}

#[test]
fn a_single_row_has_the_same_bits_on_any_number_of_threads_and_among_others() {
    // more elements than `PARALLEL_ROW_MIN_LEN`, and a last panel with padding
    let (k, n, ids) = (515, 301, [1, 0]);
    let (a, b, table) = (values(2 * k), values(k * n), values(2 * n));
    let gather = Epilogue::Gather { values: &table, stride: n, ids: &ids };
    for isa in Isa::available() {
        let mut packed = PackedMatrix::new(isa, k, n);
        packed.pack(&b, n);
        for (accumulate, epilogue) in
            [(false, Epilogue::None), (true, Epilogue::None), (false, Epilogue::Bias(&b)), (true, gather)]
        {
            let run = |threads: usize, m: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut c = values(m * n);
                pool.install(|| packed.multiply(m, MatRef::row_major(&a, k), &mut c, n, accumulate, epilogue));
                c
            };
            let expected = bits(&run(1, 2)[..n]);
            for threads in [1, 2, 3, 16] {
                assert_eq!(bits(&run(threads, 1)), expected, "{} {epilogue:?} on {threads} threads", isa.name());
            }
        }
    }
}
