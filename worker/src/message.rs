//! What a worker and its actor say in JSON, parsed into types that are valid by construction.

use crate::error::{Activity, Fault};
use crate::kind::NEVER_SOLVED;
use impala_env::scene::Scene;
use impala_env::space::{ActionSpace, Bounds, ObservationSpace, SpaceError};
use impala_env::spec::{EnvironmentName, EnvironmentSpec};
use impala_env::{EnvironmentKind, KindError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// The one way to begin the next episode that the actors' trajectories have room for: within the step that ends the one before.
const SAME_STEP: &str = "same_step";

/// The first request.
#[derive(Debug, Serialize)]
pub(crate) struct Start<'a> {
    pub(crate) environment: &'a str,
    pub(crate) arguments: &'a Map<String, Value>,
    /// One for each environment that the worker shall make.
    pub(crate) seeds: &'a [u64],
    pub(crate) render: bool,
}

/// The first request, as a worker reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct Started {
    pub(crate) environment: String,
    #[serde(default)]
    pub(crate) arguments: Map<String, Value>,
    pub(crate) seeds: Vec<u64>,
}

/// What is known of an environment as soon as a worker has made one.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Its name and spaces.
    pub spec: EnvironmentSpec,
    /// Mean return from which those who registered it call it solved.
    pub solved_return: Option<f64>,
    /// Steps after which it cuts an episode.
    pub steps_max: Option<u64>,
    /// Pace of its own time.
    pub steps_per_second: Option<u32>,
    /// The rewards that a step can give, where they are within bounds.
    pub rewards: Option<RangeInclusive<f32>>,
    /// Names of its actions, for people.
    pub action_names: Option<Vec<String>>,
    /// Whether it gives its state to the process that it is in; through a worker there is none.
    pub resumable: bool,
    /// Whether it says what it looks like.
    pub scenes: bool,
}

/// What an environment looks like.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Drawn {
    /// Now.
    pub(crate) scene: Option<Scene>,
    /// When its last episode ended.
    pub(crate) final_scene: Option<Scene>,
}

/// Why a worker ends.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Failure {
    pub(crate) kind: String,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) traceback: Option<String>,
}

/// A description as it travels. Fields that later versions add are left alone.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Described {
    /// Only where it is listed; who starts an environment knows its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    observations: ObservationSpace,
    actions: Actions,
    masked: bool,
    autoreset: String,
    solved_return: Option<f64>,
    steps_max: Option<u64>,
    steps_per_second: Option<u32>,
    /// From the least to the most; null for no bound.
    rewards: Option<[Option<f32>; 2]>,
    action_names: Option<Vec<String>>,
    #[serde(default)]
    resumable: bool,
    /// Known once there is one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    scenes: bool,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Actions {
    Discrete(usize),
    MultiDiscrete(Vec<usize>),
    Box { low: Vec<Option<f32>>, high: Vec<Option<f32>> },
}

impl Description {
    /// # Errors
    /// It is no description, the spaces are none that is trained on, or episodes begin in another way.
    pub(crate) fn parse(name: &EnvironmentName, json: &[u8]) -> Result<Self, DescriptionError> {
        let described: Described = serde_json::from_slice(json)?;
        let Described { observations, actions, masked, autoreset, .. } = described;
        let Described { solved_return, steps_max, steps_per_second, action_names, resumable, scenes, .. } = described;
        if autoreset != SAME_STEP {
            return Err(DescriptionError::Autoreset(autoreset));
        }
        let spec = EnvironmentSpec { name: name.to_string(), observations, actions: actions.into(), masked };
        spec.validate()?;
        let rewards = described.rewards.map(|[low, high]| low.unwrap_or(f32::MIN)..=high.unwrap_or(f32::MAX));
        Ok(Self { spec, solved_return, steps_max, steps_per_second, rewards, action_names, resumable, scenes })
    }
}

impl Described {
    /// An environment of Rust.
    pub(crate) fn of(kind: &EnvironmentKind) -> Self {
        let spec = kind.spec();
        let bound = |bound: f32, none: f32| (bound != none).then_some(bound);
        let rewards = [bound(*kind.rewards().start(), f32::MIN), bound(*kind.rewards().end(), f32::MAX)];
        Self {
            name: None,
            observations: spec.observations.clone(),
            actions: (&spec.actions).into(),
            masked: spec.masked,
            autoreset: SAME_STEP.into(),
            solved_return: (kind.solved_return() != NEVER_SOLVED).then_some(kind.solved_return()),
            steps_max: None,
            steps_per_second: Some(kind.steps_per_second()),
            rewards: (rewards != [None, None]).then_some(rewards),
            action_names: Some(kind.action_names().to_vec()),
            resumable: kind.is_resumable(),
            scenes: false,
        }
    }

    /// The same of one that says what it looks like, or does not.
    pub(crate) fn with_scenes(self, scenes: bool) -> Self {
        Self { scenes, ..self }
    }

    /// The same with the environment's name.
    pub(crate) fn with_name(self, kind: &EnvironmentKind) -> Self {
        Self { name: Some(kind.name().to_string()), ..self }
    }
}

/// A description that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DescriptionError {
    #[error("it described itself by something else than a description ({0})")]
    Json(#[from] serde_json::Error),
    #[error("its episodes begin anew by `{0}`: only {SAME_STEP} is understood")]
    Autoreset(String),
    #[error(transparent)]
    Space(#[from] SpaceError),
}

impl DescriptionError {
    /// As a fault of the environment, or of the worker.
    pub(crate) fn fault(self, name: &EnvironmentName) -> Fault {
        match self {
            Self::Json(_) => Fault::Protocol { activity: Activity::Start, what: self.to_string() },
            Self::Autoreset(_) => Fault::Unsupported(self.to_string()),
            Self::Space(SpaceError { field, value, bounds }) => {
                Fault::Kind(KindError::Bounds { name: name.clone(), field, value, bounds })
            }
        }
    }
}

impl From<Actions> for ActionSpace {
    fn from(actions: Actions) -> Self {
        let bounds = |bounds: Vec<Option<f32>>, none| bounds.into_iter().map(|bound| bound.unwrap_or(none)).collect();
        match actions {
            Actions::Discrete(choices) => Self::Discrete(choices),
            Actions::MultiDiscrete(choices) => Self::MultiDiscrete(choices),
            Actions::Box { low, high } => {
                Self::Box(Bounds { low: bounds(low, f32::NEG_INFINITY), high: bounds(high, f32::INFINITY) })
            }
        }
    }
}

impl From<&ActionSpace> for Actions {
    fn from(space: &ActionSpace) -> Self {
        let bounds =
            |bounds: &[f32]| bounds.iter().map(|bound| bound.is_finite().then_some(*bound)).collect::<Vec<_>>();
        match space {
            ActionSpace::Discrete(choices) => Self::Discrete(*choices),
            ActionSpace::MultiDiscrete(choices) => Self::MultiDiscrete(choices.clone()),
            ActionSpace::Box(Bounds { low, high }) => Self::Box { low: bounds(low), high: bounds(high) },
        }
    }
}

impl Failure {
    /// One without a traceback.
    pub(crate) fn new(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), traceback: None }
    }

    /// What it stands for. Kinds that later versions add are errors of the environment.
    pub(crate) fn fault(self) -> Fault {
        let message = self.message;
        match self.kind.as_str() {
            "missing_module" => Fault::ModuleMissing(message),
            "unknown_environment" => Fault::Unknown(message),
            "unsupported" => Fault::Unsupported(message),
            "malformed" => Fault::Malformed(message),
            "protocol" => Fault::NotUnderstood(message),
            _ => Fault::Raised(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Description, String> {
        let name = "gym:Pendulum-v1".parse().unwrap();
        Description::parse(&name, json.as_bytes()).map_err(|error| error.fault(&name).to_string())
    }

    #[test]
    fn infinite_bounds_are_no_bounds() {
        let json = r#"{"observations": {"dtype": "u8", "shape": [2, 3]}, "actions": {"box": {"low": [null, -2.0], "high": [0.5, null]}},
            "masked": false, "autoreset": "same_step", "solved_return": null, "steps_max": 200, "steps_per_second": 30, "later": 1}"#;
        let description = parse(json).unwrap();
        let (low, high) = ([f32::NEG_INFINITY, -2.0], [0.5, f32::INFINITY]);
        assert_eq!(description.spec.actions, ActionSpace::bounded(&low, &high));
        assert_eq!(description.spec.observations, ObservationSpace::bytes(&[2, 3]));
        assert_eq!((description.solved_return, description.steps_max), (None, Some(200)));
    }

    #[test]
    fn what_cannot_be_trained_on_is_refused_with_its_value() {
        let of = |actions: &str, autoreset: &str| {
            format!(
                r#"{{"observations": {{"dtype": "f32", "shape": [1]}}, "actions": {actions}, "masked": false, "autoreset": "{autoreset}"}}"#
            )
        };
        assert!(parse(&of(r#"{"discrete": 257}"#, "same_step")).unwrap_err().contains("action_count = 257"));
        assert!(parse(&of(r#"{"text": 2}"#, "same_step")).unwrap_err().contains("unknown variant `text`"));
        assert!(parse(&of(r#"{"discrete": 2}"#, "next_step")).unwrap_err().contains("anew by `next_step`"));
        assert!(parse(&of(r#"{"discrete": 2}"#, "same_step")).is_ok());
        assert!(parse("{").unwrap_err().contains("something else than a description"));
    }
}
