//! Conversions between the CPU's matrices and `ndarray` arrays. Views convert without copying: the row stride of a padded
//! matrix is the first stride of the array.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Ix2, ShapeBuilder, StrideShape};

use super::device::Cpu;
use crate::{Error, Layout, Result, Tensor, View, ViewMut};

/// Why a [`Layout`] that refers to its buffer is the shape of an array.
const VALID_LAYOUT: &str = "the rows of a layout are inside its buffer and do not overlap";

/// `ndarray` accepts only strides 0 for an empty array in an empty slice.
fn strided_shape(layout: Layout) -> StrideShape<Ix2> {
    let strides = if layout.is_empty() { (0, 0) } else { (layout.stride, 1) };
    (layout.rows, layout.cols).strides(strides)
}

impl<'a> From<View<'a, Cpu>> for ArrayView2<'a, f32> {
    /// # Panics
    /// If the view's layout exceeds its buffer.
    fn from(view: View<'a, Cpu>) -> Self {
        let values = &view.buffer[view.layout.span()];
        Self::from_shape(strided_shape(view.layout), values).expect(VALID_LAYOUT)
    }
}

impl<'a> From<ViewMut<'a, Cpu>> for ArrayViewMut2<'a, f32> {
    /// # Panics
    /// If the view's layout exceeds its buffer, or its stride is less than its number of columns.
    fn from(view: ViewMut<'a, Cpu>) -> Self {
        let values = &mut view.buffer[view.layout.span()];
        Self::from_shape(strided_shape(view.layout), values).expect(VALID_LAYOUT)
    }
}

impl<'a> TryFrom<ArrayView2<'a, f32>> for View<'a, Cpu> {
    type Error = Error;

    /// # Errors
    /// If the array is not row-major and contiguous.
    fn try_from(array: ArrayView2<'a, f32>) -> Result<Self> {
        let (rows, cols) = array.dim();
        let values = array.to_slice().ok_or_else(|| not_row_major(array.dim(), array.strides()))?;
        Ok(Self::new(values, Layout::dense(0, rows, cols)))
    }
}

impl<'a> TryFrom<ArrayViewMut2<'a, f32>> for ViewMut<'a, Cpu> {
    type Error = Error;

    /// # Errors
    /// If the array is not row-major and contiguous.
    fn try_from(array: ArrayViewMut2<'a, f32>) -> Result<Self> {
        let (rows, cols) = array.dim();
        let error = not_row_major(array.dim(), array.strides());
        let values = array.into_slice().ok_or(error)?;
        Ok(Self::new(values, Layout::dense(0, rows, cols)))
    }
}

fn not_row_major((rows, cols): (usize, usize), strides: &[isize]) -> Error {
    Error::NotRowMajor { shape: [rows, cols], strides: [strides[0], strides[1]] }
}

impl Tensor<Cpu> {
    /// A matrix without padding with the elements of an array, which may have any strides.
    ///
    /// # Errors
    /// If the CPU is out of memory.
    pub fn from_array(cpu: &Cpu, array: ArrayView2<'_, f32>) -> Result<Self> {
        let (rows, cols) = array.dim();
        let mut tensor = Self::zeros(cpu, rows, cols)?;
        tensor.as_array_mut().assign(&array);
        Ok(tensor)
    }

    /// The matrix as an array that shares its memory.
    pub fn as_array(&self) -> ArrayView2<'_, f32> {
        self.view().into()
    }

    /// The matrix as a mutable array that shares its memory.
    pub fn as_array_mut(&mut self) -> ArrayViewMut2<'_, f32> {
        self.view_mut().into()
    }

    /// A copy of the elements.
    pub fn to_array(&self) -> Array2<f32> {
        self.as_array().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{array, s};

    use super::*;
    use crate::ops;

    fn cpu() -> Cpu {
        Cpu::new(1).unwrap()
    }

    #[test]
    fn a_padded_block_of_a_tensor_is_an_array_that_shares_its_memory() {
        let mut tensor = Tensor::padded(&cpu(), 2, 3).unwrap();
        tensor.write(&cpu(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let view = tensor.view();
        let block = ArrayView2::from(view.cols(1..3));
        assert_eq!(block, array![[2.0, 3.0], [5.0, 6.0]]);
        assert_eq!((block.as_ptr(), block.strides()), (view.buffer[1..].as_ptr(), &[16, 1][..]));
        ArrayViewMut2::from(tensor.view_mut().rows(1..2).cols(0..2)).fill(7.0);
        assert_eq!(tensor.to_array(), array![[1.0, 2.0, 3.0], [7.0, 7.0, 6.0]]);
    }

    #[test]
    fn a_row_major_array_is_a_view_that_shares_its_memory() {
        let mut array = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
        let pointer = array.as_ptr();
        // rows 1 and 2 are contiguous too
        let view = View::try_from(array.slice(s![1.., ..])).unwrap();
        assert_eq!((view.buffer.as_ptr(), view.layout), (pointer.wrapping_add(2), Layout::dense(0, 2, 2)));
        ops::fill(&cpu(), 9.0, array.slice_mut(s![..2, ..]).try_into().unwrap()).unwrap();
        assert_eq!(array, array![[9.0, 9.0], [9.0, 9.0], [5.0, 6.0]]);
    }

    #[test]
    fn arrays_with_other_strides_are_copied_but_not_viewed() {
        let mut array = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
        let error = View::try_from(array.t()).unwrap_err();
        assert_eq!(error.to_string(), "an array of shape 3×2 needs strides [2, 1] to become a view, it has [1, 3]");
        let error = ViewMut::try_from(array.slice_mut(s![.., 1..])).unwrap_err();
        assert_eq!(error.to_string(), "an array of shape 2×2 needs strides [2, 1] to become a view, it has [3, 1]");
        assert!(View::try_from(array.slice(s![..;-1, ..])).is_err());
        let tensor = Tensor::from_array(&cpu(), array.t()).unwrap();
        assert_eq!(tensor.to_vec(&cpu()).unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn empty_matrices_and_single_rows_convert_in_both_directions() {
        for (rows, cols) in [(0, 0), (0, 3), (3, 0), (1, 1), (1, 5), (5, 1)] {
            let array = Array2::from_elem((rows, cols), 0.5);
            let tensor = Tensor::from_array(&cpu(), array.view()).unwrap();
            assert_eq!((tensor.shape(), tensor.as_array()), ([rows, cols], array.view()));
            assert_eq!(View::try_from(array.view()).unwrap().to_vec(&cpu()).unwrap(), vec![0.5; rows * cols]);
            let mut padded = Tensor::padded(&cpu(), rows, cols).unwrap();
            padded.as_array_mut().assign(&array);
            assert_eq!(padded.to_array(), array);
        }
    }
}
