//! Golden checkpoints, and checkpoints that a test changes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use rnnlm_model::{Checkpoint, ImportOptions, Normalization, Rename, Result, TokenKind, Vocab};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Reads a checkpoint without options.
pub(crate) fn read(path: &Path) -> Result<Checkpoint> {
    Checkpoint::read(path, &ImportOptions::default())
}

/// Options with these renames.
pub(crate) fn renames(pairs: &[(&str, &str)]) -> ImportOptions {
    let renames = pairs.iter().map(|(from, to)| Rename { from: (*from).to_owned(), to: (*to).to_owned() });
    ImportOptions { renames: renames.collect(), ..ImportOptions::default() }
}

/// The metadata of a checkpoint.
pub(crate) fn metadata(path: &Path) -> HashMap<String, String> {
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    header.metadata().clone().unwrap()
}

/// The files of a folder in `tests/fixtures`.
pub(crate) fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A file of `tests/fixtures/import`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    fixtures("import").into_iter().find(|path| path.ends_with(format!("{name}.safetensors"))).unwrap()
}

/// A vocabulary of `<unk>` and letters.
pub(crate) fn vocab(len: usize) -> Vocab {
    let letters = ('a'..='z').take(len - 1).map(|letter| letter.to_string().into_boxed_str());
    let tokens = std::iter::once("<unk>".into()).chain(letters).collect();
    Vocab::from_tokens(TokenKind::Char, Normalization::Book, tokens).unwrap()
}

/// The tensors of a file, which a test can change: type, shape, bytes.
pub(crate) struct Tensors(pub(crate) BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    pub(crate) fn read(name: &str) -> Self {
        Self::read_path(&fixture(name))
    }

    pub(crate) fn read_path(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |(name, view): (&str, TensorView<'_>)| {
            (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        };
        Self(file.iter().map(tensor).collect())
    }

    pub(crate) fn zeros(&mut self, name: &str, shape: &[usize]) {
        let len = 4 * shape.iter().product::<usize>();
        self.0.insert(name.to_owned(), (Dtype::F32, shape.to_vec(), vec![0; len]));
    }

    /// Renames a tensor, or all tensors of a module.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let renamed = std::mem::take(&mut self.0).into_iter().map(|(name, tensor)| match name.strip_prefix(from) {
            Some(rest) if rest.is_empty() || rest.starts_with('.') => (format!("{to}{rest}"), tensor),
            _ => (name, tensor),
        });
        self.0 = renamed.collect();
    }

    pub(crate) fn copy(&mut self, from: &str, to: &str) {
        self.0.insert(to.to_owned(), self.0[from].clone());
    }

    pub(crate) fn write(&self, path: &Path, metadata: Option<(&str, &str)>) {
        let view = |(name, (dtype, shape, bytes)): (&String, &(Dtype, Vec<usize>, Vec<u8>))| {
            (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap().data().to_vec())
        };
        let owned: Vec<_> = self.0.iter().map(view).collect();
        let views = owned.iter().map(|(name, bytes)| {
            let (dtype, shape, _) = &self.0[name];
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        let metadata = metadata.map(|(key, value)| [(key.to_owned(), value.to_owned())].into());
        fs::write(path, safetensors::serialize(views, metadata).unwrap()).unwrap();
    }
}
