//! What is learned, and whether a run can be repeated bit by bit. Read by everything that makes the agreement with the actors.

use super::environment_shape::EnvironmentShape;
use super::section::section;
use super::{ConfigError, invalid};
use clap::builder::BoolishValueParser;
use impala_env::spec::EnvironmentName;
use impala_env::{EnvironmentKind, Registry};

section! {
    /// What is learned.
    Task from GivenTask, "Task" {
        environment: EnvironmentName = "cartpole-v1".parse().expect("the name is sound"), "cartpole-v1", "IMPALA_ENVIRONMENT",
            "What to learn: cartpole-v1 (500 steps), cartpole-v0 (200 steps), stateless-cartpole-v1, catch, acrobot-v1, mountain-car-v0, mountain-car-continuous-v0, pendulum-v1, breakout-minatar, or one of gymnasium, e.g. gym:LunarLander-v3.";
        environment_spec: EnvironmentShape, "none: this program has the environment", "IMPALA_ENVIRONMENT_SPEC",
            "The shape of an environment that only actors have, as JSON; a learner that trains on one it does not have records it here. Policies are then evaluated by actors.";
        seed: u64 = 1, "1", "IMPALA_SEED",
            "Seeds every random draw of learner and actors.";
        #[clap(num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
        deterministic: bool = false, "false", "IMPALA_DETERMINISTIC",
            "Learner and actors in lockstep: two runs with the same seed end with bit-identical parameters. Slower.";
    }
}

/// The goal of an environment that only actors have: no mean return reaches it, unless a person gives another.
const NEVER_SOLVED: f64 = f64::MAX;

impl Task {
    /// The environment that the setting names; one that cannot be made where only its shape is known.
    ///
    /// # Errors
    /// The registry does not know it, and nothing says its shape, or says another one.
    pub(super) fn environment_in(&self, registry: &Registry) -> Result<EnvironmentKind, ConfigError> {
        let name = &self.environment;
        let told = self.environment_spec.as_ref().and_then(|shape| Some((shape, shape.spec(name.as_str())?)));
        match (registry.get(name), told) {
            (Ok(known), Some((shape, spec))) if *known.spec() != spec => {
                let reason =
                    format!("this program's environment is another: {}; leave environment_spec out", known.spec());
                invalid("environment_spec", shape, reason)
            }
            (Ok(known), _) => Ok(known),
            (Err(_), Some((shape, spec))) => EnvironmentKind::of_others(&spec, NEVER_SOLVED)
                .or_else(|error| invalid("environment_spec", shape, error.to_string())),
            (Err(error), None) => Err(ConfigError::Environment { name: name.clone(), reason: error.to_string() }),
        }
    }

    /// A deterministic run keeps the states of its environments.
    pub(super) fn validate_deterministic(&self, environment: &EnvironmentKind) -> Result<(), ConfigError> {
        match environment.is_resumable() {
            true => Ok(()),
            false => invalid(
                "deterministic",
                true,
                format!(
                    "the state of {} cannot be saved, so such a run could not be resumed; leave deterministic out",
                    environment.name()
                ),
            ),
        }
    }
}
