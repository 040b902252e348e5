//! The reasons for which a weights file cannot be imported.

/// Why a weights file cannot become a run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file of `torch.save`.
    #[error("it is what `torch.save` writes, not safetensors")]
    Pickled,
    /// Bytes that are not `safetensors`.
    #[error("it is not safetensors: {0}")]
    Format(String),
    /// A missing tensor.
    #[error("it has no tensor `{tensor}`, only {}", list(others))]
    Missing {
        /// Its name.
        tensor: String,
        /// The tensors in the file, sorted.
        others: Vec<String>,
    },
    /// Several modules that could be the embedding, the recurrent layers or the output layer.
    #[error("the {module} could be {}", list(candidates))]
    Ambiguous {
        /// The module of the model.
        module: &'static str,
        /// The attribute paths in the file, sorted.
        candidates: Vec<String>,
    },
    /// Weights whose names do not determine whether they are an embedding or an output layer.
    #[error("the names of these modules are neither an embedding's nor an output layer's: {}", list_shapes(modules))]
    Unrecognized {
        /// The attribute paths in the file and the shapes of their weights, sorted.
        modules: Vec<(String, Vec<usize>)>,
    },
    /// A path to rename that no tensor has.
    #[error("no tensor is `{from}` or begins with `{from}.`, the file has {}", list(others))]
    NothingToRename {
        /// The path.
        from: String,
        /// The tensors in the file, sorted.
        others: Vec<String>,
    },
    /// A path with two new names.
    #[error("`{from}` is renamed to both `{first}` and `{second}`")]
    RenamedTwice {
        /// The path.
        from: String,
        /// Its first new name.
        first: String,
        /// Its second new name.
        second: String,
    },
    /// Two tensors with the same new name.
    #[error("`{first}` and `{second}` would both be `{name}`")]
    SameName {
        /// The new name.
        name: String,
        /// The name of one tensor in the file.
        first: String,
        /// The name of the other tensor in the file.
        second: String,
    },
    /// A tensor that is not a parameter of the model.
    #[error("tensor `{tensor}` {shape:?} is not a parameter of the model: {model}")]
    Unexpected {
        /// Its name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The model that the other tensors describe.
        model: String,
    },
    /// A tensor that should be a matrix.
    #[error("tensor `{tensor}` is {found:?}, it must have two dimensions")]
    NotAMatrix {
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor whose shape does not fit the other tensors.
    #[error("tensor `{tensor}` is {found:?}, by the others it must be {expected:?}")]
    Shape {
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The expected shape.
        expected: Vec<usize>,
    },
    /// A recurrent weight whose shape fits no cell.
    #[error("tensor `{tensor}` is {found:?}, which fits no cell: its rows must be 1, 3 or 4 times its columns")]
    Gates {
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor that does not have a floating-point type of 16, 32 or 64 bits.
    #[error("tensor `{tensor}` holds {found}, it must hold F32, F64, F16 or BF16")]
    Dtype {
        /// Its name.
        tensor: String,
        /// Its type, in the words of the format.
        found: String,
    },
    /// A value that is not finite as float32.
    #[error("tensor `{tensor}` holds {value} at index {index}, it must be finite as float32")]
    NotFinite {
        /// Its name.
        tensor: String,
        /// The index in the flat tensor.
        index: usize,
        /// The value as float32.
        value: f32,
    },
    /// A vocabulary whose size differs from the output layer's.
    #[error("tensor `{tensor}` has {rows} rows, the vocabulary has {tokens} entries")]
    VocabSize {
        /// Name of the output layer's weight.
        tensor: String,
        /// **V** of the model.
        rows: usize,
        /// Entries of the vocabulary's file.
        tokens: usize,
    },
    /// An adaptive softmax with shapes that no cutoffs and no `div_value` give.
    #[error("tensor `{tensor}` is {found:?}, which is no head of clusters of sizes and features {clusters:?}")]
    Clusters {
        /// Name of the head's weight.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// Tokens and features of each cluster.
        clusters: Vec<[usize; 2]>,
    },
    /// A vocabulary in another order than the clusters of an adaptive softmax.
    #[error(
        "an adaptive softmax assigns tokens to clusters by id, so the vocabulary must have `<unk>` first and the order of \
             the weights"
    )]
    ClusterOrder,
    /// A requested non-linearity that is not the file's.
    #[error("`nonlinearity` is {requested}, and the file holds {model}")]
    Nonlinearity {
        /// The requested non-linearity.
        requested: &'static str,
        /// The cell in the file.
        model: String,
    },
}

/// The most names in a message.
const MAX_NAMES: usize = 6;

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "an empty file".to_owned();
    }
    join(names.len(), names.iter().map(|name| format!("`{name}`")))
}

fn list_shapes(modules: &[(String, Vec<usize>)]) -> String {
    join(modules.len(), modules.iter().map(|(name, shape)| format!("`{name}` {shape:?}")))
}

fn join(len: usize, items: impl Iterator<Item = String>) -> String {
    let more = if len > MAX_NAMES { format!(" and {} more", len - MAX_NAMES) } else { String::new() };
    items.take(MAX_NAMES).collect::<Vec<_>>().join(", ") + &more
}
