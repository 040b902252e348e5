//! A text file of the repository.

/// A UTF-8 file, with its path relative to the repository's root.
pub(super) struct TextFile {
    pub(super) path: String,
    pub(super) text: String,
}
