//! Configuration: what a person gave becomes a complete, checked one before anything starts.
//!
//! A flag wins over an environment variable, that over the file, that over the default. Each section has a file with its
//! table of settings, its bounds, and what must hold between them; [`Config`] is their sum. Whatever runs is handed its
//! section or the few values that it needs, never the sum.

pub mod architecture;
pub mod batching;
pub mod checkpoints;
pub mod compute;
pub mod environment_shape;
pub mod goal;
pub mod hyperparameters;
pub mod objective;
pub mod optimisation;
pub mod output;
pub mod rollout;
mod section;
pub mod serving;
pub mod setting;
pub mod settings;
pub mod task;
mod text;
pub mod tracking_server;
pub mod values;
pub mod weights;

use crate::config::values::text_path;
use crate::learn::step::StepConfig;
use architecture::Architecture;
use batching::{Batching, FEW_COLUMNS};
use checkpoints::Checkpoints;
use compute::Compute;
use goal::Goal;
use impala_common::agreement::{Agreement, Lockstep};
use impala_common::ids::{ActorIndex, Session};
use impala_env::spec::EnvironmentName;
use impala_env::{EnvironmentKind, Registry};
use impala_policy::network::NetworkSpec;
use objective::Objective;
use optimisation::{LearningRate, Optimisation};
use output::Output;
use rollout::Rollout;
use serving::Serving;
use settings::GivenSettings;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use task::Task;
use weights::{Publishing, Weights};

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not TOML, or has unknown keys or values of the wrong type.
    #[error("configuration file {path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Position, key and what was expected.
        reason: String,
    },
    /// This program does not have the environment, and nothing says its shape.
    #[error(
        "environment = {name}: {reason}; one that only actors have needs its shape, from environment_spec or, with --accept-spec, from \
         the first actor, and a program of your own is named by --actor-program"
    )]
    Environment {
        /// Its name.
        name: EnvironmentName,
        /// Which environments there are, or why it is not to be had.
        reason: String,
    },
    /// A value or a relation between values is impossible.
    #[error("{key} = {value}: {requirement}")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it must satisfy, and how to get there.
        requirement: String,
    },
}

/// A complete, checked configuration: only [`Config::complete`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What is learned.
    pub task: Task,
    /// When the run ends.
    pub goal: Goal,
    /// What actors do.
    pub rollout: Rollout,
    /// What becomes one update.
    pub batching: Batching,
    /// The network that is trained.
    pub architecture: Architecture,
    /// What an update minimises.
    pub objective: Objective,
    /// How a gradient changes the parameters.
    pub optimisation: Optimisation,
    /// Where the learner computes.
    pub compute: Compute,
    /// Which weights actors get.
    pub weights: Weights,
    /// What of the run is kept for the next process.
    pub checkpoints: Checkpoints,
    /// Where the learner is reached.
    pub serving: Serving,
    /// What the run leaves on disk and tells people.
    pub output: Output,
    /// What `task.environment` names.
    environment: EnvironmentKind,
    /// Settings that stand here with a value which nobody gave and which is no default; why, in words.
    open: Vec<(&'static str, &'static str)>,
}

/// Which parts of the split of the machine between learner and actors nobody gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSplit {
    /// The number of actors.
    pub actors: bool,
    /// The learner's threads.
    pub learner_threads: bool,
}

impl Config {
    /// Joins flags (and environment variables, which clap puts in their place) with the file and the defaults, and checks
    /// the result.
    ///
    /// # Errors
    /// Names the file's position, or the key, its value and the fix.
    pub fn resolve(flags: GivenSettings, file: Option<&Path>, registry: &Registry) -> Result<Self, ConfigError> {
        Self::complete(given(flags, file)?, registry)
    }

    /// Fills the gaps with the defaults and checks the result; `registry` knows the environments.
    ///
    /// # Errors
    /// Names the key, its value and the fix.
    pub fn complete(given: GivenSettings, registry: &Registry) -> Result<Self, ConfigError> {
        let task = given.task.complete()?;
        let config = Self {
            goal: given.goal.complete()?,
            rollout: given.rollout.complete()?,
            batching: given.batching.complete()?,
            architecture: given.architecture.complete()?,
            objective: given.objective.complete()?,
            optimisation: given.optimisation.complete()?,
            compute: given.compute.complete()?,
            weights: given.weights.complete()?,
            checkpoints: given.checkpoints.complete()?,
            serving: given.serving.complete()?,
            output: given.output.complete()?,
            // After all that does not depend on it: one that only actors have is waited for.
            environment: task.environment_in(registry)?,
            task,
            open: Vec::new(),
        };
        config.validate()?;
        Ok(config)
    }

    /// What must hold between values, first within sections, then between them.
    fn validate(&self) -> Result<(), ConfigError> {
        let environment = self.environment.spec();
        self.architecture.validate(environment)?;
        self.objective.validate()?;
        self.optimisation.validate()?;
        self.batching.validate(&self.rollout)?;
        self.weights.validate(&self.task, &self.batching)?;
        self.output.validate()?;
        if self.task.deterministic {
            self.check_actors()?;
            self.task.validate_deterministic(&self.environment)?;
        }
        self.rollout.validate(environment)
    }

    /// Checks that the planned actors are enough to fill a batch; for a run whose actors are known beforehand.
    ///
    /// # Errors
    /// They are not; the message says what to change.
    pub fn check_actors(&self) -> Result<(), ConfigError> {
        self.batching.check_actors(&self.rollout, self.task.deterministic)
    }

    /// Actors that must be connected for training to go on.
    pub fn actors_needed(&self) -> usize {
        match self.lockstep() {
            Some(lockstep) => lockstep.actors as usize,
            None => self.fixed_trajectories().unwrap_or(1).div_ceil(self.rollout.in_flight_max),
        }
    }

    /// Takes `listen` for a setting that nobody gave.
    #[must_use]
    pub fn with_derived_listen(mut self, listen: SocketAddr) -> Self {
        self.serving.listen = listen;
        self.open.push(("listen", text::FOLLOWS));
        self
    }

    /// Notes that `actors` or `learner_threads` is not settled before the run starts.
    #[must_use]
    pub fn with_open_split(mut self, open: OpenSplit) -> Self {
        let keys = [("actors", open.actors), ("learner_threads", open.learner_threads)];
        self.open.extend(keys.iter().filter(|(_, is_open)| *is_open).map(|(key, _)| (*key, text::PICKED)));
        self
    }

    /// Settles actors and the learner's threads, as if they had been given.
    #[must_use]
    pub fn with_split(mut self, actors: u32, learner_threads: usize) -> Self {
        (self.rollout.actors, self.compute.learner_threads) = (actors, learner_threads);
        self.open.retain(|(_, why)| *why != text::PICKED);
        self
    }

    /// What is learned.
    pub fn environment(&self) -> &EnvironmentKind {
        &self.environment
    }

    /// The network for the environment.
    pub fn network(&self) -> NetworkSpec {
        self.architecture.network(self.environment.spec())
    }

    /// Trajectories in one batch; nothing where their number follows the actors.
    pub fn fixed_trajectories(&self) -> Option<usize> {
        self.batching.fixed_trajectories(&self.rollout, self.task.deterministic)
    }

    /// Columns in a batch with few actors, fixed or not.
    pub fn few_columns(&self) -> usize {
        self.batching.few_trajectories(&self.rollout) * self.rollout.environments_per_actor
    }

    /// Mean return from which the task counts as solved.
    pub fn solved_return(&self) -> f64 {
        self.goal.solved_return_of(&self.environment)
    }

    /// The learning rate over the run.
    pub fn learning_rate(&self) -> LearningRate {
        self.optimisation.schedule(self.goal.frames_max)
    }

    /// When versions are published and how old they may be in use.
    pub fn publishing(&self) -> Publishing {
        self.weights.publishing(&self.batching)
    }

    /// The order of a deterministic run.
    pub fn lockstep(&self) -> Option<Lockstep> {
        if !self.task.deterministic {
            return None;
        }
        let trajectories_per_batch = u32::try_from(self.fixed_trajectories()?).unwrap_or(u32::MAX);
        Some(Lockstep { actors: self.rollout.actors, trajectories_per_batch })
    }

    /// What every actor of the run agrees to, but for session and index, which the registry fills in.
    pub fn agreement(&self) -> Agreement {
        Agreement {
            session: Session(0),
            actor_index: ActorIndex(0),
            environment: self.environment.spec().clone(),
            network: self.network(),
            unroll_length: self.rollout.unroll_length,
            environments_per_actor: self.rollout.environments_per_actor,
            seed: self.task.seed,
            encoding: self.weights.weights_encoding,
            in_flight_max: self.rollout.in_flight_max,
            lockstep: self.lockstep(),
        }
    }

    /// The part that a learner step needs.
    pub fn step(&self) -> StepConfig {
        let Objective { correction, discount, reward_scale, normalise_rewards, reward_clip, .. } = self.objective;
        StepConfig {
            normalises_rewards: normalise_rewards,
            correction,
            clipping: self.objective.clipping(),
            costs: self.objective.costs(),
            discount,
            reward_scale,
            reward_clip: (reward_clip > 0.0).then_some(reward_clip),
            gradient_norm_max: self.optimisation.gradient_norm_max,
            optimiser: self.optimisation.kind(),
            divisor: self.optimisation.divisor(),
            noise_columns: self.fixed_trajectories().is_none().then_some(FEW_COLUMNS),
        }
    }
}

/// What a person gave by flags, environment variables and the file.
///
/// # Errors
/// Names the file and the position in it.
pub fn given(flags: GivenSettings, file: Option<&Path>) -> Result<GivenSettings, ConfigError> {
    let given = flags.or(file.map(read).transpose()?.unwrap_or_default());
    for (key, path) in [("run_dir", &given.output.run_dir), ("runs_dir", &given.output.runs_dir)] {
        // Flags were checked when they were read; a path of those need not be text.
        let text = path.as_ref().and_then(|path| path.to_str());
        text.map_or(Ok(()), |text| text_path(text).map(drop).or_else(|reason| invalid(key, text, reason)))?;
    }
    Ok(given)
}

/// What a configuration file gives.
///
/// # Errors
/// It cannot be read, or is no configuration; names the position in it.
pub fn read(path: &Path) -> Result<GivenSettings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
    parse(path, &text)
}

/// What the text of a configuration file gives; `path` is for the message.
///
/// # Errors
/// It is no configuration; names the position in it.
pub fn parse(path: &Path, text: &str) -> Result<GivenSettings, ConfigError> {
    text.parse().map_err(|e: toml::de::Error| ConfigError::Parse { path: path.into(), reason: e.to_string() })
}

fn invalid<T>(key: &'static str, value: impl Display, requirement: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid { key, value: value.to_string(), requirement: requirement.into() })
}

#[cfg(test)]
mod tests;
