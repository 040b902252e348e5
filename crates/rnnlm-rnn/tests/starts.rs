//! Sequences that start inside a minibatch: each one has the results that it has alone, from the zero state.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::ops::Range;

use rnnlm_rnn::{
    Cell, Error, ExecutionPath, Input, ParameterLayout, ParameterSet, Stack, StackConfig, StackMemory, State,
};
use rnnlm_tensor::{Cpu, Tensor};
use support::{difference, values};

/// **T** and **N**.
const SIZES: [usize; 2] = [9, 20];
/// The paths of the CPU.
const PATHS: [ExecutionPath; 2] = [ExecutionPath::Reference, ExecutionPath::Fused];

/// A stack with random parameters, and its input and output gradient.
struct Fixture {
    cpu: Cpu,
    stack: Stack,
    parameters: ParameterSet<Cpu>,
    ids: Vec<u32>,
    x: Vec<f32>,
    grad_output: Vec<f32>,
    one_hot: bool,
}

/// The results of a forward and a backward pass.
#[derive(Debug, PartialEq)]
struct Results {
    output: Vec<f32>,
    hidden: Vec<f32>,
    cell: Vec<f32>,
    gradients: Vec<f32>,
    /// Of a dense input.
    grad_input: Vec<f32>,
    /// Of the lowest layer's gates.
    grad_gates: Vec<f32>,
    /// Of the lowest layer's initial state, hidden and cell.
    grad_initial: Vec<f32>,
}

impl Fixture {
    fn new(cell: Cell, num_layers: usize, one_hot: bool) -> Self {
        let cpu = Cpu::new(2).unwrap();
        let config =
            StackConfig { cell, input_size: 11, hidden_size: 33, num_layers, bidirectional: false, residual: false };
        let mut layout = ParameterLayout::default();
        let stack = Stack::new(&mut layout, config).unwrap();
        let mut parameters = ParameterSet::zeros(&cpu, &layout).unwrap();
        parameters.write(&cpu, &values(layout.len(), 1).iter().map(|v| v * 0.3).collect::<Vec<_>>()).unwrap();
        let rows = SIZES[0] * SIZES[1];
        let ids = (0..rows).map(|row| (row * 7 % 11) as u32).collect();
        let (x, grad_output) = (values(rows * 11, 2), values(rows * 33, 3));
        Self { cpu, stack, parameters, ids, x, grad_output, one_hot }
    }

    fn memory(&self, path: ExecutionPath, sizes: [usize; 2]) -> StackMemory<Cpu> {
        self.stack.memory(&self.cpu, path, sizes).unwrap()
    }

    /// A state without zeros.
    fn state(&self) -> State<Cpu> {
        let mut state = self.stack.zero_state(&self.cpu, SIZES[1]).unwrap();
        for (tensor, salt) in [(&mut state.hidden, 4), (&mut state.cell, 5)] {
            let [rows, cols] = tensor.shape();
            tensor.write(&self.cpu, &values(rows * cols, salt)).unwrap();
        }
        state
    }

    /// Forward and backward passes over the given rows of the `T·N`.
    fn run(&self, memory: &mut StackMemory<Cpu>, mut state: State<Cpu>, rows: &[usize]) -> Results {
        let cpu = &self.cpu;
        let select = |values: &[f32]| -> Vec<f32> {
            let width = values.len() / (SIZES[0] * SIZES[1]);
            rows.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect()
        };
        let ids = rows.iter().map(|&row| self.ids[row]).collect();
        let x = Tensor::from_slice(cpu, rows.len(), 11, &select(&self.x)).unwrap();
        let input = if self.one_hot { Input::OneHot(&ids) } else { Input::Dense(x.view()) };
        let grad_output = Tensor::from_slice(cpu, rows.len(), 33, &select(&self.grad_output)).unwrap();
        self.stack.forward(cpu, &self.parameters, input, &mut state, memory).unwrap();
        let mut gradients = ParameterSet::zeros(cpu, self.parameters.layout()).unwrap();
        let mut dx = Tensor::zeros(cpu, rows.len(), 11).unwrap();
        let dx_view = (!self.one_hot).then(|| dx.view_mut());
        let grad_output = grad_output.view();
        let sets = std::slice::from_mut(&mut gradients);
        self.stack.backward(cpu, &self.parameters, input, grad_output, memory, sets, dx_view).unwrap();
        let to_vec = |tensor: &Tensor<Cpu>| tensor.to_vec(cpu).unwrap();
        let adjoint = memory.adjoint(0);
        Results {
            output: self.stack.output(memory).to_vec(cpu).unwrap(),
            hidden: to_vec(&state.hidden),
            cell: to_vec(&state.cell),
            gradients: gradients.to_vec(cpu).unwrap(),
            grad_input: to_vec(&dx),
            grad_gates: to_vec(&adjoint.gates),
            grad_initial: [to_vec(&adjoint.hidden), to_vec(&adjoint.cell)].concat(),
        }
    }

    fn run_all(&self, memory: &mut StackMemory<Cpu>) -> Results {
        self.run(memory, self.state(), &(0..SIZES[0] * SIZES[1]).collect::<Vec<_>>())
    }
}

/// Flags of about a third of all rows, some of them in consecutive steps; row 0 starts at step 0, row 1 never.
fn flags() -> Vec<bool> {
    let [_, n] = SIZES;
    let mut flags: Vec<bool> = values(SIZES[0] * n, 6).iter().map(|&value| value > 0.3).collect();
    flags[0] = true;
    flags.iter_mut().skip(1).step_by(n).for_each(|flag| *flag = false);
    flags
}

/// The steps of each sequence in row `n` that starts inside the minibatch.
fn sequences(flags: &[bool], n: usize) -> Vec<Range<usize>> {
    let [t, batch_size] = SIZES;
    let mut starts: Vec<usize> = (0..t).filter(|t| flags[t * batch_size + n]).collect();
    starts.push(t);
    starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Every cell, with one and two layers, with one-hot and dense input; and a name.
fn fixtures() -> impl Iterator<Item = (String, Fixture)> {
    let inputs = [(1, true), (1, false), (2, true), (2, false)];
    let all = Cell::ALL.into_iter().flat_map(move |cell| inputs.map(|input| (cell, input)));
    all.map(|(cell, (num_layers, one_hot))| {
        let name = format!("{} L{num_layers} {}", cell.name(), if one_hot { "one-hot" } else { "dense" });
        (name, Fixture::new(cell, num_layers, one_hot))
    })
}

/// The rows `rows` of a matrix with `num_rows` rows, as bits.
fn bits_of_rows(values: &[f32], num_rows: usize, rows: &[usize]) -> Vec<u32> {
    let width = values.len() / num_rows;
    rows.iter().flat_map(|row| &values[row * width..(row + 1) * width]).map(|value| value.to_bits()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    bits_of_rows(values, 1, &[0])
}

#[test]
fn each_sequence_has_the_bits_that_it_has_alone() {
    let ([num_steps, batch_size], flags) = (SIZES, flags());
    for (name, fixture) in fixtures() {
        for path in PATHS {
            let mut memory = fixture.memory(path, SIZES);
            memory.set_starts(&fixture.cpu, Some(&flags)).unwrap();
            assert_eq!(memory.path(), path);
            let together = fixture.run_all(&mut memory);
            let num_layers = fixture.stack.layers().len();
            for (n, steps) in
                (0..batch_size).flat_map(|n| sequences(&flags, n).into_iter().map(move |steps| (n, steps)))
            {
                let rows: Vec<usize> = steps.clone().map(|t| t * batch_size + n).collect();
                let zero_state = fixture.stack.zero_state(&fixture.cpu, 1).unwrap();
                let alone = fixture.run(&mut fixture.memory(path, [rows.len(), 1]), zero_state, &rows);
                let place = format!("{name} {path:?} row {n} steps {steps:?}");
                for (together, alone) in [
                    (&together.output, &alone.output),
                    (&together.grad_input, &alone.grad_input),
                    (&together.grad_gates, &alone.grad_gates),
                ] {
                    assert_eq!(bits_of_rows(together, flags.len(), &rows), bits(alone), "{place}");
                }
                if steps.end == num_steps {
                    let rows: Vec<usize> = (0..num_layers).map(|layer| layer * batch_size + n).collect();
                    for (together, alone) in [(&together.hidden, &alone.hidden), (&together.cell, &alone.cell)] {
                        assert_eq!(bits_of_rows(together, num_layers * batch_size, &rows), bits(alone), "{place}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_gradients_of_parameters_are_the_sums_over_all_sequences() {
    let ([num_steps, batch_size], flags) = (SIZES, flags());
    // every row starts at step 0, so that no sequence reads the initial state
    let flags: Vec<bool> = flags.iter().enumerate().map(|(row, &flag)| flag || row < batch_size).collect();
    for (name, fixture) in fixtures() {
        let mut memory = fixture.memory(ExecutionPath::Fused, SIZES);
        memory.set_starts(&fixture.cpu, Some(&flags)).unwrap();
        let together = fixture.run_all(&mut memory);
        let mut sums = vec![0.0; together.gradients.len()];
        for (n, steps) in (0..batch_size).flat_map(|n| sequences(&flags, n).into_iter().map(move |steps| (n, steps))) {
            assert!(steps.end <= num_steps);
            let rows: Vec<usize> = steps.map(|t| t * batch_size + n).collect();
            let zero_state = fixture.stack.zero_state(&fixture.cpu, 1).unwrap();
            let alone = fixture.run(&mut fixture.memory(ExecutionPath::Fused, [rows.len(), 1]), zero_state, &rows);
            sums.iter_mut().zip(&alone.gradients).for_each(|(sum, gradient)| *sum += gradient);
        }
        // sums of 180 terms in another order
        assert!(difference(&together.gradients, &sums) < 1e-5, "{name}");
    }
}

#[test]
fn the_fused_path_agrees_with_the_reference_path() {
    for (name, fixture) in fixtures() {
        let [reference, fused] = PATHS.map(|path| {
            let mut memory = fixture.memory(path, SIZES);
            memory.set_starts(&fixture.cpu, Some(&flags())).unwrap();
            fixture.run_all(&mut memory)
        });
        let pairs = [
            (&fused.output, &reference.output),
            (&fused.hidden, &reference.hidden),
            (&fused.cell, &reference.cell),
            (&fused.gradients, &reference.gradients),
            (&fused.grad_input, &reference.grad_input),
            (&fused.grad_initial, &reference.grad_initial),
        ];
        for (fused, reference) in pairs {
            // as in the tests without starts
            assert!(difference(fused, reference) < 1e-5, "{name}");
        }
    }
}

#[test]
fn the_gradient_of_the_initial_state_is_zero_for_rows_that_start_at_the_first_step() {
    let flags = flags();
    for (name, fixture) in fixtures() {
        for path in PATHS {
            let mut memory = fixture.memory(path, SIZES);
            memory.set_starts(&fixture.cpu, Some(&flags)).unwrap();
            let gradient = fixture.run_all(&mut memory).grad_initial;
            for (row, values) in gradient.chunks(33).enumerate() {
                let is_zero = values.iter().all(|&value| value == 0.0);
                assert_eq!(is_zero, flags[row % SIZES[1]], "{name} {path:?} row {row}");
            }
        }
    }
}

#[test]
fn without_a_start_no_bit_changes() {
    for (name, fixture) in fixtures() {
        for path in PATHS {
            let mut memory = fixture.memory(path, SIZES);
            let before = fixture.run_all(&mut memory);
            memory.set_starts(&fixture.cpu, Some(&[false; SIZES[0] * SIZES[1]])).unwrap();
            assert_eq!(fixture.run_all(&mut memory), before, "{name} {path:?} no flag");
            memory.set_starts(&fixture.cpu, Some(&flags())).unwrap();
            assert_ne!(fixture.run_all(&mut memory), before, "{name} {path:?} flags");
            memory.set_starts(&fixture.cpu, None).unwrap();
            assert_eq!(fixture.run_all(&mut memory), before, "{name} {path:?} none");
        }
    }
}

#[test]
fn a_nan_does_not_reach_the_next_sequence() {
    let batch_size = SIZES[1];
    let start = 4 * batch_size + 3;
    let mut flags = vec![false; SIZES[0] * batch_size];
    flags[start] = true;
    for (name, mut fixture) in fixtures().filter(|(_, fixture)| !fixture.one_hot) {
        let before = start - batch_size;
        fixture.x[before * 11..before * 11 + 11].fill(f32::NAN);
        for path in PATHS {
            let mut memory = fixture.memory(path, SIZES);
            memory.set_starts(&fixture.cpu, Some(&flags)).unwrap();
            let output = fixture.run_all(&mut memory).output;
            let is_nan = |row: usize| output[row * 33..(row + 1) * 33].iter().any(|value| value.is_nan());
            assert!(is_nan(before) && !is_nan(start), "{name} {path:?}");
        }
    }
}

#[test]
fn starts_that_do_not_fit_are_errors_and_change_nothing() {
    let fixture = Fixture::new(Cell::Lstm, 2, true);
    let mut memory = fixture.memory(ExecutionPath::Auto, SIZES);
    let before = fixture.run_all(&mut memory);
    let error = memory.set_starts(&fixture.cpu, Some(&[true; 179])).unwrap_err();
    assert_eq!(error.to_string(), "set_starts: 180 flags are needed, 179 were given");
    assert_eq!(fixture.run_all(&mut memory), before);

    let config = StackConfig { bidirectional: true, ..fixture.stack.config() };
    let stack = Stack::new(&mut ParameterLayout::default(), config).unwrap();
    let mut memory = stack.memory(&fixture.cpu, ExecutionPath::Auto, [1, 1]).unwrap();
    let error = memory.set_starts(&fixture.cpu, Some(&[true])).unwrap_err();
    assert!(matches!(error, Error::BidirectionalStarts), "{error}");
    assert_eq!(error.to_string(), "a bidirectional stack cannot start sequences inside a minibatch");
    memory.set_starts(&fixture.cpu, None).unwrap();
}
