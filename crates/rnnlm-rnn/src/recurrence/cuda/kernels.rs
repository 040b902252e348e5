//! One typed function for each kernel of the fused recurrence: its grid, and its arguments in the order of its
//! declaration in `persistent.cu`, `multi_block.cu` or `stepwise.cu`.

use rnnlm_tensor::cuda::{Argument, Grid, Kernel, Matrix};
use rnnlm_tensor::{Cuda, Tensor, View, ViewMut};

use super::fused_cell::{FusedCell, STEP_THREADS};
use super::multi_block_config::{self, MultiBlockConfig, Partition};
use super::persistent_config::{PersistentConfig, SharedMemory};
use crate::{Adjoint, Dims, Direction, Result, Tape};

/// Threads of a block of `pack_weights`.
const PACK_THREADS: usize = 256;

/// A layer's dimensions and direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerDims {
    dims: Dims,
    direction: Direction,
}

impl LayerDims {
    pub(super) fn of(tape: &Tape<Cuda>) -> Self {
        Self { dims: tape.dims(), direction: tape.direction() }
    }

    /// `LayerDims` of `persistent.cu` and `multi_block.cu`.
    fn argument(self) -> Argument {
        let Dims { num_steps, batch_size, hidden_size, .. } = self.dims;
        let reverse = u32::from(self.direction == Direction::Reverse);
        Argument::U32x4([num_steps as u32, batch_size as u32, hidden_size as u32, reverse])
    }
}

/// The matrices of the tape.
pub(super) struct TapeViews<M> {
    gates: M,
    hidden: M,
    cell: M,
    candidate: M,
}

impl<'a> TapeViews<View<'a, Cuda>> {
    /// For the backward pass.
    pub(super) fn of(tape: &'a Tape<Cuda>) -> Self {
        let Tape { gates, hidden, cell, candidate, .. } = tape;
        Self { gates: gates.view(), hidden: hidden.view(), cell: cell.view(), candidate: candidate.view() }
    }
}

impl<'a> TapeViews<ViewMut<'a, Cuda>> {
    /// For the forward pass.
    pub(super) fn of_mut(tape: &'a mut Tape<Cuda>) -> Self {
        let Tape { gates, hidden, cell, candidate, .. } = tape;
        let [gates, hidden, cell, candidate] = [gates, hidden, cell, candidate].map(Tensor::view_mut);
        Self { gates, hidden, cell, candidate }
    }
}

impl<M: Into<Matrix>> TapeViews<M> {
    /// In the order of the declarations.
    fn arguments(self) -> [Argument; 4] {
        [self.gates, self.hidden, self.cell, self.candidate].map(|matrix| Argument::Matrix(matrix.into()))
    }
}

/// The matrices of the adjoint, which the backward pass fills.
pub(super) struct AdjointViews<'a> {
    gates: ViewMut<'a, Cuda>,
    candidate: ViewMut<'a, Cuda>,
    hidden: ViewMut<'a, Cuda>,
    cell: ViewMut<'a, Cuda>,
}

impl<'a> AdjointViews<'a> {
    pub(super) fn of(adjoint: &'a mut Adjoint<Cuda>) -> Self {
        let Adjoint { gates, candidate, hidden, cell, .. } = adjoint;
        let [gates, candidate, hidden, cell] = [gates, candidate, hidden, cell].map(Tensor::view_mut);
        Self { gates, candidate, hidden, cell }
    }

    /// In the order of the declarations.
    fn arguments(self) -> [Argument; 4] {
        [self.gates, self.candidate, self.hidden, self.cell].map(|view| Argument::Matrix(view.into()))
    }
}

/// The kernels of `persistent.cu` in one configuration.
#[derive(Debug)]
pub(super) struct PersistentKernels {
    config: PersistentConfig,
    pack_weights: Kernel,
    forward: Kernel,
    backward: Kernel,
}

impl PersistentKernels {
    /// Compiles and loads the kernels.
    pub(super) fn load(cuda: &Cuda, config: PersistentConfig) -> Result<Self> {
        let names = ["pack_weights", "persistent_forward", "persistent_backward"];
        let [pack_weights, forward, backward] = cuda.load_kernels(&config.program(), names)?;
        Ok(Self { config, pack_weights, forward, backward })
    }

    /// Packs `W_hh` for the forward and the backward pass. Both outputs have `G·UNITS²` elements.
    pub(super) fn pack_weights(
        &self,
        weight_hh: View<'_, Cuda>,
        hidden_size: usize,
        [forward, backward]: [&mut Tensor<Cuda>; 2],
    ) -> Result<()> {
        let blocks = (forward.shape()[0] * forward.shape()[1]).div_ceil(PACK_THREADS);
        let arguments = [
            Argument::Matrix(weight_hh.into()),
            Argument::U32(hidden_size as u32),
            pointer(forward.view_mut()),
            pointer(backward.view_mut()),
        ];
        // SAFETY: these are the kernel's parameters. It reads a weight of `[G·H, H]` and writes `G·UNITS²` elements of
        // each output, which were allocated for this configuration.
        Ok(unsafe { self.pack_weights.launch(Grid::linear(blocks, PACK_THREADS as u32, 0), arguments) }?)
    }

    /// Fills the tape.
    pub(super) fn forward(
        &self,
        shared: SharedMemory,
        packed: View<'_, Cuda>,
        bias_hh: View<'_, Cuda>,
        dims: LayerDims,
        tape: TapeViews<ViewMut<'_, Cuda>>,
    ) -> Result<()> {
        let [gates, hidden, cell, candidate] = tape.arguments();
        let arguments = [
            pointer(packed),
            Argument::U32(shared.weight_chunks as u32),
            Argument::Matrix(bias_hh.into()),
            dims.argument(),
            gates,
            hidden,
            cell,
            candidate,
        ];
        // SAFETY: these are the kernel's parameters. The tape's matrices have the rows and columns of these dimensions,
        // and the kernel accesses those that its cell stores. Shared memory has the size for so many chunks.
        Ok(unsafe { self.forward.launch(self.grid(dims, shared), arguments) }?)
    }

    /// Fills the gradients of the gates and of the initial state.
    pub(super) fn backward(
        &self,
        shared: SharedMemory,
        packed: View<'_, Cuda>,
        dims: LayerDims,
        tape: TapeViews<View<'_, Cuda>>,
        output: View<'_, Cuda>,
        adjoint: AdjointViews<'_>,
    ) -> Result<()> {
        let [gates, hidden, cell, candidate] = tape.arguments();
        let [d_gates, d_candidate, d_hidden, d_cell] = adjoint.arguments();
        let arguments = [
            pointer(packed),
            Argument::U32(shared.weight_chunks as u32),
            dims.argument(),
            gates,
            hidden,
            cell,
            candidate,
            Argument::Matrix(output.into()),
            d_gates,
            d_candidate,
            d_hidden,
            d_cell,
        ];
        // SAFETY: as in `forward`; adjoint and output have the rows and columns of the same dimensions.
        Ok(unsafe { self.backward.launch(self.grid(dims, shared), arguments) }?)
    }

    /// One block for every `block_rows` rows.
    fn grid(&self, dims: LayerDims, shared: SharedMemory) -> Grid {
        let blocks = dims.dims.batch_size.div_ceil(self.config.block_rows);
        Grid::linear(blocks, self.config.units as u32, shared.bytes)
    }
}

/// The kernels of `multi_block.cu` in one configuration.
#[derive(Debug)]
pub(super) struct MultiBlockKernels {
    forward: Kernel,
    backward: Kernel,
}

/// What the blocks of a launch exchange messages with.
pub(super) struct Exchange<'a> {
    pub(super) messages: ViewMut<'a, Cuda>,
    /// The last sequence number of each block.
    pub(super) sequences: ViewMut<'a, Cuda>,
}

impl MultiBlockKernels {
    /// Compiles and loads the kernels.
    pub(super) fn load(cuda: &Cuda, config: MultiBlockConfig) -> Result<Self> {
        let names = ["multi_block_forward", "multi_block_backward"];
        let [forward, backward] = cuda.load_kernels(&config.program(), names)?;
        Ok(Self { forward, backward })
    }

    /// Fills the tape.
    pub(super) fn forward(
        &self,
        partition: &Partition,
        weight_hh: View<'_, Cuda>,
        bias_hh: View<'_, Cuda>,
        dims: LayerDims,
        exchange: Exchange<'_>,
        tape: TapeViews<ViewMut<'_, Cuda>>,
    ) -> Result<()> {
        let [gates, hidden, cell, candidate] = tape.arguments();
        let arguments = [
            Argument::Matrix(weight_hh.into()),
            Argument::Matrix(bias_hh.into()),
            dims.argument(),
            Argument::U32(partition.tiles as u32),
            pointer(exchange.messages),
            pointer(exchange.sequences),
            gates,
            hidden,
            cell,
            candidate,
        ];
        let [shared_bytes, _] = partition.config.pass_bytes();
        // SAFETY: these are the kernel's parameters. Weight and bias are those of a layer with the tape's dimensions,
        // and the kernel accesses the matrices that its cell stores. The exchange was allocated for this grid.
        Ok(unsafe { self.forward.launch(multi_block_grid(partition, shared_bytes), arguments) }?)
    }

    /// Fills the gradients of the gates and of the initial state.
    pub(super) fn backward(
        &self,
        partition: &Partition,
        weight_hh: View<'_, Cuda>,
        dims: LayerDims,
        exchange: Exchange<'_>,
        tape: TapeViews<View<'_, Cuda>>,
        output: View<'_, Cuda>,
        adjoint: AdjointViews<'_>,
    ) -> Result<()> {
        let [gates, hidden, cell, candidate] = tape.arguments();
        let [d_gates, d_candidate, d_hidden, d_cell] = adjoint.arguments();
        let arguments = [
            Argument::Matrix(weight_hh.into()),
            dims.argument(),
            Argument::U32(partition.tiles as u32),
            pointer(exchange.messages),
            pointer(exchange.sequences),
            gates,
            hidden,
            cell,
            candidate,
            Argument::Matrix(output.into()),
            d_gates,
            d_candidate,
            d_hidden,
            d_cell,
        ];
        let [_, shared_bytes] = partition.config.pass_bytes();
        // SAFETY: as in `forward`; adjoint and output have the rows and columns of the same dimensions.
        Ok(unsafe { self.backward.launch(multi_block_grid(partition, shared_bytes), arguments) }?)
    }
}

/// One block for each slice of each group.
fn multi_block_grid(partition: &Partition, shared_bytes: usize) -> Grid {
    Grid {
        blocks: [partition.slices as u32, partition.groups as u32, 1],
        cooperative: true,
        ..Grid::linear(1, multi_block_config::THREADS as u32, shared_bytes)
    }
}

/// The kernels of `stepwise.cu` for one cell.
#[derive(Debug)]
pub(super) struct StepKernels {
    forward: Kernel,
    backward: Kernel,
}

/// Hidden and cell states before or after a step, or their gradients.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) hidden: Matrix,
    pub(super) cell: Matrix,
}

/// Gates and candidate of a step, or their gradients.
#[derive(Clone, Copy)]
pub(super) struct Gates {
    pub(super) gates: Matrix,
    pub(super) candidate: Matrix,
}

impl StepKernels {
    /// Compiles and loads the kernels.
    pub(super) fn load(cuda: &Cuda, cell: FusedCell) -> Result<Self> {
        let [forward, backward] = cuda.load_kernels(&cell.step_program(), ["step_forward", "step_backward"])?;
        Ok(Self { forward, backward })
    }

    /// From `recurrent = h W_hhᵀ` and the state before a step to the state after it. All matrices have `N` rows, the
    /// bias has one.
    pub(super) fn forward(
        &self,
        recurrent: Matrix,
        bias_hh: Matrix,
        tape: Gates,
        [before, after]: [State; 2],
    ) -> Result<()> {
        let Gates { gates, candidate } = tape;
        let matrices = [recurrent, bias_hh, gates, before.hidden, before.cell, after.hidden, after.cell, candidate];
        // SAFETY: these are the kernel's parameters: one step's rows of a tape, and a matrix that was allocated for its
        // dimensions. The kernel accesses as many elements as the hidden state has, in the matrices that its cell
        // stores.
        Ok(unsafe { self.forward.launch(step_grid(after.hidden), matrices.map(Argument::Matrix)) }?)
    }

    /// From the gradients of a step's output and of the state after it to those of the state before it. `d_recurrent`
    /// is filled if the cell stores a gradient of the candidate.
    pub(super) fn backward(
        &self,
        tape: Gates,
        [before, after]: [State; 2],
        output: Matrix,
        adjoint: Gates,
        gradients: State,
        d_recurrent: Matrix,
    ) -> Result<()> {
        let matrices = [
            tape.gates,
            before.hidden,
            before.cell,
            after.hidden,
            after.cell,
            tape.candidate,
            output,
            adjoint.gates,
            adjoint.candidate,
            gradients.hidden,
            gradients.cell,
            d_recurrent,
        ];
        // SAFETY: as in `forward`, with an adjoint of the same dimensions.
        Ok(unsafe { self.backward.launch(step_grid(gradients.hidden), matrices.map(Argument::Matrix)) }?)
    }
}

/// One thread per unit of each row.
fn step_grid(states: Matrix) -> Grid {
    let units = states.rows as usize * states.cols as usize;
    Grid::linear(units.div_ceil(STEP_THREADS as usize), STEP_THREADS, 0)
}

/// The address of a matrix.
fn pointer(matrix: impl Into<Matrix>) -> Argument {
    Argument::Pointer(matrix.into().data)
}
