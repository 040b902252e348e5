//! Every operation with values that can be checked by hand, and the error messages. The package `rnnlm-tests` compares the
//! operations of all devices with naive loops on many shapes.

use rnnlm_tensor::{Activation, Backend, Cpu, Tensor, Transpose, Update, ops};

type Check = Result<(), rnnlm_tensor::Error>;

fn cpu() -> Cpu {
    Cpu::new(2).expect("two threads")
}

fn matrix(rows: usize, cols: usize, values: &[f32]) -> Tensor<Cpu> {
    Tensor::from_slice(&cpu(), rows, cols, values).expect("as many values as elements")
}

fn ids(values: &[u32]) -> Vec<u32> {
    values.to_vec()
}

#[test]
fn gemm_multiplies_with_each_transposition() -> Check {
    let (a, b) = (matrix(2, 2, &[1.0, 2.0, 3.0, 4.0]), matrix(2, 2, &[5.0, 6.0, 7.0, 8.0]));
    let expected = [
        (Transpose::NN, [19.0, 22.0, 43.0, 50.0]),
        (Transpose::NT, [17.0, 23.0, 39.0, 53.0]),
        (Transpose::TN, [26.0, 30.0, 38.0, 44.0]),
    ];
    for (transpose, values) in expected {
        let mut out = matrix(2, 2, &[1.0; 4]);
        ops::gemm(&cpu(), transpose, a.view(), b.view(), false, out.view_mut())?;
        assert_eq!(out.to_vec(&cpu())?, values, "{transpose:?}");
        ops::gemm(&cpu(), transpose, a.view(), b.view(), true, out.view_mut())?;
        assert_eq!(out.to_vec(&cpu())?, values.map(|v| 2.0 * v), "{transpose:?} accumulated");
    }
    Ok(())
}

#[test]
fn gemm_multiplies_a_single_row() -> Check {
    // Σ i·(i mod 7), computed in integers
    let a: Vec<f32> = (0..150).map(|i| i as f32).collect();
    let b: Vec<f32> = (0..300).map(|i| (i % 7) as f32).collect();
    let dot = |row: usize| (0..150).map(|i| i * ((row * 150 + i) % 7)).sum::<usize>() as f32;
    let mut out = matrix(1, 2, &[1.0, 1.0]);
    ops::gemm(&cpu(), Transpose::NT, matrix(1, 150, &a).view(), matrix(2, 150, &b).view(), true, out.view_mut())?;
    // every partial sum is an integer below 2^24, so nothing is rounded
    assert_eq!(out.to_vec(&cpu())?, [dot(0) + 1.0, dot(1) + 1.0]);
    Ok(())
}

#[test]
fn gemm_multiplies_packed_and_unpacked_right_operands() -> Check {
    // 64 and 96 columns are whole panels for every instruction set, 70 and 100 are not, and 5 are less than one panel; 300 rows
    // are more than one block of K. Small integers, so that nothing is rounded
    let (k, m) = (300, 19);
    let a: Vec<f32> = (0..k * m).map(|i| (i % 11) as f32 - 5.0).collect();
    for (n, gap) in [(64, 0), (96, 0), (64, 7), (70, 0), (100, 3), (5, 0)] {
        let stride = n + gap;
        let b: Vec<f32> = (0..k * stride).map(|i| (i % 13) as f32 - 6.0).collect();
        let mut out = matrix(m, n, &vec![1.0; m * n]);
        let (left, right) = (matrix(k, m, &a), matrix(k, stride, &b));
        ops::gemm(&cpu(), Transpose::TN, left.view(), right.view().cols(0..n), true, out.view_mut())?;
        let element = |i: usize| (0..k).map(|p| a[p * m + i / n] * b[p * stride + i % n]).sum::<f32>() + 1.0;
        assert_eq!(out.to_vec(&cpu())?, (0..m * n).map(element).collect::<Vec<_>>(), "{n} columns, stride {stride}");
    }
    Ok(())
}

#[test]
fn operations_accept_blocks_of_rows_and_columns() -> Check {
    let a = matrix(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let mut out = matrix(2, 3, &[0.0; 6]);
    ops::copy(&cpu(), a.view().cols(1..3), out.view_mut().cols(0..2))?;
    ops::axpy(&cpu(), 10.0, a.view().rows(1..2), out.view_mut().rows(0..1))?;
    assert_eq!(out.to_vec(&cpu())?, [42.0, 53.0, 60.0, 5.0, 6.0, 0.0]);
    Ok(())
}

#[test]
fn gather_columns_and_its_gradient() -> Check {
    let (table, ids) = (matrix(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), ids(&[2, 0, 2]));
    let mut out = matrix(3, 2, &[0.0; 6]);
    ops::gather_columns(&cpu(), table.view(), &ids, out.view_mut())?;
    assert_eq!(out.to_vec(&cpu())?, [3.0, 6.0, 1.0, 4.0, 3.0, 6.0]);
    let mut gradient = matrix(2, 3, &[0.0; 6]);
    let mut sum = matrix(1, 2, &[0.5, 0.0]);
    ops::scatter_add_columns(&cpu(), out.view(), &ids, gradient.view_mut(), sum.view_mut())?;
    assert_eq!(gradient.to_vec(&cpu())?, [1.0, 0.0, 6.0, 4.0, 0.0, 12.0]);
    assert_eq!(sum.to_vec(&cpu())?, [7.5, 16.0]);
    Ok(())
}

#[test]
fn gather_rows_and_its_gradient() -> Check {
    let (table, ids) = (matrix(3, 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), ids(&[1, 1]));
    let mut out = matrix(2, 2, &[0.0; 4]);
    ops::gather_rows(&cpu(), table.view(), &ids, out.view_mut())?;
    assert_eq!(out.to_vec(&cpu())?, [3.0, 4.0, 3.0, 4.0]);
    let mut gradient = matrix(3, 2, &[0.0; 6]);
    ops::scatter_add_rows(&cpu(), out.view(), &ids, gradient.view_mut())?;
    assert_eq!(gradient.to_vec(&cpu())?, [0.0, 0.0, 6.0, 8.0, 0.0, 0.0]);
    Ok(())
}

#[test]
fn relu_keeps_nan_and_has_derivative_zero_at_zero() -> Check {
    let mut values = matrix(1, 4, &[-1.0, 0.0, 2.0, f32::NAN]);
    ops::activate(&cpu(), Activation::Relu, values.view_mut())?;
    let out = values.to_vec(&cpu())?;
    assert_eq!(out[..3], [0.0, 0.0, 2.0]);
    assert!(out[3].is_nan(), "a divergence must not be hidden");
    let mut gradient = matrix(1, 3, &[5.0, 5.0, 5.0]);
    ops::activate_backward(&cpu(), Activation::Relu, values.view().cols(0..3), gradient.view_mut())?;
    assert_eq!(gradient.to_vec(&cpu())?, [0.0, 0.0, 5.0]);
    Ok(())
}

#[test]
fn softmax_cross_entropy_treats_each_row_separately() -> Check {
    // more rows of 28 logits than one block of exponentials; two logits are 40 larger than the others, so that
    // e^0 + 26·e^−40 + e^0 = 2: the loss is ln 2, and the gradient is ½ − 1 and ½
    for gap in [0, 3] {
        let (rows, cols) = (150, 28);
        let stride = cols + gap;
        let largest = |row: usize| [row % cols, (row * 5 + 3) % cols];
        let target = |row: usize| largest(row)[row % 2] as u32;
        let mut logits = vec![-7.0; rows * stride];
        for row in 0..rows {
            logits[row * stride..][..cols].fill(row as f32 - 40.0);
            for col in largest(row) {
                logits[row * stride + col] = row as f32;
            }
        }
        let mut logits = matrix(rows, stride, &logits);
        let (targets, mut losses) = ((0..rows).map(target).collect::<Vec<_>>(), matrix(rows, 1, &vec![0.0; rows]));
        let view = logits.view_mut().cols(0..cols);
        ops::softmax_cross_entropy(&cpu(), 1.0, 0.0, &targets, 0..rows, view, losses.view_mut())?;
        let (losses, gradients) = (losses.to_vec(&cpu())?, logits.to_vec(&cpu())?);
        for row in 0..rows {
            let [first, second] = largest(row);
            if first == second {
                continue;
            }
            // one unit in the last place of a number below 1
            assert!((losses[row] - std::f32::consts::LN_2).abs() < 1e-7, "row {row}, gap {gap}: {}", losses[row]);
            for (col, gradient) in gradients[row * stride..][..cols].iter().enumerate() {
                let of_largest = if col as u32 == target(row) { -0.5 } else { 0.5 };
                let expected = if col == first || col == second { of_largest } else { 0.0 };
                assert!((gradient - expected).abs() < 1e-7, "row {row}, column {col}, gap {gap}: {gradient}");
            }
            assert!(
                gradients[row * stride + cols..][..gap].iter().all(|&value| value == -7.0),
                "another column was written"
            );
        }
    }
    Ok(())
}

#[test]
fn cross_entropy_of_equal_logits_is_ln_v() -> Check {
    let mut logits = matrix(2, 4, &[7.0, 7.0, 7.0, 7.0, 0.0, 0.0, 3.0_f32.ln(), 0.0]);
    let mut losses = matrix(2, 1, &[0.0; 2]);
    ops::softmax_cross_entropy(&cpu(), 0.5, 0.0, &ids(&[1, 2]), 0..2, logits.view_mut(), losses.view_mut())?;
    // second row: softmax = [1/6, 1/6, 3/6, 1/6]
    let expected = [0.125, -0.375, 0.125, 0.125, 1.0 / 12.0, 1.0 / 12.0, -0.25, 1.0 / 12.0];
    for (found, expected) in logits.to_vec(&cpu())?.iter().zip(expected) {
        // a few roundings of numbers below 1
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    let losses = losses.to_vec(&cpu())?;
    assert!((losses[0] - 4.0_f32.ln()).abs() < 1e-6 && (losses[1] - 2.0_f32.ln()).abs() < 1e-6, "{losses:?}");
    Ok(())
}

#[test]
fn clip_factor_scales_the_global_norm_to_its_bound() -> Check {
    let gradients = matrix(1, 2, &[3.0, 4.0]);
    let (mut squares, mut factor) = (matrix(1, 1, &[0.0]), matrix(1, 1, &[0.0]));
    ops::sum_squares(&cpu(), gradients.view(), squares.view_mut())?;
    assert_eq!(squares.to_vec(&cpu())?, [25.0]);
    ops::clip_factor(&cpu(), squares.view(), 1.0, factor.view_mut())?;
    let mut parameters = matrix(1, 2, &[1.0, 1.0]);
    let rule = Update::Sgd { lr: 0.5, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    let (mut first, mut second) = (matrix(0, 0, &[]), matrix(0, 0, &[]));
    let state = [first.view_mut(), second.view_mut()];
    ops::update(&cpu(), rule, factor.view(), gradients.view(), state, parameters.view_mut())?;
    let found = parameters.to_vec(&cpu())?;
    assert!((found[0] - 0.7).abs() < 1e-6 && (found[1] - 0.6).abs() < 1e-6, "{found:?}");
    ops::clip_factor(&cpu(), squares.view(), 5.1, factor.view_mut())?;
    assert_eq!(factor.to_vec(&cpu())?, [1.0], "a norm below the bound is not scaled");
    Ok(())
}

#[test]
fn a_nonfinite_step_skips_its_update_and_all_later_ones() -> Check {
    let adam = Update::Adam {
        lr: 0.5,
        betas: [0.9, 0.99],
        eps: 1e-8,
        weight_decay: 0.1,
        decoupled: true,
        bias_corrections: [0.1, 0.1],
    };
    for (loss, sum_squares, is_skipped) in
        [(3.0, 1.0, 0.0), (3.5, 1.0, 1.0), (f32::NAN, 1.0, 1.0), (3.0, f32::INFINITY, 1.0), (3.0, f32::NAN, 1.0)]
    {
        let what = format!("loss {loss}, Σ g² {sum_squares}");
        let mut skipped = matrix(1, 1, &[0.0]);
        // a second, finite step changes nothing
        for (loss, sum_squares) in [(loss, sum_squares), (1.0, 1.0)] {
            let (loss, sum_squares) = (matrix(1, 1, &[loss]), matrix(1, 1, &[sum_squares]));
            let mut factor = matrix(1, 1, &[1.0]);
            ops::skip_nonfinite(&cpu(), 3.0, loss.view(), sum_squares.view(), skipped.view_mut(), factor.view_mut())?;
            assert_eq!(skipped.to_vec(&cpu())?, [is_skipped], "{what}");
            let [mut means, mut squares, mut parameters] = [2.0, 3.0, 4.0].map(|value| matrix(1, 1, &[value]));
            let (gradients, state) = (matrix(1, 1, &[5.0]), [means.view_mut(), squares.view_mut()]);
            ops::update(&cpu(), adam, factor.view(), gradients.view(), state, parameters.view_mut())?;
            for (tensor, before) in [(means, 2.0), (squares, 3.0), (parameters, 4.0)] {
                assert_eq!(tensor.to_vec(&cpu())?[0] == before, is_skipped == 1.0, "{what}");
            }
        }
    }
    Ok(())
}

#[test]
fn zero_rows_selects_rows_by_a_range_of_the_mask() -> Check {
    let mut out = matrix(3, 3, &[1.0, 2.0, 3.0, f32::NAN, f32::INFINITY, 6.0, 7.0, 8.0, 9.0]);
    let mask = ids(&[1, 0, 1, 7, 0]);
    // rows 1 and 2 have the flags 1 and 7; the last column is outside the view
    ops::zero_rows(&cpu(), &mask, 1..4, out.view_mut().cols(0..2))?;
    assert_eq!(out.to_vec(&cpu())?, [1.0, 2.0, 3.0, 0.0, 0.0, 6.0, 0.0, 0.0, 9.0]);
    let error = ops::zero_rows(&cpu(), &mask, 1..3, out.view_mut()).unwrap_err();
    assert_eq!(error.to_string(), "zero_rows: 3 flags are needed, 2 were given");
    let error = ops::zero_rows(&cpu(), &mask, 3..6, out.view_mut()).unwrap_err();
    assert_eq!(error.to_string(), "zero_rows: 3 flags are needed, 2 were given");
    Ok(())
}

#[test]
fn copy_indices_copies_a_range_and_checks_its_end() -> Check {
    let (all, mut some) = (ids(&[4, 5, 6, 7]), ids(&[0, 0]));
    cpu().copy_indices(&all, 1, &mut some)?;
    assert_eq!(some, [5, 6]);
    let error = cpu().copy_indices(&all, 3, &mut some).unwrap_err();
    assert_eq!(error.to_string(), "copy_indices: 2 ids are needed, 1 were given");
    Ok(())
}

#[test]
fn add_row_sum_rows_sum_multiply_and_fill() -> Check {
    let mut out = matrix(2, 2, &[1.0, 2.0, 3.0, 4.0]);
    ops::add_row(&cpu(), matrix(1, 2, &[10.0, 20.0]).view(), out.view_mut())?;
    assert_eq!(out.to_vec(&cpu())?, [11.0, 22.0, 13.0, 24.0]);
    let mut sums = matrix(1, 2, &[1.0, 1.0]);
    ops::sum_rows(&cpu(), out.view(), sums.view_mut())?;
    assert_eq!(sums.to_vec(&cpu())?, [25.0, 47.0]);
    let mut total = matrix(1, 1, &[0.0]);
    ops::sum(&cpu(), out.view(), total.view_mut())?;
    assert_eq!(total.to_vec(&cpu())?, [70.0]);
    let mut product = matrix(2, 2, &[0.0; 4]);
    ops::multiply(&cpu(), out.view(), out.view(), false, product.view_mut())?;
    ops::fill(&cpu(), 0.0, product.view_mut().rows(0..1))?;
    assert_eq!(product.to_vec(&cpu())?, [0.0, 0.0, 169.0, 576.0]);
    Ok(())
}

#[test]
fn a_padded_matrix_returns_what_was_written() -> Check {
    // incomplete vectors, whole vectors, and a stride of one page, which is avoided
    for (rows, cols) in [(1, 5), (3, 1), (4, 16), (3, 100), (2, 1024)] {
        let values: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
        let mut padded = Tensor::padded(&cpu(), rows, cols)?;
        padded.write(&cpu(), &values)?;
        let layout = padded.view().layout;
        assert!(
            layout.stride.is_multiple_of(16) && layout.stride != 1024,
            "{cols} columns have stride {}",
            layout.stride
        );
        assert_eq!((layout.cols + layout.padding, padded.to_vec(&cpu())?), (layout.stride, values.clone()));
        let last = padded.view().rows(rows - 1..rows).cols(cols - 1..cols);
        assert_eq!(last.to_vec(&cpu())?, values[values.len() - 1..]);
        // a block of columns has padding only if it includes the last column
        assert_eq!((last.layout.padding, padded.view().cols(0..cols - 1).layout.padding), (layout.padding, 0));
    }
    Ok(())
}

#[test]
fn linear_adds_the_bias_and_writes_only_its_output() -> Check {
    let (x_at, weight_at) =
        (|r: usize, p: usize| ((r * 7 + p * 3) % 5) as f32, |c: usize, p: usize| ((c + p * 2) % 7) as f32 - 3.0);
    // one row to several tiles, one and two blocks of K, complete and incomplete vectors
    for rows in [1, 3, 4, 40] {
        for inner in [1, 5, 300] {
            for cols in [1, 28, 33, 64] {
                let all = |rows, cols, at: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
                    (0..rows * cols).map(|i| at(i / cols, i % cols)).collect()
                };
                let x = matrix(rows, inner, &all(rows, inner, &x_at));
                let weight = matrix(cols, inner, &all(cols, inner, &weight_at));
                let bias = matrix(1, cols, &all(1, cols, &|_, c| c as f32));
                // small integers, whose sums are exact in any order
                let sum = |r, c| c as f32 + (0..inner).map(|p| x_at(r, p) * weight_at(c, p)).sum::<f32>();
                let mut padded = Tensor::padded(&cpu(), rows, cols)?;
                ops::linear(&cpu(), x.view(), weight.view(), bias.view(), padded.view_mut())?;
                assert_eq!(padded.to_vec(&cpu())?, all(rows, cols, &sum), "{rows}×{inner}×{cols}");
                let mut wider = matrix(rows, cols + 3, &vec![0.5; rows * (cols + 3)]);
                ops::linear(&cpu(), x.view(), weight.view(), bias.view(), wider.view_mut().cols(1..cols + 1))?;
                let expected = |r, c| if (1..=cols).contains(&c) { sum(r, c - 1) } else { 0.5 };
                assert_eq!(
                    wider.to_vec(&cpu())?,
                    all(rows, cols + 3, &expected),
                    "{rows}×{inner}×{cols} in a wider one"
                );
            }
        }
    }
    let [x, weight, bias] = [matrix(2, 3, &[0.0; 6]), matrix(2, 4, &[0.0; 8]), matrix(1, 2, &[0.0; 2])];
    let error =
        ops::linear(&cpu(), x.view(), weight.view(), bias.view(), matrix(2, 2, &[0.0; 4]).view_mut()).unwrap_err();
    assert_eq!(error.to_string(), "linear: x is 2×3, weight is 2×4");
    Ok(())
}

#[test]
fn add_row_adds_to_every_row_and_to_no_other_column() -> Check {
    for (rows, cols, gap) in [(40, 28, 0), (40, 28, 5), (3, 300, 0), (37, 1, 0)] {
        let bias: Vec<f32> = (0..cols).map(|i| i as f32).collect();
        let mut out = matrix(rows, cols + gap, &vec![0.5; rows * (cols + gap)]);
        ops::add_row(&cpu(), matrix(1, cols, &bias).view(), out.view_mut().cols(0..cols))?;
        let expected = |i: usize| if i % (cols + gap) < cols { (i % (cols + gap)) as f32 + 0.5 } else { 0.5 };
        let expected: Vec<f32> = (0..rows * (cols + gap)).map(expected).collect();
        assert_eq!(out.to_vec(&cpu())?, expected, "{rows} × {cols}, gap {gap}");
    }
    Ok(())
}

#[test]
fn sums_fills_and_updates_of_long_rows_include_every_element() -> Check {
    // one block, one block and one element, several blocks and a remainder
    for len in [1 << 14, (1 << 14) + 1, 50_001] {
        // small integers, whose sums are exact in any order
        let values: Vec<f32> = (0..len).map(|i| (i % 5) as f32 - 1.0).collect();
        let (mut sum, mut squares) = (0.0, 0.0);
        values.iter().for_each(|v| (sum, squares) = (sum + v, squares + v * v));
        for threads in [1, 2, 3] {
            let cpu = Cpu::new(threads)?;
            let gradients = Tensor::from_slice(&cpu, 1, len, &values)?;
            let mut out = Tensor::zeros(&cpu, 1, 1)?;
            ops::sum(&cpu, gradients.view(), out.view_mut())?;
            assert_eq!(out.to_vec(&cpu)?, [sum], "{len} on {threads} threads");
            ops::sum_squares(&cpu, gradients.view(), out.view_mut())?;
            assert_eq!(out.to_vec(&cpu)?, [squares], "{len} on {threads} threads");
            let mut parameters = Tensor::zeros(&cpu, 1, len)?;
            ops::fill(&cpu, 3.0, parameters.view_mut())?;
            ops::fill(&cpu, 0.5, out.view_mut())?;
            let rule = Update::Sgd { lr: 2.0, momentum: 0.5, nesterov: false, weight_decay: 0.0 };
            let mut buffers = [Tensor::from_slice(&cpu, 1, len, &vec![2.0; len])?, Tensor::zeros(&cpu, 1, 0)?];
            let state = buffers.each_mut().map(Tensor::view_mut);
            ops::update(&cpu, rule, out.view(), gradients.view(), state, parameters.view_mut())?;
            // m = ½·2 + ½·g, w = 3 − 2·m
            let expected: Vec<f32> = values.iter().map(|g| 3.0 - 2.0 * (1.0 + 0.5 * g)).collect();
            assert_eq!(parameters.to_vec(&cpu)?, expected, "{len} on {threads} threads");
        }
    }
    Ok(())
}

#[test]
fn errors_state_both_values() {
    let (a, b) = (matrix(2, 3, &[0.0; 6]), matrix(4, 5, &[0.0; 20]));
    let mut out = matrix(2, 5, &[0.0; 10]);
    let error = ops::gemm(&cpu(), Transpose::NN, a.view(), b.view(), false, out.view_mut()).unwrap_err();
    assert_eq!(error.to_string(), "gemm A·B: a is 2×3, b is 4×5");
    let error = ops::copy(&cpu(), a.view(), out.view_mut()).unwrap_err();
    assert_eq!(error.to_string(), "copy: a is 2×3, out is 2×5");
    let error = ops::gather_rows(&cpu(), b.view(), &ids(&[0, 9]), out.view_mut()).unwrap_err();
    assert_eq!(error.to_string(), "gather_rows: id 9 is outside a table of 4");
    let error = ops::gather_rows(&cpu(), b.view(), &ids(&[0]), out.view_mut()).unwrap_err();
    assert_eq!(error.to_string(), "gather_rows: 2 ids are needed, 1 were given");
    let error = Tensor::from_slice(&cpu(), 2, 2, &[1.0]).unwrap_err();
    assert_eq!(error.to_string(), "write: 4 values are needed, 1 were given");
    assert!(cpu().read(&cpu().allocate(3).unwrap(), 2, &mut [0.0; 2]).is_err());
}

#[test]
fn running_out_of_memory_is_an_error() {
    let error = cpu().allocate(usize::MAX / 8).unwrap_err();
    assert!(error.to_string().starts_with("cpu: "), "{error}");
    // rows · cols overflows
    let error = Tensor::zeros(&cpu(), usize::MAX / 2, 4).unwrap_err();
    assert!(error.to_string().starts_with("cpu: "), "{error}");
}

#[test]
fn gemm_gives_the_same_bits_for_any_number_of_threads() -> Check {
    // outputs with many rows are split by rows, those with few rows by columns, with a smaller last part; more and less than
    // one block of K
    let sizes = [[100, 100, 90], [28, 250, 300], [4, 300, 260], [32, 33, 700], [7, 1000, 40], [136, 256, 700]];
    let values: Vec<f32> = (0..1000 * 700_i64).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    for ([rows, cols, inner], transpose) in sizes
        .iter()
        .flat_map(|&sizes| [Transpose::NN, Transpose::NT, Transpose::TN].map(|transpose| (sizes, transpose)))
    {
        let results = [1, 2, 3, 16].map(|threads| -> Result<Vec<f32>, rnnlm_tensor::Error> {
            let cpu = Cpu::new(threads)?;
            let [a, b] = match transpose {
                Transpose::NN => [[rows, inner], [inner, cols]],
                Transpose::NT => [[rows, inner], [cols, inner]],
                Transpose::TN => [[inner, rows], [inner, cols]],
            }
            .map(|[rows, cols]| Tensor::from_slice(&cpu, rows, cols, &values[..rows * cols]));
            let mut out = Tensor::from_slice(&cpu, rows, cols + 3, &values[..rows * (cols + 3)])?;
            ops::gemm(&cpu, transpose, a?.view(), b?.view(), true, out.view_mut().cols(1..cols + 1))?;
            ops::activate(&cpu, Activation::Tanh, out.view_mut())?;
            out.to_vec(&cpu)
        });
        let [one, others @ ..] = results;
        let one = one?;
        for other in others {
            assert_eq!(one, other?, "{transpose:?}, {rows} × {cols}, K = {inner}");
        }
    }
    Ok(())
}
