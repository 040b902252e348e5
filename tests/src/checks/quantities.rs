//! The results of recurrent layers as named quantities: the same names for the oracle, the reference path and every other
//! path, so that a difference is reported as `lstm, forget gate, t = 3, row 1, unit 17`.

use rnnlm_rnn::StackConfig;

use crate::compare::{Axis, Quantity};
use crate::device::{LayerOutputs, NamedTensor, StackInputs, StackOutputs};
use crate::oracle::Trace;

/// The sizes of a forward and backward pass, which determine the axes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axes {
    pub(crate) config: StackConfig,
    pub(crate) num_steps: usize,
    pub(crate) batch_size: usize,
}

impl Axes {
    pub(crate) fn of(inputs: &StackInputs) -> Self {
        Self { config: inputs.config, num_steps: inputs.num_steps, batch_size: inputs.batch_size }
    }

    fn gates(&self) -> Vec<Axis> {
        let unit = Axis::Unit(self.config.hidden_size);
        vec![Axis::Step(self.num_steps), Axis::Row(self.batch_size), Axis::Gate(self.config.cell.gates()), unit]
    }

    fn states(&self) -> Vec<Axis> {
        vec![Axis::Step(self.num_steps), Axis::Row(self.batch_size), Axis::Unit(self.config.hidden_size)]
    }

    fn output(&self) -> Vec<Axis> {
        vec![Axis::Step(self.num_steps), Axis::Row(self.batch_size), Axis::Unit(self.config.output_size())]
    }

    pub(crate) fn state(&self) -> Vec<Axis> {
        vec![Axis::Row(self.batch_size), Axis::Unit(self.config.hidden_size)]
    }

    pub(crate) fn input(&self) -> Vec<Axis> {
        vec![Axis::Step(self.num_steps), Axis::Row(self.batch_size), Axis::Column(self.config.input_size)]
    }

    /// The axes of a parameter: gate, unit and column of the recurrent ones, row and column of the others.
    pub(crate) fn parameter(&self, name: &str, shape: &[usize]) -> Vec<Axis> {
        let rest = shape[1..].iter().map(|&len| Axis::Column(len));
        if name.starts_with("rnn.") {
            let gates = [Axis::Gate(self.config.cell.gates()), Axis::Unit(self.config.hidden_size)];
            gates.into_iter().chain(rest).collect()
        } else {
            [Axis::Row(shape[0])].into_iter().chain(rest).collect()
        }
    }

    /// The prefix of a layer's quantities, such as `layer 1 reverse `; empty for a single layer.
    pub(crate) fn layer_name(&self, index: usize) -> String {
        let directions = self.config.num_directions();
        let mut name = String::new();
        if self.config.num_layers * directions > 1 {
            name = format!("layer {} ", index / directions);
        }
        if index % directions == 1 {
            name.push_str("reverse ");
        }
        name
    }

    /// A layer's gates and states after each step, without those that the cell does not have.
    fn layer(&self, index: usize, [gates, hidden, cell, candidate]: [Vec<f64>; 4]) -> Vec<Quantity> {
        let name = self.layer_name(index);
        let all = [
            Quantity::new(name.trim_end(), self.gates(), gates),
            Quantity::new(format!("{name}hidden state"), self.states(), hidden),
            Quantity::new(format!("{name}cell state"), self.states(), cell),
            Quantity::new(format!("{name}candidate"), self.states(), candidate),
        ];
        all.into_iter().filter(|quantity| !quantity.values().is_empty()).collect()
    }

    /// The results of the oracle's forward pass.
    pub(crate) fn forward_of_traces(&self, traces: &[Trace], output: Vec<f64>) -> Vec<Quantity> {
        let mut all = vec![Quantity::new("output", self.output(), output)];
        for (index, trace) in traces.iter().enumerate() {
            all.extend(self.final_state(index, trace.final_hidden.clone(), trace.final_cell.clone()));
        }
        for (index, trace) in traces.iter().enumerate() {
            // The only gate of an Elman cell is its hidden state.
            let gates = if self.config.cell.num_gates() == 1 { Vec::new() } else { trace.gates.clone() };
            let parts = [gates, trace.hidden.clone(), trace.cell.clone(), trace.candidate.clone()];
            all.extend(self.layer(index, parts));
        }
        all
    }

    /// The results of a device's forward pass.
    pub(crate) fn forward(&self, outputs: &StackOutputs) -> Vec<Quantity> {
        let mut all = self.results(outputs);
        for (index, layer) in outputs.layers.iter().enumerate() {
            let LayerOutputs { gates, hidden, cell, candidate, .. } = layer;
            all.extend(self.layer(index, [gates, hidden, cell, candidate].map(|values| doubles(values))));
        }
        all
    }

    /// The output and the final states of a forward pass.
    pub(crate) fn results(&self, outputs: &StackOutputs) -> Vec<Quantity> {
        let mut all = vec![Quantity::from_f32("output", self.output(), &outputs.output)];
        all.extend(self.final_states(&outputs.hidden, &outputs.cell));
        all
    }

    /// The final states of all layers and directions, from their concatenation.
    pub(crate) fn final_states(&self, hidden: &[f32], cell: &[f32]) -> Vec<Quantity> {
        let len = self.batch_size * self.config.hidden_size;
        let part = |state: &[f32], index: usize| doubles(state.get(index * len..(index + 1) * len).unwrap_or_default());
        let layers = 0..self.config.num_layers * self.config.num_directions();
        layers.flat_map(|index| self.final_state(index, part(hidden, index), part(cell, index))).collect()
    }

    fn final_state(&self, index: usize, hidden: Vec<f64>, cell: Vec<f64>) -> Vec<Quantity> {
        let name = self.layer_name(index);
        let all = [
            Quantity::new(format!("{name}final hidden state"), self.state(), hidden),
            Quantity::new(format!("{name}final cell state"), self.state(), cell),
        ];
        all.into_iter().filter(|quantity| !quantity.values().is_empty()).collect()
    }

    /// The gradients that the oracle has finite differences of: parameters, initial states and a dense input.
    pub(crate) fn gradients(&self, outputs: &StackOutputs) -> Vec<Quantity> {
        let mut all = self.parameter_gradients(outputs);
        for (index, layer) in outputs.layers.iter().enumerate() {
            all.extend(self.initial_state(index, &layer.grad_hidden, &layer.grad_cell));
        }
        let input = outputs.grad_input.iter();
        all.extend(input.map(|values| Quantity::from_f32("gradient of the input", self.input(), values)));
        all
    }

    pub(crate) fn parameter_gradients(&self, outputs: &StackOutputs) -> Vec<Quantity> {
        outputs.gradients.iter().map(|gradient| self.named(gradient)).collect()
    }

    /// The gradients of every pre-activation, by gate and step.
    pub(crate) fn gate_gradients(&self, outputs: &StackOutputs) -> Vec<Quantity> {
        let layers = outputs.layers.iter().enumerate();
        let named = layers.map(|(index, layer)| {
            let name = format!("{}gradient of the pre-activation", self.layer_name(index));
            Quantity::from_f32(name, self.gates(), &layer.grad_gates)
        });
        named.collect()
    }

    pub(crate) fn named(&self, gradient: &NamedTensor) -> Quantity {
        let axes = self.parameter(&gradient.name, &gradient.shape);
        Quantity::from_f32(format!("gradient of {}", gradient.name), axes, &gradient.values)
    }

    fn initial_state(&self, index: usize, hidden: &[f32], cell: &[f32]) -> Vec<Quantity> {
        let name = self.layer_name(index);
        let all = [
            Quantity::from_f32(format!("{name}gradient of the initial hidden state"), self.state(), hidden),
            Quantity::from_f32(format!("{name}gradient of the initial cell state"), self.state(), cell),
        ];
        all.into_iter().filter(|quantity| !quantity.values().is_empty()).collect()
    }
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}
