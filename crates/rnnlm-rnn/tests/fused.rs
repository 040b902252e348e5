//! The fused path of the CPU against the reference path, for every cell and instruction set and for sizes around the block
//! sizes. The table of checks in `tests/` covers more.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rnnlm_rnn::{Cell, ExecutionPath, Input, ParameterLayout, ParameterSet, Stack, StackConfig, StackMemory};
use rnnlm_tensor::cpu::Isa;
use rnnlm_tensor::{Cpu, Tensor};
use support::{difference, values};

/// The cells that have a fused step; the others have no fused path to test.
fn fused_cells() -> impl Iterator<Item = Cell> {
    Cell::ALL.into_iter().filter(|cell| cell.has_fused_cpu_step())
}

struct Results {
    output: Vec<f32>,
    state: Vec<f32>,
    /// The gradient of the first layer's initial hidden state, if requested.
    grad_initial: Vec<f32>,
    gradients: Vec<f32>,
    input: Vec<f32>,
}

fn run(cpu: &Cpu, path: ExecutionPath, config: StackConfig, sizes: [usize; 2], one_hot: bool) -> Results {
    run_with(cpu, path, config, sizes, one_hot, |memory| memory)
}

fn run_with(
    cpu: &Cpu,
    path: ExecutionPath,
    config: StackConfig,
    [t, n]: [usize; 2],
    one_hot: bool,
    configure: impl Fn(StackMemory<Cpu>) -> StackMemory<Cpu>,
) -> Results {
    let mut layout = ParameterLayout::default();
    let stack = Stack::new(&mut layout, config).unwrap();
    let mut parameters = ParameterSet::zeros(cpu, &layout).unwrap();
    let scale = 1.0 / (config.hidden_size as f32).sqrt();
    parameters.write(cpu, &values(layout.len(), 1).iter().map(|v| v * scale).collect::<Vec<_>>()).unwrap();
    let mut state = stack.zero_state(cpu, n).unwrap();
    let [rows, cols] = state.hidden.shape();
    state.hidden.write(cpu, &values(rows * cols, 2)).unwrap();
    let [rows, cols] = state.cell.shape();
    state.cell.write(cpu, &values(rows * cols, 3)).unwrap();
    let mut memory = configure(stack.memory(cpu, path, [t, n]).unwrap());
    let ids: Vec<u32> = (0..t * n).map(|i| (i * 7 % config.input_size) as u32).collect();
    let x = Tensor::from_slice(cpu, t * n, config.input_size, &values(t * n * config.input_size, 4)).unwrap();
    let input = if one_hot { Input::OneHot(&ids) } else { Input::Dense(x.view()) };
    stack.forward(cpu, &parameters, input, &mut state, &mut memory).unwrap();
    let output = stack.output(&memory);
    let grad = Tensor::from_slice(cpu, t * n, config.output_size(), &values(t * n * config.output_size(), 5)).unwrap();
    let mut copy = Tensor::zeros(cpu, t * n, config.output_size()).unwrap();
    rnnlm_tensor::ops::copy(cpu, output, copy.view_mut()).unwrap();
    let mut gradients = ParameterSet::zeros(cpu, &layout).unwrap();
    let mut dx = Tensor::zeros(cpu, t * n, config.input_size).unwrap();
    let dx_view = (!one_hot).then(|| dx.view_mut());
    let sets = std::slice::from_mut(&mut gradients);
    stack.backward(cpu, &parameters, input, grad.view(), &mut memory, sets, dx_view).unwrap();
    Results {
        output: copy.to_vec(cpu).unwrap(),
        state: [state.hidden.to_vec(cpu).unwrap(), state.cell.to_vec(cpu).unwrap()].concat(),
        grad_initial: memory.adjoint(0).hidden.to_vec(cpu).unwrap(),
        gradients: gradients.to_vec(cpu).unwrap(),
        input: dx.to_vec(cpu).unwrap(),
    }
}

#[test]
fn every_cell_agrees_with_the_reference_on_every_instruction_set() {
    for isa in Isa::available() {
        let cpu = Cpu::new(2).unwrap().with_isa(isa);
        for cell in fused_cells() {
            for (t, n, d, h) in [(1, 1, 2, 1), (2, 3, 5, 7), (5, 17, 28, 33), (3, 32, 28, 64), (2, 66, 28, 64)] {
                for (num_layers, bidirectional, one_hot) in [(1, false, true), (1, false, false), (2, true, true)] {
                    let config =
                        StackConfig { cell, input_size: d, hidden_size: h, num_layers, bidirectional, residual: false };
                    let reference = run(&cpu, ExecutionPath::Reference, config, [t, n], one_hot);
                    let fused = run(&cpu, ExecutionPath::Fused, config, [t, n], one_hot);
                    let pairs = [
                        ("output", &fused.output, &reference.output),
                        ("state", &fused.state, &reference.state),
                        ("gradients", &fused.gradients, &reference.gradients),
                        ("input", &fused.input, &reference.input),
                    ];
                    for (what, found, expected) in pairs {
                        let worst = difference(found, expected);
                        // sums of up to 560 terms in another order, and functions within 3 ulp: about 1e-6 is observed
                        assert!(
                            worst < 1e-5,
                            "{} {what} {} {config:?} T {t} N {n}: {worst:e}",
                            isa.name(),
                            cell.name()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn omitting_the_gradient_of_the_initial_state_changes_no_other_bit() {
    let cpu = Cpu::new(2).unwrap();
    for cell in fused_cells() {
        for path in [ExecutionPath::Reference, ExecutionPath::Fused] {
            let config = StackConfig {
                cell,
                input_size: 9,
                hidden_size: 12,
                num_layers: 2,
                bidirectional: true,
                residual: false,
            };
            let all = run(&cpu, path, config, [4, 6], false);
            let fewer = run_with(&cpu, path, config, [4, 6], false, StackMemory::without_initial_gradients);
            assert_eq!(all.gradients, fewer.gradients, "{} {path:?}", cell.name());
            assert_eq!(all.input, fewer.input, "{} {path:?}", cell.name());
            // the reference path computes it anyway
            assert_eq!(
                all.grad_initial != fewer.grad_initial,
                path == ExecutionPath::Fused,
                "{} {path:?}",
                cell.name()
            );
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    const NUM_STEPS: usize = 5;
    for (hidden_size, batch_size) in [(40, 45), (64, 70), (128, 70)] {
        let starts: Vec<bool> = values(NUM_STEPS * batch_size, 6).iter().map(|&value| value > 0.6).collect();
        for (cell, starts) in fused_cells().flat_map(|cell| [(cell, None), (cell, Some(&*starts))]) {
            let config =
                StackConfig { cell, input_size: 28, hidden_size, num_layers: 1, bidirectional: false, residual: false };
            let run = |threads| {
                let cpu = Cpu::new(threads).unwrap();
                run_with(&cpu, ExecutionPath::Fused, config, [NUM_STEPS, batch_size], true, |mut memory| {
                    memory.set_starts(&cpu, starts).unwrap();
                    memory
                })
            };
            let (one, two, five) = (run(1), run(2), run(5));
            for other in [two, five] {
                assert_eq!(one.output, other.output, "{} N {batch_size}", cell.name());
                assert_eq!(one.gradients, other.gradients, "{} N {batch_size}", cell.name());
            }
        }
    }
}
