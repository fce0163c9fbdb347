//! What an environment is called and what shape it has, as both sides of a run must see it.

use crate::space::{ActionSpace, ObservationSpace, SpaceError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest name, bytes.
const NAME_LEN_MAX: usize = 64;

/// The name of an environment in flags, configuration files, model files and on the wire, e.g. `cartpole-v1`. Any well-formed
/// name is one; a [`Registry`](crate::Registry) knows which environments there are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvironmentName(String);

/// What the names of gymnasium's environments begin with: what follows is the name that gymnasium has for it.
const GYM: &str = "gym:";

/// A text that cannot be an environment's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no name of an environment: use 1 to {NAME_LEN_MAX} of a-z, A-Z, 0-9, `-`, `_` and `.`, no `.` at the \
     start, e.g. cartpole-v1; after {GYM} also `:` and `/` between such words, e.g. gym:ALE/Pong-v5"
)]
pub struct NameError(String);

impl EnvironmentName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that gymnasium has for it, with the module before it that registers it; None for environments of Rust.
    pub fn in_gymnasium(&self) -> Option<&str> {
        self.0.strip_prefix(GYM)
    }

    /// The name as a part of a file's name: without the `:` and `/` of gymnasium's names. Two environments may have the same.
    pub fn file_name(&self) -> String {
        self.0.replace([':', '/'], "-")
    }
}

impl TryFrom<String> for EnvironmentName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        // What fits into a directory's name, a metric's label and a line of a log without quotes. With a dot at the start, a
        // directory would be hidden, and `.` and `..` would be another one.
        let is_sound = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_sound) && !word.starts_with('.');
        let words_are_sound = match text.strip_prefix(GYM) {
            Some(rest) => rest.split([':', '/']).all(is_word),
            None => is_word(&text),
        };
        let is_name = text.len() <= NAME_LEN_MAX && words_are_sound;
        match is_name {
            true => Ok(Self(text)),
            false => Err(NameError(text.chars().take(NAME_LEN_MAX).collect())),
        }
    }
}

impl FromStr for EnvironmentName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.to_owned().try_into()
    }
}

impl From<EnvironmentName> for String {
    fn from(name: EnvironmentName) -> Self {
        name.0
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shape of an environment as both sides must see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentSpec {
    /// Name with version, e.g. `cartpole-v1`.
    pub name: String,
    /// What it shows.
    pub observations: ObservationSpace,
    /// What it is told to do.
    pub actions: ActionSpace,
    /// Whether it says with each observation which choices are allowed.
    pub masked: bool,
}

impl EnvironmentSpec {
    /// The spec without masks.
    pub fn new(name: &str, observations: ObservationSpace, actions: ActionSpace) -> Self {
        Self { name: name.into(), observations, actions, masked: false }
    }

    /// O: numbers in one observation.
    pub fn observation_len(&self) -> usize {
        self.observations.len()
    }

    /// M: choices of all components of an action, where the environment masks them; else 0.
    pub fn mask_len(&self) -> usize {
        if self.masked { self.actions.choices().iter().sum() } else { 0 }
    }

    /// Bounds every number before anything is allocated from it.
    ///
    /// # Errors
    /// Names what is out of bounds.
    pub fn validate(&self) -> Result<(), SpaceError> {
        self.observations.validate()?;
        self.actions.validate()?;
        match self.masked && self.actions.choices().is_empty() {
            false => Ok(()),
            true => {
                let (field, value) = ("masks", self.actions.to_string());
                Err(SpaceError { field, value, bounds: "of actions with choices" })
            }
        }
    }
}

impl fmt::Display for EnvironmentSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, observations, actions, masked } = self;
        let masked = if *masked { ", masked" } else { "" };
        write!(f, "{name} (observations {observations}, {actions}{masked})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        for name in ["cartpole-v1", "ALE.Pong_v5", "a", &"x".repeat(64)] {
            assert_eq!(name.parse::<EnvironmentName>().unwrap().to_string(), name);
        }
        for text in ["", "two words", "line\nbreak", "größe", "up/down", "a:b", ".", "..", ".hidden", &"x".repeat(65)]
        {
            let error = text.parse::<EnvironmentName>().unwrap_err().to_string();
            assert!(error.contains("is no name of an environment"), "{error}");
        }
        assert!(serde_json::from_str::<EnvironmentName>("\"two words\"").is_err());
    }

    #[test]
    fn names_of_gymnasium_have_a_namespace_and_a_module() {
        for (text, in_gymnasium, file_name) in [
            ("gym:LunarLander-v3", "LunarLander-v3", "gym-LunarLander-v3"),
            ("gym:ALE/Pong-v5", "ALE/Pong-v5", "gym-ALE-Pong-v5"),
            ("gym:my.module:MyEnv-v0", "my.module:MyEnv-v0", "gym-my.module-MyEnv-v0"),
        ] {
            let name: EnvironmentName = text.parse().unwrap();
            assert_eq!((name.as_str(), name.in_gymnasium()), (text, Some(in_gymnasium)));
            assert_eq!(name.file_name(), file_name);
        }
        assert_eq!("cartpole-v1".parse::<EnvironmentName>().unwrap().in_gymnasium(), None);
        for text in
            ["gym:", "gym:/etc", "gym:a//b", "gym:../a", "gym:a/../b", "gym:a/.b", "gym:a b", "gym:a:", "gym:a\\b"]
        {
            let error = text.parse::<EnvironmentName>().unwrap_err().to_string();
            assert!(error.contains("is no name of an environment"), "{error}");
        }
    }
}
