//! What is learned, and whether a run can be repeated bit by bit. Read by everything that makes the agreement with the actors.

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
        seed: u64 = 1, "1", "IMPALA_SEED",
            "Seeds every random draw of learner and actors.";
        #[clap(num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
        deterministic: bool = false, "false", "IMPALA_DETERMINISTIC",
            "Learner and actors in lockstep: two runs with the same seed end with bit-identical parameters. Slower.";
    }
}

impl Task {
    /// The environment that the setting names.
    ///
    /// # Errors
    /// The registry does not know it; the message lists those that it knows.
    pub(super) fn environment_in(&self, registry: &Registry) -> Result<EnvironmentKind, ConfigError> {
        let known = registry.get(&self.environment);
        known.or_else(|error| invalid("environment", &self.environment, error.to_string()))
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
