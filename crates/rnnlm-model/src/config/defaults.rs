//! Default values in `config.json`.

/// Whether a setting has its default value, so that `config.json` omits it.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The default of a setting that is on unless the user turns it off.
pub(crate) fn enabled() -> bool {
    true
}

/// The default of a number that is 1 unless the user sets it.
pub(crate) fn one<T: From<u8>>() -> T {
    T::from(1)
}

/// Whether a number has the default value [`one`].
pub(crate) fn is_one<T: From<u8> + PartialEq>(value: &T) -> bool {
    *value == one()
}
