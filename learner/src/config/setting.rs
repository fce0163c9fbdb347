//! What a program can read of a setting: its names, default, bounds and help. The command line, the file and the
//! documentation are made from the same table; nothing here knows a particular setting.

use super::ConfigError;
use super::values::Number;
use std::fmt;

/// One setting as a person meets it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// The key in a configuration file, e.g. `batch_size`.
    pub key: &'static str,
    /// The environment variable, e.g. `IMPALA_BATCH_SIZE`.
    pub variable: &'static str,
    /// The default as help texts tell it; prose where it follows from something else.
    pub default: &'static str,
    /// The values that are accepted, as far as they do not depend on other settings.
    pub bounds: Bounds,
    /// What it does, in a sentence or two.
    pub help: &'static str,
    /// The heading that it stands under.
    pub section: &'static str,
}

impl Setting {
    /// The command line flag, e.g. `--batch-size`.
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }
}

/// The numbers that a setting accepts. Shown, it completes the sentence "choose ..".
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bounds {
    /// Whatever its type can hold.
    Any,
    /// A whole number from 1 to this.
    UpTo(usize),
    /// A whole number from 1 to `max`, or 0 with a meaning of its own.
    UpToOrZero {
        /// The largest.
        max: usize,
        /// What 0 means, as the bounds tell it.
        zero: &'static str,
    },
    /// A whole number of at least one; in words, with an example.
    AtLeastOne(&'static str),
    /// From 0 to 1.
    Fraction,
    /// From 0 to below 1.
    BelowOne,
    /// Finite and above 0.
    Positive,
    /// Finite, 0 or more.
    NotNegative,
    /// Neither infinite nor NaN.
    Finite,
    /// Seconds, from a hundredth to this.
    SecondsUpTo(f64),
}

impl Bounds {
    /// Whether a value of the setting lies within.
    ///
    /// # Errors
    /// It does not; the message has key, value and bounds.
    pub(super) fn check(self, key: &'static str, value: impl Number) -> Result<(), ConfigError> {
        match self.holds(value.real()) {
            true => Ok(()),
            false => super::invalid(key, value, format!("choose {self}")),
        }
    }

    fn holds(self, value: f64) -> bool {
        match self {
            Self::Any => true,
            Self::UpTo(max) => (1.0..=max as f64).contains(&value),
            Self::UpToOrZero { max, .. } => (0.0..=max as f64).contains(&value),
            Self::AtLeastOne(_) => value >= 1.0,
            Self::Fraction => (0.0..=1.0).contains(&value),
            Self::BelowOne => (0.0..1.0).contains(&value),
            Self::Positive => value.is_finite() && value > 0.0,
            Self::NotNegative => value.is_finite() && value >= 0.0,
            Self::Finite => value.is_finite(),
            Self::SecondsUpTo(max) => (0.01..=max).contains(&value),
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any value"),
            Self::UpTo(max) => write!(f, "a number from 1 to {max}"),
            Self::UpToOrZero { max, zero } => write!(f, "a number from 1 to {max}, or 0 {zero}"),
            Self::AtLeastOne(words) => write!(f, "at least 1 {words}"),
            Self::Fraction => f.write_str("a number from 0 to 1"),
            Self::BelowOne => f.write_str("a number from 0 to below 1"),
            Self::Positive => f.write_str("a finite number above 0"),
            Self::NotNegative => f.write_str("a finite number, 0 or more"),
            Self::Finite => f.write_str("a finite number"),
            Self::SecondsUpTo(max) => write!(f, "from 0.01 to {max} seconds"),
        }
    }
}
