//! The environments of this project by name, and the shape of an environment as both sides of a run must see it.

use crate::named;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The environments of this project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvironmentName {
    /// Gymnasium's CartPole-v1: at most 500 steps.
    #[serde(rename = "cartpole-v1")]
    CartPoleV1,
    /// Gymnasium's CartPole-v0: at most 200 steps.
    #[serde(rename = "cartpole-v0")]
    CartPoleV0,
    /// bsuite's Catch: a ball falls through 10 rows of 5 columns.
    #[serde(rename = "catch")]
    Catch,
}

impl EnvironmentName {
    /// Every environment, in the order in which help texts name them.
    pub const ALL: [Self; 3] = [Self::CartPoleV1, Self::CartPoleV0, Self::Catch];

    /// The name in flags, configuration files and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::CartPoleV1 => "cartpole-v1",
            Self::CartPoleV0 => "cartpole-v0",
            Self::Catch => "catch",
        }
    }

    /// What learner and actor must agree on.
    pub fn spec(self) -> EnvironmentSpec {
        let (observation_len, action_count) = match self {
            Self::CartPoleV1 | Self::CartPoleV0 => (4, 2),
            Self::Catch => (50, 3),
        };
        EnvironmentSpec { name: self.name().into(), observation_len, action_count }
    }

    /// Mean return over 100 episodes from which the environment counts as solved: gymnasium's reward thresholds;
    /// for Catch, whose returns are -1 and 1, 39 of 40 balls caught.
    pub fn solved_return(self) -> f64 {
        match self {
            Self::CartPoleV1 => 475.0,
            Self::CartPoleV0 => 195.0,
            Self::Catch => 0.95,
        }
    }
}

named!(EnvironmentName, "environment");

/// Shape of an environment as both sides must see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentSpec {
    /// Name with version, e.g. `cartpole-v1`.
    pub name: String,
    /// Length of the flat observation.
    pub observation_len: usize,
    /// Number of discrete actions, at most 256.
    pub action_count: usize,
}

impl fmt::Display for EnvironmentSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, observation_len, action_count } = self;
        write!(f, "{name} (observation length {observation_len}, {action_count} actions)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_names_round_trip() {
        for name in EnvironmentName::ALL {
            assert_eq!(name.name().parse(), Ok(name));
        }
        let error = "pong".parse::<EnvironmentName>().unwrap_err();
        assert!(error.contains("pong") && error.contains("catch"), "{error}");
    }
}
