//! The shape of an environment as a setting: what a learner must know of one that only its actors have.

use super::values::Omissible;
use impala_env::space::{ActionSpace, Bounds, ObservationSpace};
use impala_env::spec::EnvironmentSpec;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What the setting has as an example.
const EXAMPLE: &str = r#"{"observations":{"shape":[4],"dtype":"f32"},"actions":{"discrete":2}}"#;

/// Observations, actions and masks of an environment, as JSON; nothing where the text is empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvironmentShape(Option<Shape>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    observations: ObservationSpace,
    actions: Actions,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    masked: bool,
}

/// As [`ActionSpace`], with null for a bound that is none: JSON has no infinite numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Actions {
    Discrete(usize),
    MultiDiscrete(Vec<usize>),
    Box { low: Vec<Option<f32>>, high: Vec<Option<f32>> },
}

impl EnvironmentShape {
    /// Of this environment.
    pub fn of(spec: &EnvironmentSpec) -> Self {
        let finite = |numbers: &[f32]| numbers.iter().map(|x| Some(*x).filter(|x| x.is_finite())).collect();
        let actions = match &spec.actions {
            ActionSpace::Discrete(choices) => Actions::Discrete(*choices),
            ActionSpace::MultiDiscrete(choices) => Actions::MultiDiscrete(choices.clone()),
            ActionSpace::Box(Bounds { low, high }) => Actions::Box { low: finite(low), high: finite(high) },
        };
        Self(Some(Shape { observations: spec.observations.clone(), actions, masked: spec.masked }))
    }

    /// The environment of this name and shape; nothing where there is no shape.
    pub fn spec(&self, name: &str) -> Option<EnvironmentSpec> {
        let Shape { observations, actions, masked } = self.0.clone()?;
        let or = |bounds: Vec<Option<f32>>, none: f32| bounds.into_iter().map(|bound| bound.unwrap_or(none)).collect();
        let actions = match actions {
            Actions::Discrete(choices) => ActionSpace::Discrete(choices),
            Actions::MultiDiscrete(choices) => ActionSpace::MultiDiscrete(choices),
            Actions::Box { low, high } => {
                ActionSpace::Box(Bounds { low: or(low, f32::NEG_INFINITY), high: or(high, f32::INFINITY) })
            }
        };
        Some(EnvironmentSpec { masked, ..EnvironmentSpec::new(name, observations, actions) })
    }
}

impl FromStr for EnvironmentShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let read = serde_json::from_str(text).map(|shape| Self(Some(shape)));
        let shape: Self = read.map_err(|error| format!("{error}; write JSON, e.g. {EXAMPLE}"))?;
        match shape.spec("").map(|spec| spec.validate()) {
            Some(Err(error)) => Err(error.to_string()),
            _ => Ok(shape),
        }
    }
}

impl TryFrom<String> for EnvironmentShape {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<EnvironmentShape> for String {
    fn from(shape: EnvironmentShape) -> Self {
        shape.to_string()
    }
}

impl fmt::Display for EnvironmentShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => Ok(()),
            Some(shape) => f.write_str(&serde_json::to_string(shape).map_err(|_| fmt::Error)?),
        }
    }
}

impl Omissible for EnvironmentShape {
    fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_env::builtin;

    #[test]
    fn every_shape_reads_back_as_it_was_to_the_last_bound() {
        let builtin = builtin();
        let mut specs: Vec<_> = builtin.kinds().iter().map(|kind| kind.spec().clone()).collect();
        let unbounded = ActionSpace::bounded(&[f32::NEG_INFINITY, -0.1], &[f32::INFINITY, 3e-39]);
        specs.push(EnvironmentSpec::new("a", ObservationSpace::bytes(&[84, 84, 4]), unbounded));
        let choices = ActionSpace::MultiDiscrete(vec![3, 2]);
        specs.push(EnvironmentSpec { masked: true, ..EnvironmentSpec::new("b", 1.into(), choices) });
        for spec in specs {
            let text = EnvironmentShape::of(&spec).to_string();
            let read: EnvironmentShape = text.parse().unwrap();
            assert_eq!((read.spec(&spec.name), read.to_string()), (Some(spec), text));
        }
        let example = EnvironmentShape::of(builtin.kinds()[0].spec());
        assert_eq!(example.to_string(), EXAMPLE);
    }

    #[test]
    fn what_is_no_shape_is_refused_with_an_example() {
        let refused = |text: &str| text.parse::<EnvironmentShape>().unwrap_err();
        for text in ["4", "{}", r#"{"observations":{"shape":[4],"dtype":"f32"},"actions":{"discrete":2},"name":"a"}"#] {
            assert!(refused(text).contains(EXAMPLE), "{text}");
        }
        let none = r#"{"observations":{"shape":[0],"dtype":"f32"},"actions":{"discrete":2}}"#;
        assert_eq!(refused(none), "observation_len = 0, it must be 1 to 4194304");
        let masked =
            r#"{"observations":{"shape":[1],"dtype":"u8"},"actions":{"box":{"low":[0],"high":[null]}},"masked":true}"#;
        assert!(refused(masked).starts_with("masks = "));
        assert!("".parse::<EnvironmentShape>().unwrap().is_none());
    }
}
