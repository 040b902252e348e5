//! Parsers for the values of flags, which also check variables and configuration files.

use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

use rnnlm_model::{Cell, Init, Nonlinearity, OptimizerConfig};
use rnnlm_vocab::{Documents, LineEndConversion, Normalization, Sampling, TextEncoding, TokenKind};

/// The value with this name, or an error that lists the names.
pub(crate) fn one_of<T: Copy>(text: &str, names: &[(&str, T)]) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == text).map(|&(_, value)| value);
    found.ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

pub(crate) fn token_kind(text: &str) -> Result<TokenKind, String> {
    one_of(text, &TokenKind::ALL.map(|kind| (kind.as_str(), kind)))
}

pub(crate) fn normalization(text: &str) -> Result<Normalization, String> {
    one_of(text, &Normalization::ALL.map(|value| (value.as_str(), value)))
}

pub(crate) fn line_ends(text: &str) -> Result<LineEndConversion, String> {
    one_of(text, &LineEndConversion::ALL.map(|value| (value.as_str(), value)))
}

pub(crate) fn documents(text: &str) -> Result<Documents, String> {
    one_of(text, &Documents::ALL.map(|value| (value.as_str(), value)))
}

/// A text encoding, by one of its names on the web.
pub(crate) fn encoding(text: &str) -> Result<TextEncoding, String> {
    let examples = "expected a name such as utf-8, utf-16le, windows-1252, iso-8859-2, koi8-r, gbk, big5 or shift_jis";
    text.parse().map_err(|_| examples.to_owned())
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

/// An optimizer with PyTorch's default settings.
pub(crate) fn optimizer(text: &str) -> Result<OptimizerConfig, String> {
    one_of(text, &OptimizerConfig::ALL.map(|optimizer| (optimizer.as_str(), optimizer)))
}

/// The cutoffs of an adaptive softmax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cutoffs(pub(crate) Vec<usize>);

pub(crate) fn cutoffs(text: &str) -> Result<Cutoffs, String> {
    let cutoff = |number: &str| {
        let invalid = |_| format!("`{number}` is not a cutoff, expected numbers such as 2000,10000,50000");
        number.trim().parse().map_err(invalid)
    };
    text.split(',').map(cutoff).collect::<Result<_, String>>().map(Cutoffs)
}

/// A learning rate schedule. Its settings have flags of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScheduleName {
    Constant,
    Step,
    Exponential,
    Cosine,
    OneCycle,
    Plateau,
}

pub(crate) fn schedule(text: &str) -> Result<ScheduleName, String> {
    let names = [
        ("constant", ScheduleName::Constant),
        ("step", ScheduleName::Step),
        ("exponential", ScheduleName::Exponential),
        ("cosine", ScheduleName::Cosine),
        ("one-cycle", ScheduleName::OneCycle),
        ("plateau", ScheduleName::Plateau),
    ];
    one_of(text, &names)
}

/// An average of the parameters. Its settings have flags of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AverageName {
    None,
    NtAsgd,
    Ema,
}

pub(crate) fn average(text: &str) -> Result<AverageName, String> {
    one_of(text, &[("none", AverageName::None), ("nt-asgd", AverageName::NtAsgd), ("ema", AverageName::Ema)])
}

/// The value of `--seed`: a number, or `random` for one that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed {
    pub(crate) value: u64,
    pub(crate) is_random: bool,
}

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "random" {
            // the standard library keys its hash maps with random bits; 32 of them are easy to type again
            let value = RandomState::new().hash_one(0) >> 32;
            return Ok(Self { value, is_random: true });
        }
        let value = text.parse().map_err(|error| format!("{error}; expected a number or random"))?;
        Ok(Self { value, is_random: false })
    }
}

/// A number that satisfies `is_valid`, or an error with the requirement.
fn number<T>(text: &str, is_valid: impl Fn(T) -> bool, requirement: &str) -> Result<T, String>
where
    T: std::str::FromStr + Copy,
    T::Err: std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(value) if is_valid(value) => Ok(value),
        Ok(_) => Err(requirement.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    number(text, |x: usize| x > 0, "must be at least 1")
}

pub(crate) fn positive_f32(text: &str) -> Result<f32, String> {
    number(text, |x: f32| x.is_finite() && x > 0.0, "must be finite and above 0")
}

pub(crate) fn non_negative_f32(text: &str) -> Result<f32, String> {
    number(text, |x: f32| x.is_finite() && x >= 0.0, "must be finite and at least 0")
}

pub(crate) fn non_negative_f64(text: &str) -> Result<f64, String> {
    number(text, |x: f64| x.is_finite() && x >= 0.0, "must be finite and at least 0")
}

pub(crate) fn positive_f64(text: &str) -> Result<f64, String> {
    number(text, |x: f64| x.is_finite() && x > 0.0, "must be finite and above 0")
}

pub(crate) fn finite_f64(text: &str) -> Result<f64, String> {
    number(text, f64::is_finite, "must be finite")
}

/// A fraction in double precision above 0, such as a factor that reduces the learning rate.
pub(crate) fn positive_fraction(text: &str) -> Result<f64, String> {
    number(text, |x: f64| x > 0.0 && x <= 1.0, "must be above 0 and at most 1")
}

/// A fraction in double precision.
pub(crate) fn unit_interval(text: &str) -> Result<f64, String> {
    number(text, |x: f64| (0.0..=1.0).contains(&x), "must be between 0 and 1")
}

/// A probability or a decay rate in single precision.
pub(crate) fn below_one_f32(text: &str) -> Result<f32, String> {
    number(text, |x: f32| (0.0..1.0).contains(&x), "must be at least 0 and below 1")
}

/// A fraction or a decay rate in double precision.
pub(crate) fn below_one_f64(text: &str) -> Result<f64, String> {
    number(text, |x: f64| (0.0..1.0).contains(&x), "must be at least 0 and below 1")
}

/// A value that others are compared with; it may be infinite.
pub(crate) fn threshold(text: &str) -> Result<f64, String> {
    number(text, |x: f64| !x.is_nan(), "must be a number")
}
