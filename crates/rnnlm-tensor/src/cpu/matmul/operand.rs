//! The operands of a matrix multiplication and its epilogue.

/// A matrix that is read: element `(i, p)` is `values[i·row_stride + p·col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a> {
    /// The elements.
    pub values: &'a [f32],
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns: 1 for a row-major matrix, the leading dimension for a transposed one.
    pub col_stride: usize,
}

impl<'a> MatRef<'a> {
    /// A row-major matrix with leading dimension `stride`.
    pub fn row_major(values: &'a [f32], stride: usize) -> Self {
        Self { values, row_stride: stride, col_stride: 1 }
    }

    /// The transpose of a row-major matrix with leading dimension `stride`.
    pub fn transposed(values: &'a [f32], stride: usize) -> Self {
        Self { values, row_stride: 1, col_stride: stride }
    }

    /// The submatrix that starts at `(row, col)`; empty if that is past the end, as in an empty sum.
    #[inline(always)]
    pub(super) fn submatrix(self, [row, col]: [usize; 2]) -> Self {
        let start = row * self.row_stride + col * self.col_stride;
        Self { values: self.values.get(start..).unwrap_or_default(), ..self }
    }
}

/// What is added to each element of the product after its last block sum.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// Nothing.
    None,
    /// The same row for every row of the output: a bias.
    Bias(&'a [f32]),
    /// A row of a table for each row of the output: one-hot input times its weight.
    Gather {
        /// The table, row-major, starting at the column that is added to the first column of the output.
        values: &'a [f32],
        /// Leading dimension of the table.
        stride: usize,
        /// The table's row for each row of the output.
        ids: &'a [u32],
    },
}

impl Epilogue<'_> {
    /// The epilogue of the part of the output that starts at `(row, col)`.
    #[inline(always)]
    pub(super) fn at(self, row: usize, col: usize) -> Self {
        match self {
            Self::None => self,
            Self::Bias(values) => Self::Bias(&values[col..]),
            Self::Gather { values, stride, ids } => Self::Gather { values: &values[col..], stride, ids: &ids[row..] },
        }
    }
}

/// How sums are stored in the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Store<'a> {
    /// Leading dimension of the output.
    pub(super) stride: usize,
    /// Whether the old value of the output is the first term.
    pub(super) accumulate: bool,
    /// What is added last.
    pub(super) epilogue: Epilogue<'a>,
}

impl Store<'_> {
    /// How the part of the output that starts at `(row, col)` is stored.
    #[inline(always)]
    pub(super) fn at(self, row: usize, col: usize) -> Self {
        Self { epilogue: self.epilogue.at(row, col), ..self }
    }

    /// How the sums of one block of `k` are stored: every block but the first is added to those before it, and the epilogue
    /// comes with the last.
    #[inline(always)]
    pub(super) fn of_block(self, is_first: bool, is_last: bool) -> Self {
        let epilogue = if is_last { self.epilogue } else { Epilogue::None };
        Self { stride: self.stride, accumulate: self.accumulate || !is_first, epilogue }
    }
}
