//! Default values in `config.json`.

/// Whether a setting has its default value, so that `config.json` omits it.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
