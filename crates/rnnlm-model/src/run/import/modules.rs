//! Assigns the tensors of a file to the modules of a language model: embedding, recurrent layers, output layer.
//!
//! 1. [`Rename`]s change the names.
//! 2. The recurrent module is the one with `weight_ih_l0`, under any name.
//! 3. The embedding and the output layer are recognized by the last attribute of their path that is not a number:
//!    `embed` in `module.encoder.embed.0.weight`. Prefixes such as `model.` and `module.` have no effect.
//!
//! 4. A module with `head.weight` and `tail.0.0.weight` is an adaptive softmax, under any name.
//!
//! A module with two candidates, or a weight without a recognized name, is an error.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{SafeTensors, TensorView};

use super::super::weights::KEY;
use crate::import_error::ImportError;

/// Parts of names of embeddings. They take precedence over [`OUTPUT_PARTS`].
const EMBEDDING_PARTS: &[&str] = &["emb"];
/// Whole names of embeddings.
const EMBEDDING_NAMES: &[&str] = &["encoder", "lookup", "lookup_table", "word_vectors", "wte"];
/// Parts of names of output layers.
const OUTPUT_PARTS: &[&str] = &["linear", "fc", "out", "head", "dense", "proj", "logits"];
/// Whole names of output layers.
const OUTPUT_NAMES: &[&str] = &["decoder", "classifier", "generator"];

/// Renames an attribute path: a tensor `from`, or `from.…`, becomes `to`, or `to.…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// A tensor's name, or whole attributes from the start of it.
    pub from: String,
    /// What replaces them.
    pub to: String,
}

impl Rename {
    fn apply(&self, name: &str) -> Option<String> {
        let rest = name.strip_prefix(&self.from)?;
        (rest.is_empty() || rest.starts_with('.')).then(|| format!("{}{rest}", self.to))
    }
}

/// A module of a language model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModuleKind {
    /// A `torch.nn.Embedding`; absent for one-hot input.
    Embedding,
    /// A `torch.nn.RNN`, `GRU` or `LSTM`.
    Recurrent,
    /// A `torch.nn.Linear` from the layers' output to the logits, or a `torch.nn.AdaptiveLogSoftmaxWithLoss`.
    Output,
}

impl ModuleKind {
    /// All variants.
    pub const ALL: [Self; 3] = [Self::Embedding, Self::Recurrent, Self::Output];

    /// The attribute of the book's `RNNModel`: `embedding`, `rnn` or `linear`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Recurrent => "rnn",
            Self::Output => "linear",
        }
    }

    /// What it is, in words.
    pub fn description(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Recurrent => "recurrent layers",
            Self::Output => "output layer",
        }
    }

    /// The kind of module that owns a parameter, by its name.
    fn of(module: &str, parameter: &str) -> Option<Self> {
        if ["weight_ih_l", "weight_hh_l", "weight_hr_l"].iter().any(|start| parameter.starts_with(start)) {
            return Some(Self::Recurrent);
        }
        if !["weight", "bias"].contains(&parameter) {
            return None;
        }
        let is_number = |attribute: &str| attribute.bytes().all(|byte| byte.is_ascii_digit());
        let name = module.rsplit('.').find(|attribute| !is_number(attribute))?.to_ascii_lowercase();
        let is_one_of = |names: &[&str], parts: &[&str]| {
            names.contains(&name.as_str()) || parts.iter().any(|part| name.contains(part))
        };
        if is_one_of(EMBEDDING_NAMES, EMBEDDING_PARTS) {
            Some(Self::Embedding)
        } else {
            is_one_of(OUTPUT_NAMES, OUTPUT_PARTS).then_some(Self::Output)
        }
    }
}

/// A tensor and its name in the file.
struct NamedTensor<'a> {
    file_name: String,
    tensor: TensorView<'a>,
}

/// The tensors of a file under the names of the book's `RNNModel`.
pub(super) struct NamedTensors<'a> {
    tensors: BTreeMap<String, NamedTensor<'a>>,
    /// The path of each module after renaming.
    modules: BTreeMap<ModuleKind, String>,
    /// Whether the output module is an adaptive softmax.
    is_adaptive: bool,
}

/// The attribute of an adaptive softmax in our names.
const ADAPTIVE: &str = "softmax";

impl<'a> NamedTensors<'a> {
    pub(super) fn new(
        file: &SafeTensors<'a>,
        metadata: Option<&HashMap<String, String>>,
        renames: &[Rename],
    ) -> Result<Self, ImportError> {
        let mut tensors = BTreeMap::from_iter(file.tensors());
        add_shared(&mut tensors, metadata);
        let renamed = rename(tensors, renames)?;
        let adaptive = adaptive_path(&renamed)?;
        let modules = find_modules(&renamed, adaptive.as_deref())?;
        let canonical = |name: String| {
            if let Some(parameter) = adaptive.as_ref().and_then(|path| within(&name, path)) {
                return join(ADAPTIVE, parameter);
            }
            let (module, parameter) = split(&name);
            match modules.iter().find(|(_, path)| *path == module) {
                Some((kind, _)) => format!("{}.{parameter}", kind.as_str()),
                None => name,
            }
        };
        let mut tensors = BTreeMap::new();
        for (name, tensor) in renamed {
            insert(&mut tensors, canonical(name), tensor)?;
        }
        Ok(Self { tensors, modules, is_adaptive: adaptive.is_some() })
    }

    /// The tensor with one of our names.
    pub(super) fn get(&self, name: &str) -> Option<&TensorView<'a>> {
        self.tensors.get(name).map(|named| &named.tensor)
    }

    /// The tensor with one of our names; an error if there is none.
    pub(super) fn require(&self, name: &str) -> Result<&TensorView<'a>, ImportError> {
        self.get(name).ok_or_else(|| ImportError::Missing {
            tensor: self.file_name(name),
            others: self.tensors.values().map(|named| named.file_name.clone()).collect(),
        })
    }

    /// Our names, and the tensors.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &TensorView<'a>)> {
        self.tensors.iter().map(|(name, named)| (name.as_str(), &named.tensor))
    }

    /// The name in the file. For a missing tensor, the name that it would have.
    pub(super) fn file_name(&self, name: &str) -> String {
        if let Some(named) = self.tensors.get(name) {
            return named.file_name.clone();
        }
        let (module, parameter) = split(name);
        let adaptive = within(name, ADAPTIVE).filter(|_| self.is_adaptive);
        if let (Some(path), Some(parameter)) = (self.modules.get(&ModuleKind::Output), adaptive) {
            return join(path, parameter);
        }
        match self.modules.iter().find(|(kind, _)| kind.as_str() == module) {
            Some((_, path)) => join(path, parameter),
            None => name.to_owned(),
        }
    }

    /// The modules and their paths.
    pub(super) fn modules(&self) -> impl Iterator<Item = (ModuleKind, &str)> {
        self.modules.iter().map(|(&kind, path)| (kind, path.as_str()))
    }

    /// Whether a module has no biases at all, as with `bias=False`.
    pub(super) fn has_no_biases(&self, module: &str) -> bool {
        let is_bias = |name: &str| name.strip_prefix(module).is_some_and(|rest| rest.starts_with(".bias"));
        !self.tensors.keys().any(|name| is_bias(name))
    }
}

/// Adds the second names of shared tensors. `safetensors.torch.save_model` stores a shared tensor once, and its other names
/// in the metadata.
fn add_shared(tensors: &mut BTreeMap<String, TensorView<'_>>, metadata: Option<&HashMap<String, String>>) {
    let names = metadata.into_iter().flatten().filter(|(name, _)| *name != KEY);
    let shared: Vec<_> = names
        .filter(|(name, _)| !tensors.contains_key(*name))
        .filter_map(|(name, stored)| Some((name.clone(), tensors.get(stored)?.clone())))
        .collect();
    tensors.extend(shared);
}

/// Renames each tensor once, with the longest `from` that matches.
fn rename<'a>(
    tensors: BTreeMap<String, TensorView<'a>>,
    renames: &[Rename],
) -> Result<BTreeMap<String, NamedTensor<'a>>, ImportError> {
    for (index, Rename { from, to }) in renames.iter().enumerate() {
        if let Some(other) = renames[..index].iter().find(|other| other.from == *from) {
            let (first, second) = (other.to.clone(), to.clone());
            return Err(ImportError::RenamedTwice { from: from.clone(), first, second });
        }
    }
    if let Some(unused) = renames.iter().find(|rename| tensors.keys().all(|name| rename.apply(name).is_none())) {
        let others = tensors.into_keys().collect();
        return Err(ImportError::NothingToRename { from: unused.from.clone(), others });
    }
    let mut renamed = BTreeMap::new();
    for (file_name, tensor) in tensors {
        let longest = renames
            .iter()
            .filter_map(|rename| Some((rename.from.len(), rename.apply(&file_name)?)))
            .max_by_key(|(length, _)| *length);
        let name = longest.map_or_else(|| file_name.clone(), |(_, name)| name);
        insert(&mut renamed, name, NamedTensor { file_name, tensor })?;
    }
    Ok(renamed)
}

/// Inserts a tensor; an error if the name is taken.
fn insert<'a>(
    tensors: &mut BTreeMap<String, NamedTensor<'a>>,
    name: String,
    tensor: NamedTensor<'a>,
) -> Result<(), ImportError> {
    if let Some(other) = tensors.get(&name) {
        let (first, second) = (other.file_name.clone(), tensor.file_name);
        return Err(ImportError::SameName { name, first, second });
    }
    tensors.insert(name, tensor);
    Ok(())
}

/// The path of the adaptive softmax, if there is one.
fn adaptive_path(tensors: &BTreeMap<String, NamedTensor<'_>>) -> Result<Option<String>, ImportError> {
    let paths = tensors.keys().filter_map(|name| match name.as_str() {
        "head.weight" => Some(""),
        name => name.strip_suffix(".head.weight"),
    });
    let paths = paths.filter(|path| tensors.contains_key(&join(path, "tail.0.0.weight")));
    let mut paths: Vec<String> = paths.map(str::to_owned).collect();
    match paths.len() {
        0 | 1 => Ok(paths.pop()),
        _ => Err(ImportError::Ambiguous { module: ModuleKind::Output.description(), candidates: paths }),
    }
}

/// The rest of a tensor's name that is within the module `path`.
fn within<'a>(name: &'a str, path: &str) -> Option<&'a str> {
    let rest = if path.is_empty() { Some(name) } else { name.strip_prefix(path)?.strip_prefix('.') };
    rest.filter(|rest| rest.starts_with("head.") || rest.starts_with("tail."))
}

/// The path of each module. The path of an adaptive softmax is known.
fn find_modules(
    tensors: &BTreeMap<String, NamedTensor<'_>>,
    adaptive: Option<&str>,
) -> Result<BTreeMap<ModuleKind, String>, ImportError> {
    let mut candidates = BTreeMap::<ModuleKind, BTreeMap<&str, bool>>::new();
    let mut others = Vec::new();
    let is_other = |name: &str| adaptive.is_none_or(|path| within(name, path).is_none());
    for (name, NamedTensor { tensor, .. }) in tensors.iter().filter(|(name, _)| is_other(name)) {
        let (module, parameter) = split(name);
        let is_matrix = tensor.shape().len() == 2;
        match ModuleKind::of(module, parameter) {
            Some(kind) => *candidates.entry(kind).or_default().entry(module).or_default() |= is_matrix,
            None if parameter == "weight" && is_matrix => others.push((module, tensor.shape())),
            None => {}
        }
    }
    let mut modules = BTreeMap::new();
    if let Some(path) = adaptive {
        modules.insert(ModuleKind::Output, path.to_owned());
        candidates.remove(&ModuleKind::Output);
    }
    for (kind, mut candidates) in candidates {
        // a normalization layer such as `out_norm` has a weight of one dimension
        if candidates.values().any(|&has_matrix| has_matrix) {
            candidates.retain(|_, has_matrix| *has_matrix);
        }
        let paths: Vec<String> = candidates.into_keys().map(str::to_owned).collect();
        match <[String; 1]>::try_from(paths) {
            Ok([path]) => modules.insert(kind, path),
            Err(candidates) => return Err(ImportError::Ambiguous { module: kind.description(), candidates }),
        };
    }
    let is_complete = [ModuleKind::Embedding, ModuleKind::Output].iter().all(|kind| modules.contains_key(kind));
    if is_complete || others.is_empty() {
        return Ok(modules);
    }
    let others = others.into_iter().map(|(module, shape)| (module.to_owned(), shape.to_vec())).collect();
    Err(ImportError::Unrecognized { modules: others })
}

/// The module and the parameter of a tensor's name.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

fn join(module: &str, parameter: &str) -> String {
    if module.is_empty() { parameter.to_owned() } else { format!("{module}.{parameter}") }
}
