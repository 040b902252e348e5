//! Default values in `config.json`.

/// Whether a setting has its default value, so that `config.json` omits it.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The default of a number that is at least 1.
pub(crate) fn one() -> usize {
    1
}

/// Whether a number has the default [`one`].
pub(crate) fn is_one(value: &usize) -> bool {
    *value == 1
}

/// The default of a setting that is on unless the user turns it off.
pub(crate) fn enabled() -> bool {
    true
}
