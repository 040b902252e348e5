//! Values on the command line and in files: what a text must be to stand for one, and what is said if it is not.

use rnnlm_model::{Cell, Init, Nonlinearity, OptimizerConfig};
use rnnlm_vocab::{Normalization, Sampling, TokenKind};

/// One of some names, or an error that lists them.
fn one_of<T: Copy>(text: &str, names: &[(&str, T)]) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == text).map(|&(_, value)| value);
    found.ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        format!("one of {} is needed", names.join(", "))
    })
}

pub(crate) fn token_kind(text: &str) -> Result<TokenKind, String> {
    one_of(text, &TokenKind::ALL.map(|kind| (kind.as_str(), kind)))
}

pub(crate) fn normalization(text: &str) -> Result<Normalization, String> {
    one_of(text, &Normalization::ALL.map(|value| (value.as_str(), value)))
}

pub(crate) fn cell(text: &str) -> Result<Cell, String> {
    one_of(text, &Cell::defaults().map(|cell| (cell.as_str(), cell)).collect::<Vec<_>>())
}

pub(crate) fn nonlinearity(text: &str) -> Result<Nonlinearity, String> {
    one_of(text, &Nonlinearity::ALL.map(|value| (value.as_str(), value)))
}

pub(crate) fn init(text: &str) -> Result<Init, String> {
    one_of(text, &[("uniform", Init::Uniform), ("normal", Init::Normal)])
}

pub(crate) fn sampling(text: &str) -> Result<Sampling, String> {
    one_of(text, &[("sequential", Sampling::Sequential), ("random", Sampling::Random)])
}

pub(crate) fn positive(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(value) => Ok(value),
        Err(error) => Err(error.to_string()),
    }
}

/// A number for which `good` holds, or an error that says what is needed.
fn number<T>(text: &str, good: impl Fn(T) -> bool, needed: &str) -> Result<T, String>
where
    T: std::str::FromStr + Copy,
    T::Err: std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(value) if good(value) => Ok(value),
        Ok(_) => Err(needed.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn rate(text: &str) -> Result<f32, String> {
    number(text, |x: f32| x.is_finite() && x > 0.0, "it must be a finite number above 0")
}

pub(crate) fn not_negative(text: &str) -> Result<f32, String> {
    number(text, |x: f32| x.is_finite() && x >= 0.0, "it must be a finite number, 0 for none")
}

pub(crate) fn below_one(text: &str) -> Result<f32, String> {
    number(text, |x: f32| (0.0..1.0).contains(&x), "it must be from 0 to below 1")
}

pub(crate) fn share(text: &str) -> Result<f64, String> {
    number(text, |x: f64| (0.0..1.0).contains(&x), "it must be from 0 to below 1")
}

pub(crate) fn factor(text: &str) -> Result<f64, String> {
    number(text, |x: f64| x > 0.0 && x <= 1.0, "it must be above 0 and at most 1")
}

pub(crate) fn finite(text: &str) -> Result<f64, String> {
    number(text, |x: f64| x.is_finite() && x >= 0.0, "it must be a finite number, not below 0")
}

/// With PyTorch's settings; those that are given replace them later.
pub(crate) fn optimizer(text: &str) -> Result<OptimizerConfig, String> {
    one_of(text, &OptimizerConfig::ALL.map(|optimizer| (optimizer.as_str(), optimizer)))
}

/// A schedule, whose settings have flags of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScheduleName {
    Constant,
    Step,
    Exponential,
    Cosine,
    Plateau,
}

pub(crate) fn schedule(text: &str) -> Result<ScheduleName, String> {
    let names = [
        ("constant", ScheduleName::Constant),
        ("step", ScheduleName::Step),
        ("exponential", ScheduleName::Exponential),
        ("cosine", ScheduleName::Cosine),
        ("plateau", ScheduleName::Plateau),
    ];
    one_of(text, &names)
}

pub(crate) fn temperature(text: &str) -> Result<f64, String> {
    number(text, |x: f64| x.is_finite() && x >= 0.0, "it must be a finite number, 0 for greedy")
}
