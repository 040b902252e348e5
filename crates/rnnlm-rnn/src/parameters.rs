//! Parameters and gradients: matrices under PyTorch's names, contiguous in one buffer, so that the norm, clipping and update of
//! all of them are one operation each.

use std::ops::Range;

use rnnlm_tensor::{Backend, Layout, View, ViewMut};

use crate::{Error, Result};

/// Identifies a parameter of a [`ParameterLayout`] in every set built from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterId(usize);

/// The name, shape and position of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// PyTorch's name, such as `rnn.weight_hh_l0`.
    pub name: String,
    /// PyTorch's shape; a bias has one dimension.
    pub shape: Vec<usize>,
    /// Whether it is the table of a `torch.nn.Embedding`, which PyTorch draws from `N(0, 1)`.
    pub embedding: bool,
    /// PyTorch's `fan_in`: an initial value is drawn from `U(−1/√fan_in, 1/√fan_in)`.
    pub fan_in: usize,
    layout: Layout,
}

impl ParameterSpec {
    /// Its range in the flat buffer.
    pub fn range(&self) -> Range<usize> {
        self.layout.span()
    }
}

/// The list of all parameters of a model, in PyTorch's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterLayout {
    specs: Vec<ParameterSpec>,
    /// Second names of tied parameters.
    tied: Vec<ParameterSpec>,
    len: usize,
}

impl ParameterLayout {
    /// Appends a weight `[rows, cols]`.
    ///
    /// # Errors
    /// If the sizes overflow.
    pub fn add_weight(
        &mut self,
        name: impl Into<String>,
        [rows, cols]: [usize; 2],
        fan_in: usize,
    ) -> Result<ParameterId> {
        self.add(name.into(), vec![rows, cols], [rows, cols], fan_in)
    }

    /// Appends a bias `[len]`; as a view it is `[1, len]`.
    ///
    /// # Errors
    /// If the sizes overflow.
    pub fn add_bias(&mut self, name: impl Into<String>, len: usize, fan_in: usize) -> Result<ParameterId> {
        self.add(name.into(), vec![len], [1, len], fan_in)
    }

    /// Appends the table of an embedding, `[entries, size]`.
    ///
    /// # Errors
    /// If the sizes overflow.
    pub fn add_embedding(&mut self, name: impl Into<String>, [entries, size]: [usize; 2]) -> Result<ParameterId> {
        let id = self.add_weight(name, [entries, size], 1)?;
        self.specs[id.0].embedding = true;
        Ok(id)
    }

    /// Gives a parameter a second name: tied weights are stored under both.
    pub fn add_name(&mut self, name: impl Into<String>, id: ParameterId) -> ParameterId {
        self.tied.push(ParameterSpec { name: name.into(), ..self.specs[id.0].clone() });
        id
    }

    fn add(&mut self, name: String, shape: Vec<usize>, [rows, cols]: [usize; 2], fan_in: usize) -> Result<ParameterId> {
        let end = rows.checked_mul(cols).and_then(|len| self.len.checked_add(len));
        // four bytes an element, and an allocation may not exceed `isize::MAX` bytes
        let Some(end) = end.filter(|&end| end <= isize::MAX as usize / 4) else {
            return Err(Error::TooLarge { name, rows, cols });
        };
        self.specs.push(ParameterSpec {
            name,
            shape,
            embedding: false,
            fan_in,
            layout: Layout::dense(self.len, rows, cols),
        });
        self.len = end;
        Ok(ParameterId(self.specs.len() - 1))
    }

    /// The second names of tied parameters, each with the range of the first.
    pub fn tied(&self) -> &[ParameterSpec] {
        &self.tied
    }

    /// Number of values under all names, as stored in a file.
    pub fn stored_len(&self) -> usize {
        self.len + self.tied.iter().map(|spec| spec.range().len()).sum::<usize>()
    }

    /// Every parameter, in order.
    pub fn specs(&self) -> &[ParameterSpec] {
        &self.specs
    }

    /// One parameter.
    pub fn spec(&self, id: ParameterId) -> &ParameterSpec {
        &self.specs[id.0]
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A value for every parameter of a layout: the weights of a model, or the gradients of a loss.
#[derive(Debug)]
pub struct ParameterSet<B: Backend> {
    layout: ParameterLayout,
    buffer: B::Buffer,
    version: u64,
}

impl<B: Backend> ParameterSet<B> {
    /// All zeros.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn zeros(backend: &B, layout: &ParameterLayout) -> Result<Self> {
        // padded like a row: the last bias may be read in whole vectors
        let buffer = backend.allocate(backend.row_stride(layout.len()))?;
        Ok(Self { layout: layout.clone(), buffer, version: 0 })
    }

    /// The list of parameters.
    pub fn layout(&self) -> &ParameterLayout {
        &self.layout
    }

    /// A counter that changes whenever a value may have changed: packed copies of weights are valid for one version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// One parameter, to read.
    pub fn view(&self, id: ParameterId) -> View<'_, B> {
        View::new(&*self.buffer, self.layout.specs[id.0].layout)
    }

    /// One parameter, to write.
    pub fn view_mut(&mut self, id: ParameterId) -> ViewMut<'_, B> {
        self.version += 1;
        ViewMut::new(&mut *self.buffer, self.layout.specs[id.0].layout)
    }

    /// All values as one row, to read.
    pub fn flat(&self) -> View<'_, B> {
        View::new(&*self.buffer, Layout::dense(0, 1, self.layout.len))
    }

    /// All values as one row, to write.
    pub fn flat_mut(&mut self) -> ViewMut<'_, B> {
        self.version += 1;
        ViewMut::new(&mut *self.buffer, Layout::dense(0, 1, self.layout.len))
    }

    /// Every value on the host, in the order of the layout.
    ///
    /// # Errors
    /// If the device fails.
    pub fn to_vec(&self, backend: &B) -> Result<Vec<f32>> {
        let mut values = vec![0.0; self.layout.len];
        backend.read(&self.buffer, 0, &mut values)?;
        Ok(values)
    }

    /// Replaces every value, in the order of the layout.
    ///
    /// # Errors
    /// If the number of values differs from that of the layout, or the device fails.
    pub fn write(&mut self, backend: &B, values: &[f32]) -> Result<()> {
        if values.len() != self.layout.len {
            return Err(rnnlm_tensor::Error::Length {
                op: "ParameterSet::write",
                what: "values",
                expected: self.layout.len,
                found: values.len(),
            }
            .into());
        }
        self.version += 1;
        Ok(backend.write(values, &mut self.buffer, 0)?)
    }
}
