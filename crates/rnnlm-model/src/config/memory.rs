//! How large a model and its training run are: parameters, states and bytes of memory.
//!
//! Sizes are counted in 128 bits, so that absurd settings give an absurd number instead of a wrong one.

use rnnlm_rnn::{ExecutionPath, Recurrence, StackBytes, StackUse};
use rnnlm_vocab::Sampling;

use super::average::Average;
use super::model::ModelConfig;
use super::train::TrainConfig;
use crate::output::{KEEP_PACKED_MAX_ROWS, logits_bytes, rows_within};
use crate::scorer::{CHUNK_ROWS, DEFAULT_BATCH_SIZE, MAX_STEPS};

const FLOAT: u128 = size_of::<f32>() as u128;
const ID_BYTES: u128 = size_of::<u32>() as u128;
/// Name, shape and position of a parameter in a layout.
const TENSOR_LAYOUT_BYTES: u128 = 256;
/// The entry of a tensor in the header of a file, with what the writer collects for it.
const TENSOR_SAVE_BYTES: u128 = 1024;
/// A vocabulary entry in the copy that the run's writer keeps, and as JSON while it is written.
const VOCAB_ENTRY_BYTES: u128 = 256;

/// The order of an epoch, and where a document is in it.
const DOCUMENT_ORDER_BYTES: u128 = 8;

/// The number of tokens of a run's texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextTokens {
    /// Training tokens.
    pub training: usize,
    /// Tokens of the validation set; 0 without one.
    pub validation: usize,
    /// Training documents; 0 for a stream.
    pub documents: usize,
}

/// The memory that a training run takes, in bytes, without what the process has in use before: the program and the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingMemory {
    /// On the device: parameters, gradients, the optimizer's state, every intermediate value of a minibatch and packed
    /// weights. Rows have the padding that the device gives them.
    pub resident: u128,
    /// On the device, for a while: what scores a minibatch or the validation set, or generates a sample.
    pub scoring: u128,
    /// On the host.
    pub host: u128,
    /// On the host, for a while: the copies that saving makes.
    pub saving: u128,
}

/// What a workspace computes, as far as its memory depends on it.
#[derive(Clone, Copy, Debug, Default)]
struct WorkspaceUse {
    has_dropout: bool,
    has_starts: bool,
    has_weight_drop: bool,
    /// Matrices as large as the layers' output that regularization needs.
    output_copies: u128,
}

impl TrainingMemory {
    /// The most memory that is in use at a time if the device has its own: on the device, and on the host.
    pub fn peaks(&self) -> [u128; 2] {
        [self.resident.saturating_add(self.scoring), self.host.saturating_add(self.saving)]
    }

    /// The most memory that is in use at a time if the device uses the memory of the host.
    pub fn shared_peak(&self) -> u128 {
        self.resident.saturating_add(self.host).saturating_add(self.scoring.max(self.saving))
    }
}

impl ModelConfig {
    /// The number of parameters; tied weights count once.
    pub fn num_parameters(&self) -> u128 {
        let [v, h, layers] = [self.vocab_size, self.hidden_size, self.num_layers].map(bounded);
        let [d, e] = [self.input_size(), self.embedding_size].map(bounded);
        let (gates, directions) = self.gates_and_directions();
        // the columns of W_hh and b_hh
        let recurrent = if self.cell.recurrent_blocks().is_empty() { 0 } else { h + 1 };
        let lowest = gates * h * (d + 1 + recurrent);
        let higher = gates * h * (directions * h + 1 + recurrent);
        let output = match &self.adaptive_softmax {
            Some(softmax) => {
                let head = bounded(softmax.head_size()) * (directions * h + u128::from(softmax.head_bias));
                let tails = self.clusters().map(|[size, features]| features * (directions * h + size));
                head + tails.sum::<u128>()
            }
            None if self.tie_weights => v,
            None => v * (directions * h + 1),
        };
        directions * (lowest + layers.saturating_sub(1) * higher) + output + v * e
    }

    /// The number of tokens and of features of each cluster of an adaptive softmax.
    fn clusters(&self) -> impl Iterator<Item = [u128; 2]> {
        let in_features = self.hidden_size.saturating_mul(self.stack().num_directions());
        let softmax = self.adaptive_softmax.iter();
        softmax
            .flat_map(move |softmax| softmax.clusters(in_features, self.vocab_size))
            .map(|cluster| [cluster.size, cluster.features].map(bounded))
    }

    /// The number of values of one carried state, hidden or cell, for `batch_size` rows.
    pub fn state_len(&self, batch_size: usize) -> u128 {
        let [h, layers, rows] = [self.hidden_size, self.num_layers, batch_size].map(bounded);
        let (_, directions) = self.gates_and_directions();
        h * layers * rows * directions
    }

    /// The memory that a training run takes, computed before it is allocated.
    pub fn training_memory<B: Recurrence>(
        &self,
        backend: &B,
        train: &TrainConfig,
        path: ExecutionPath,
        text: TextTokens,
    ) -> TrainingMemory {
        let parameters = self.num_parameters();
        let buffers = train.optimizer.num_buffers() as u128
            + u128::from(train.accumulate > 1)
            + u128::from(train.average != Average::None);
        let states = 2 * self.state_len(train.batch_size);
        let sizes = [train.max_num_steps(), train.batch_size];
        let rows = sizes.map(bounded).iter().product::<u128>();
        let has_starts = text.documents > 0;
        // the input of the output layer and its gradient, in the order of the shards
        let shard_copies = if train.shards > 1 { 2 } else { 0 };
        let training = WorkspaceUse {
            has_dropout: train.dropout > 0.0 || train.dropout_hidden > 0.0,
            has_starts,
            has_weight_drop: train.weight_drop > 0.0,
            output_copies: u128::from(train.dropout_output > 0.0) + u128::from(train.tar > 0.0) + shard_copies,
        };
        let training = self.workspace_bytes(backend, path, sizes, training);
        // the ids of a minibatch: in the sampler, and in the queue on the host and the device
        let queue = 6 * ID_BYTES * rows;
        let resident = [
            (1 + bounded(train.shards) + buffers).saturating_mul(parameters * FLOAT),
            2 * self.num_tensors() * TENSOR_LAYOUT_BYTES,
            states.saturating_mul(FLOAT),
            training.tensors,
            training.plans,
            queue,
            self.matmul_scratch_bytes(backend, rows),
        ];
        let resident = resident.into_iter().fold(0, u128::saturating_add);

        // every save scores one minibatch; a validation set is scored in chunks
        let chunk = match text.validation {
            0 | 1 => [MAX_STEPS.min(train.num_steps), 1],
            _ if has_starts => [CHUNK_ROWS / DEFAULT_BATCH_SIZE, DEFAULT_BATCH_SIZE],
            _ => [MAX_STEPS, 1],
        };
        let scoring = WorkspaceUse { has_starts, ..WorkspaceUse::default() };
        let chunk = self.workspace_bytes(backend, path, chunk, scoring);
        let scoring = chunk.tensors.saturating_add(chunk.plans);
        let sample = self.workspace_bytes(backend, path, [1, 1], WorkspaceUse::default());

        let stored = self.num_stored_values();
        let snapshot = parameters * (1 + buffers) + states;
        let files = 2 * stored + buffers * parameters + states;
        // a tensor is converted to bytes before it is written to a file, in memory that grows by copying
        let largest_tensor = if buffers > 0 { parameters } else { self.largest_weight_len() };
        let saving = FLOAT * (snapshot + files + 2 * largest_tensor) + self.num_tensors() * TENSOR_SAVE_BYTES;
        let subsequences = if train.sampling == Sampling::Random { text.training / train.num_steps.max(1) } else { 0 };
        TrainingMemory {
            resident,
            scoring: scoring.max(sample.tensors.saturating_add(sample.plans)),
            host: bounded(self.vocab_size) * VOCAB_ENTRY_BYTES
                + (subsequences * size_of::<usize>()) as u128
                + text.documents as u128 * DOCUMENT_ORDER_BYTES,
            saving,
        }
    }

    /// The bytes of a workspace for `[num_steps, batch_size]` tokens, and of the packed weights that its use adds.
    fn workspace_bytes<B: Recurrence>(
        &self,
        backend: &B,
        path: ExecutionPath,
        [num_steps, batch_size]: [usize; 2],
        WorkspaceUse { has_dropout, has_starts, has_weight_drop, output_copies }: WorkspaceUse,
    ) -> StackBytes {
        let padded = |cols: u128| backend.row_stride(cols as usize) as u128;
        let rows = bounded(num_steps) * bounded(batch_size);
        let [v, e] = [self.vocab_size, self.embedding_size].map(bounded);
        let output_size = bounded(self.stack().num_directions()) * bounded(self.hidden_size);
        let is_one_hot = self.embedding_size == 0;
        let usage = StackUse { is_one_hot, has_dropout, has_starts, has_weight_drop };
        let mut bytes = self.stack().memory_bytes(backend, path, [num_steps, batch_size], usage);
        let chunk = rows.min(self.logits_rows());
        let embedded = if is_one_hot { 0 } else { 2 * rows * padded(e) };
        // inputs, targets and losses, and the gradient of the layers' output
        let outputs = ((1 + output_copies) * rows).saturating_mul(padded(output_size));
        let values = [3 * rows, embedded, chunk * padded(v), outputs, self.cluster_rows_len(rows, &padded)];
        let values = values.into_iter().fold(0, u128::saturating_add);
        bytes.tensors = bytes.tensors.saturating_add(values.saturating_mul(FLOAT));
        let keeps_packed = self.adaptive_softmax.is_none() && backend.shares_host_memory();
        if chunk <= KEEP_PACKED_MAX_ROWS as u128 && keeps_packed {
            bytes.plans = bytes.plans.saturating_add(FLOAT * output_size * padded(v));
        }
        bytes
    }

    /// The number of values, ids included, that an adaptive softmax stores for `rows` rows.
    fn cluster_rows_len(&self, rows: u128, padded: &impl Fn(u128) -> u128) -> u128 {
        let clusters = self.clusters().count() as u128;
        if clusters == 0 {
            return 0;
        }
        let output_size = bounded(self.stack().num_directions()) * bounded(self.hidden_size);
        let features = self.clusters().map(|[_, features]| features).max().unwrap_or(0);
        // ids on the host and the device; input, projection and their gradients; losses and log-probabilities
        rows * (2 * (3 + clusters) + 2 * padded(output_size) + 2 * padded(features) + 2 + clusters)
    }

    /// The bytes that the largest multiplication of a step keeps.
    fn matmul_scratch_bytes<B: Recurrence>(&self, backend: &B, rows: u128) -> u128 {
        let [v, h, d] = [self.vocab_size, self.hidden_size, self.input_size()].map(bounded);
        let (gates, directions) = self.gates_and_directions();
        let chunk = rows.min(self.logits_rows());
        let triple =
            |rows: u128, inner: u128, cols: u128| [(rows, inner, cols), (cols, rows, inner), (rows, cols, inner)];
        let output: Vec<_> = match &self.adaptive_softmax {
            None => triple(chunk, directions * h, v).to_vec(),
            Some(softmax) => {
                let within = |cols: usize| rows.min(rows_within(logits_bytes(self), cols) as u128);
                let (size, in_features) = (softmax.head_size(), directions * h);
                let head = triple(within(size), in_features, bounded(size));
                let tails = self.clusters().flat_map(|[size, features]| {
                    [triple(rows, in_features, features), triple(within(size as usize), features, size)].concat()
                });
                head.into_iter().chain(tails).collect()
            }
        };
        let recurrent = [(gates * h, rows, h), (rows, gates * h, h)];
        let dense = [(gates * h, rows, d), (rows, gates * h, d), (rows, d, gates * h)];
        let dense = if self.embedding_size > 0 { &dense[..] } else { &[] };
        let all = output.iter().chain(&recurrent).chain(dense);
        all.map(|&(m, k, n)| backend.matmul_scratch_bytes([m, k], n as usize)).max().unwrap_or(0)
    }

    /// The most rows of logits that a workspace has.
    fn logits_rows(&self) -> u128 {
        rows_within(logits_bytes(self), self.vocab_size) as u128
    }

    /// The number of parameter tensors.
    fn num_tensors(&self) -> u128 {
        let (_, directions) = self.gates_and_directions();
        let per_layer = if self.cell.recurrent_blocks().is_empty() { 2 } else { 4 };
        let output = match &self.adaptive_softmax {
            Some(softmax) => 1 + u128::from(softmax.head_bias) + 2 * softmax.cutoffs.len() as u128,
            None => 2,
        };
        bounded(self.num_layers) * directions * per_layer + output + u128::from(self.embedding_size > 0)
    }

    /// The number of values in `model.safetensors`, where a tied weight has two names.
    fn num_stored_values(&self) -> u128 {
        let tied = if self.tie_weights { bounded(self.vocab_size) * bounded(self.embedding_size) } else { 0 };
        self.num_parameters() + tied
    }

    /// The number of elements of the largest weight.
    fn largest_weight_len(&self) -> u128 {
        let [v, h, d] = [self.vocab_size, self.hidden_size, self.input_size()].map(bounded);
        let (gates, directions) = self.gates_and_directions();
        let higher = if self.num_layers > 1 { directions * h } else { 0 };
        let embedding = if self.embedding_size > 0 { d } else { 0 };
        let output = match &self.adaptive_softmax {
            Some(softmax) => {
                let tails = self.clusters().map(|[size, features]| size * features);
                tails.max().unwrap_or(0).max(bounded(softmax.head_size()) * directions * h)
            }
            None => v * directions * h,
        };
        (gates * h * h.max(d).max(higher)).max(output).max(v * embedding)
    }

    /// **G** and the number of directions.
    fn gates_and_directions(&self) -> (u128, u128) {
        (self.cell.num_gates() as u128, self.stack().num_directions() as u128)
    }
}

/// A size as a factor of a product. No machine has 2⁴⁰ of anything here, and products of bounded sizes fit 128 bits.
fn bounded(size: usize) -> u128 {
    (size as u128).min(1 << 40)
}

#[cfg(test)]
mod tests {
    use rnnlm_tensor::Cpu;

    use super::*;

    #[test]
    fn parameters_are_counted_as_pytorch_counts_them() {
        // torch.nn.RNN(28, 256) has 256·28 + 256·256 + 2·256 parameters, torch.nn.Linear(256, 28) has 28·256 + 28
        assert_eq!(ModelConfig::book(28).num_parameters(), 7_168 + 65_536 + 512 + 7_168 + 28);
    }

    /// The estimate for a model of 7 tokens and 5 hidden units.
    fn estimate(train: &TrainConfig, path: ExecutionPath, validation: usize) -> TrainingMemory {
        let model = ModelConfig { hidden_size: 5, ..ModelConfig::book(7) };
        let text = TextTokens { training: 1000, validation, documents: 0 };
        model.training_memory(&Cpu::new(1).unwrap(), train, path, text)
    }

    #[test]
    fn each_optimizer_buffer_counts_while_training_and_while_saving() {
        let [sgd, adam] = [crate::OptimizerConfig::SGD, crate::OptimizerConfig::ADAM].map(|optimizer| {
            let train = TrainConfig { batch_size: 2, num_steps: 3, optimizer, ..TrainConfig::book() };
            estimate(&train, ExecutionPath::Reference, 0)
        });
        // RNN(7, 5) has 5·(7 + 5 + 2) parameters, Linear(5, 7) has 42
        let parameters = 70 + 42;
        assert_eq!(adam.resident - sgd.resident, 2 * 4 * parameters);
        // a snapshot and a file have both buffers; the largest tensor is a buffer instead of a weight of 5·7 values
        assert_eq!(adam.saving - sgd.saving, 4 * (2 * 2 * parameters + 2 * (parameters - 35)));
    }

    #[test]
    fn a_validation_set_and_packed_weights_count() {
        let train = TrainConfig { batch_size: 2, num_steps: 3, ..TrainConfig::book() };
        let reference = estimate(&train, ExecutionPath::Reference, 0);
        let fused = estimate(&train, ExecutionPath::Auto, 0);
        assert!(fused.resident > reference.resident && fused.scoring > reference.scoring);
        // a chunk of 128 rows instead of one of 3: hidden states, two gradients, logits and the output's gradient
        let validation = estimate(&train, ExecutionPath::Reference, 500);
        let row = 4 * 16 * 4;
        assert!(validation.scoring - reference.scoring > (128 - 3) * row, "{validation:?} {reference:?}");
        assert_eq!(validation.peaks(), [validation.resident + validation.scoring, validation.host + validation.saving]);
        assert!(validation.shared_peak() < validation.peaks().iter().sum());
    }

    #[test]
    fn regularization_counts() {
        let plain = TrainConfig { batch_size: 2, num_steps: 3, ..TrainConfig::book() };
        let resident = |train| estimate(&train, ExecutionPath::Reference, 0).resident;
        let more = |train| resident(train) - resident(plain.clone());
        // two matrices of 5 × 5, and two of 6 rows of 5 outputs, with the padding of a row to a cache line
        assert_eq!(more(TrainConfig { weight_drop: 0.5, ..plain.clone() }), 2 * 4 * 25);
        assert_eq!(more(TrainConfig { dropout_output: 0.5, tar: 1.0, ..plain.clone() }), 2 * 4 * 6 * 16);
    }

    #[test]
    fn each_shard_has_gradients() {
        let plain = TrainConfig { batch_size: 4, num_steps: 3, ..TrainConfig::book() };
        let resident = |train: &TrainConfig| estimate(train, ExecutionPath::Reference, 0).resident;
        let one = resident(&plain);
        let four = resident(&TrainConfig { shards: 4, ..plain });
        // three more sets of 70 + 42 gradients, and two matrices of 12 rows with the padding of a row
        assert_eq!(four - one, 3 * 4 * (70 + 42) + 2 * 4 * 12 * 16);
    }

    #[test]
    fn absurd_sizes_give_an_absurd_number() {
        let model = ModelConfig { hidden_size: usize::MAX, num_layers: usize::MAX, ..ModelConfig::book(usize::MAX) };
        let train = TrainConfig { batch_size: usize::MAX, num_steps: usize::MAX, ..TrainConfig::book() };
        let text = TextTokens { training: usize::MAX, validation: usize::MAX, documents: usize::MAX };
        let memory = model.training_memory(&Cpu::new(1).unwrap(), &train, ExecutionPath::Auto, text);
        assert!(memory.shared_peak() > 1 << 100, "{memory:?}");
    }
}
