//! One typed function for each kernel of the fused recurrence, beside the walk: its grid and its arguments in the order of
//! its declaration in `recurrence.cu`, `spread.cu` or `step.cu`.

use rnnlm_tensor::cuda::{Argument, Grid, Kernel, Matrix};
use rnnlm_tensor::{Cuda, Tensor, View, ViewMut};

use super::plan::{Configuration, Fit, STEP_THREADS, step_program};
use super::slices::{self, Slicing, Spreading};
use crate::{Adjoint, Cell, Dims, Direction, Result, Tape};

/// Threads of a block that lays weights out.
const THREADS: usize = 256;

/// The kernels of one configuration.
#[derive(Debug)]
pub(super) struct Kernels {
    lay_out: Kernel,
    forward: Kernel,
    backward: Kernel,
}

/// What both passes are told of the layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) dims: Dims,
    pub(super) direction: Direction,
}

impl Extent {
    /// As `recurrence.cu` and `spread.cu` declare it.
    fn argument(self) -> Argument {
        let Dims { num_steps, batch_size, hidden_size, .. } = self.dims;
        let reverse = u32::from(self.direction == Direction::Reverse);
        Argument::Numbers([num_steps as u32, batch_size as u32, hidden_size as u32, reverse])
    }

    /// A block for each group of rows.
    fn grid(self, configuration: &Configuration, fit: Fit) -> Grid {
        let blocks = self.dims.batch_size.div_ceil(configuration.group);
        Grid::row(blocks, configuration.units as u32, fit.shared_bytes)
    }
}

/// What the tape has of all steps.
pub(super) struct Taped<M> {
    pub(super) gates: M,
    pub(super) hidden: M,
    pub(super) cell: M,
    pub(super) candidate: M,
}

impl<'a> Taped<View<'a, Cuda>> {
    /// For the backward pass.
    pub(super) fn of(tape: &'a Tape<Cuda>) -> Self {
        let Tape { gates, hidden, cell, candidate, .. } = tape;
        Self { gates: gates.view(), hidden: hidden.view(), cell: cell.view(), candidate: candidate.view() }
    }
}

impl<'a> Taped<ViewMut<'a, Cuda>> {
    /// For the forward pass.
    pub(super) fn of_mut(tape: &'a mut Tape<Cuda>) -> Self {
        let Tape { gates, hidden, cell, candidate, .. } = tape;
        let [gates, hidden, cell, candidate] = [gates, hidden, cell, candidate].map(Tensor::view_mut);
        Self { gates, hidden, cell, candidate }
    }
}

impl<M: Into<Matrix>> Taped<M> {
    /// In the order of every declaration.
    fn arguments(self) -> [Argument; 4] {
        [self.gates, self.hidden, self.cell, self.candidate].map(|matrix| Argument::Matrix(matrix.into()))
    }
}

/// What the backward pass fills.
pub(super) struct Filled<'a> {
    pub(super) gates: ViewMut<'a, Cuda>,
    pub(super) candidate: ViewMut<'a, Cuda>,
    pub(super) hidden: ViewMut<'a, Cuda>,
    pub(super) cell: ViewMut<'a, Cuda>,
}

impl<'a> Filled<'a> {
    /// All of it.
    pub(super) fn of(adjoint: &'a mut Adjoint<Cuda>) -> Self {
        let Adjoint { gates, candidate, hidden, cell, .. } = adjoint;
        let [gates, candidate, hidden, cell] = [gates, candidate, hidden, cell].map(Tensor::view_mut);
        Self { gates, candidate, hidden, cell }
    }

    /// In the order of every declaration.
    fn arguments(self) -> [Argument; 4] {
        [self.gates, self.candidate, self.hidden, self.cell].map(|view| Argument::Matrix(view.into()))
    }
}

impl Kernels {
    /// Compiles and loads them.
    pub(super) fn load(cuda: &Cuda, configuration: &Configuration) -> Result<Self> {
        let names = ["lay_out", "recurrence_forward", "recurrence_backward"];
        let [lay_out, forward, backward] = cuda.kernels_of(&configuration.program(), names)?;
        Ok(Self { lay_out, forward, backward })
    }

    /// `W_hh` as either pass reads it; both outputs hold `G·UNITS²` elements.
    pub(super) fn lay_out(
        &self,
        cuda: &Cuda,
        weight_hh: View<'_, Cuda>,
        hidden_size: usize,
        [forward, backward]: [&mut Tensor<Cuda>; 2],
    ) -> Result<()> {
        let blocks = (forward.shape()[0] * forward.shape()[1]).div_ceil(THREADS);
        let arguments = [
            Argument::Matrix(weight_hh.into()),
            Argument::Number(hidden_size as u32),
            address(forward.view_mut().into()),
            address(backward.view_mut().into()),
        ];
        // SAFETY: these are the kernel's parameters; it reads a weight of `[G·H, H]` and writes the elements of two buffers
        // as long as its constants say, since both were made for this configuration.
        unsafe { cuda.launch(&self.lay_out, Grid::row(blocks, THREADS as u32, 0), arguments) }.map_err(Into::into)
    }

    /// Fills the tape.
    pub(super) fn forward(
        &self,
        cuda: &Cuda,
        (configuration, fit): (&Configuration, Fit),
        laid_out: View<'_, Cuda>,
        bias_hh: View<'_, Cuda>,
        extent: Extent,
        tape: Taped<ViewMut<'_, Cuda>>,
    ) -> Result<()> {
        let [gates, hidden, cell, candidate] = tape.arguments();
        let arguments = [
            address(laid_out.into()),
            Argument::Number(fit.kept as u32),
            Argument::Matrix(bias_hh.into()),
            extent.argument(),
            gates,
            hidden,
            cell,
            candidate,
        ];
        // SAFETY: these are the kernel's parameters; the tape's matrices have the rows and columns of its dimensions, of
        // which the kernel touches those that its cell keeps, and shared memory has room for what `fit` says is kept.
        unsafe { cuda.launch(&self.forward, extent.grid(configuration, fit), arguments) }.map_err(Into::into)
    }

    /// Fills the gradients of gates and initial state.
    pub(super) fn backward(
        &self,
        cuda: &Cuda,
        (configuration, fit): (&Configuration, Fit),
        laid_out: View<'_, Cuda>,
        extent: Extent,
        tape: Taped<View<'_, Cuda>>,
        output: View<'_, Cuda>,
        filled: Filled<'_>,
    ) -> Result<()> {
        let [gates, hidden, cell, candidate] = tape.arguments();
        let [d_gates, d_candidate, d_hidden, d_cell] = filled.arguments();
        let arguments = [
            address(laid_out.into()),
            Argument::Number(fit.kept as u32),
            extent.argument(),
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
        // SAFETY: these are the kernel's parameters; tape, adjoint and output have the rows and columns of the same
        // dimensions, of which the kernel touches those that its cell keeps, and shared memory has room for what is kept.
        unsafe { cuda.launch(&self.backward, extent.grid(configuration, fit), arguments) }.map_err(Into::into)
    }
}

/// The kernels of a layer that is spread over the device.
#[derive(Debug)]
pub(super) struct SpreadKernels {
    forward: Kernel,
    backward: Kernel,
}

impl SpreadKernels {
    /// Compiles and loads them.
    pub(super) fn load(cuda: &Cuda, slicing: &Slicing) -> Result<Self> {
        let [forward, backward] = cuda.kernels_of(&slicing.program(), ["spread_forward", "spread_backward"])?;
        Ok(Self { forward, backward })
    }

    /// Fills the tape. `parameters` are `W_hh` and its bias, `exchange` letters and clocks.
    pub(super) fn forward(
        &self,
        cuda: &Cuda,
        spreading: &Spreading,
        parameters: [View<'_, Cuda>; 2],
        extent: Extent,
        exchange: [ViewMut<'_, Cuda>; 2],
        tape: Taped<ViewMut<'_, Cuda>>,
    ) -> Result<()> {
        let [weight_hh, bias_hh] = parameters.map(|view| Argument::Matrix(view.into()));
        let [letters, clocks] = exchange.map(|view| address(view.into()));
        let [gates, hidden, cell, candidate] = tape.arguments();
        let (extent, waves) = (extent.argument(), Argument::Number(spreading.waves as u32));
        let arguments = [weight_hh, bias_hh, extent, waves, letters, clocks, gates, hidden, cell, candidate];
        let grid = spread_grid(spreading, spreading.slicing.forward_bytes());
        // SAFETY: these are the kernel's parameters; weight and bias are those of a layer of the tape's dimensions, of which
        // the kernel touches the matrices that its cell keeps; letters and clocks were made for this grid.
        unsafe { cuda.launch(&self.forward, grid, arguments) }.map_err(Into::into)
    }

    /// Fills the gradients of gates and initial state.
    pub(super) fn backward(
        &self,
        cuda: &Cuda,
        spreading: &Spreading,
        weight_hh: View<'_, Cuda>,
        extent: Extent,
        exchange: [ViewMut<'_, Cuda>; 2],
        tape: Taped<View<'_, Cuda>>,
        output: View<'_, Cuda>,
        filled: Filled<'_>,
    ) -> Result<()> {
        let [letters, clocks] = exchange.map(|view| address(view.into()));
        let [gates, hidden, cell, candidate] = tape.arguments();
        let [d_gates, d_candidate, d_hidden, d_cell] = filled.arguments();
        let arguments = [
            Argument::Matrix(weight_hh.into()),
            extent.argument(),
            Argument::Number(spreading.waves as u32),
            letters,
            clocks,
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
        let grid = spread_grid(spreading, spreading.slicing.backward_bytes());
        // SAFETY: as above, with an adjoint and an output of the same dimensions.
        unsafe { cuda.launch(&self.backward, grid, arguments) }.map_err(Into::into)
    }
}

/// A block for each slice of each group, all at once.
fn spread_grid(spreading: &Spreading, shared_bytes: usize) -> Grid {
    Grid {
        blocks: [spreading.slices as u32, spreading.groups as u32, 1],
        at_once: true,
        ..Grid::row(1, slices::THREADS as u32, shared_bytes)
    }
}

/// The kernels of single steps of a cell.
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

/// What a step has of the gates and of a GRU's other factor, or their gradients.
#[derive(Clone, Copy)]
pub(super) struct Gates {
    pub(super) gates: Matrix,
    pub(super) candidate: Matrix,
}

impl StepKernels {
    /// Compiles and loads them.
    pub(super) fn load(cuda: &Cuda, cell: Cell) -> Result<Self> {
        let [forward, backward] = cuda.kernels_of(&step_program(cell), ["step_forward", "step_backward"])?;
        Ok(Self { forward, backward })
    }

    /// From the products and the state before to the state after; all matrices have `N` rows but the bias, which has one.
    pub(super) fn forward(
        &self,
        cuda: &Cuda,
        products: Matrix,
        bias_hh: Matrix,
        taped: Gates,
        [before, after]: [State; 2],
    ) -> Result<()> {
        let Gates { gates, candidate } = taped;
        let matrices = [products, bias_hh, gates, before.hidden, before.cell, after.hidden, after.cell, candidate];
        // SAFETY: these are the kernel's parameters, views of one step's rows of a tape and of what was made for its
        // dimensions; the kernel touches those that its cell keeps, as far as the hidden state goes.
        unsafe { cuda.launch(&self.forward, step_grid(after.hidden), matrices.map(Argument::Matrix)) }
            .map_err(Into::into)
    }

    /// From the gradients of the output and of the state after, which become those of the state before.
    pub(super) fn backward(
        &self,
        cuda: &Cuda,
        taped: Gates,
        [before, after]: [State; 2],
        output: Matrix,
        filled: Gates,
        gradients: State,
        products: Matrix,
    ) -> Result<()> {
        let matrices = [
            taped.gates,
            before.hidden,
            before.cell,
            after.hidden,
            after.cell,
            taped.candidate,
            output,
            filled.gates,
            filled.candidate,
            gradients.hidden,
            gradients.cell,
            products,
        ];
        // SAFETY: as above, with an adjoint of the same dimensions.
        unsafe { cuda.launch(&self.backward, step_grid(gradients.hidden), matrices.map(Argument::Matrix)) }
            .map_err(Into::into)
    }
}

/// A thread for each unit of each row.
fn step_grid(states: Matrix) -> Grid {
    let units = states.rows as usize * states.cols as usize;
    Grid::row(units.div_ceil(STEP_THREADS as usize), STEP_THREADS, 0)
}

/// Where a matrix begins.
fn address(matrix: Matrix) -> Argument {
    Argument::Address(matrix.data)
}
