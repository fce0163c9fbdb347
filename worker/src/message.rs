//! What a worker and its actor say in JSON, parsed into types that are valid by construction.

use crate::error::{Activity, Fault};
use impala_env::KindError;
use impala_env::space::{ActionSpace, Bounds, ObservationSpace, SpaceError};
use impala_env::spec::{EnvironmentName, EnvironmentSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
}

/// Why a worker ends.
#[derive(Debug, Deserialize)]
pub(crate) struct Failure {
    kind: String,
    message: String,
    pub(crate) traceback: Option<String>,
}

/// A description as it travels. Fields that later versions add are left alone.
#[derive(Debug, Deserialize)]
struct Described {
    observations: ObservationSpace,
    actions: Actions,
    masked: bool,
    autoreset: String,
    solved_return: Option<f64>,
    steps_max: Option<u64>,
    steps_per_second: Option<u32>,
}

#[derive(Debug, Deserialize)]
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
        let Described { observations, actions, masked, autoreset, solved_return, steps_max, steps_per_second } =
            described;
        if autoreset != SAME_STEP {
            return Err(DescriptionError::Autoreset(autoreset));
        }
        let spec = EnvironmentSpec { name: name.to_string(), observations, actions: actions.into(), masked };
        spec.validate()?;
        Ok(Self { spec, solved_return, steps_max, steps_per_second })
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

impl Failure {
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
