//! Configuration: what a person gave becomes a complete, checked one before anything starts.
//!
//! A flag wins over an environment variable, that over the file, that over the default.

pub mod settings;
pub mod store_location;

use crate::learn::loss::LossCosts;
use crate::learn::optim::{OptimiserKind, OptimiserName};
use crate::learn::step::StepConfig;
use crate::learn::vtrace::VtraceClipping;
use impala_common::agreement::{
    ENVIRONMENTS_MAX, HIDDEN_LAYERS_MAX, IN_FLIGHT_MAX, Lockstep, MESSAGE_BYTES_MAX, UNROLL_LENGTH_MAX,
};
use impala_common::ids::WeightsVersion;
use impala_common::trajectory::TrajectoryShape;
use impala_policy::network::{NetworkSpec, PARAMETER_COUNT_MAX};
use settings::{GivenSettings, Settings};
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most frames in one batch; guards against an impossible allocation.
const BATCH_FRAMES_MAX: usize = 1 << 26;

/// Most threads of the learner; guards against a typing error.
const LEARNER_THREADS_MAX: usize = 1024;

/// The part of `policy_lag_max` by which published weights may be behind when an actor begins a trajectory: 5 updates of the
/// default's 100. Where the publisher keeps up, they are one or two behind.
const PUBLISHED_LAG_PART: u64 = 20;

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

/// A complete, checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    settings: Settings,
    /// Settings that nobody gave and that follow from others, or are picked when the run starts; why, in words.
    derived: Vec<(&'static str, &'static str)>,
}

/// Why a value stands as it does.
const FOLLOWS: &str = "follows from other settings";
const PICKED: &str = "`train` picks it for the machine when it starts";

/// Which parts of the split of the machine between learner and actors nobody gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSplit {
    /// The number of actors.
    pub actors: bool,
    /// The learner's threads.
    pub learner_threads: bool,
}

impl std::ops::Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl Config {
    /// Joins flags (and environment variables, which clap puts in their place) with the file and the defaults, and checks
    /// the result.
    ///
    /// # Errors
    /// Names the file's position, or the key, its value and the fix.
    pub fn resolve(flags: GivenSettings, file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::complete(given(flags, file)?)
    }

    /// Fills the gaps with the defaults and checks the result.
    ///
    /// # Errors
    /// Names the key, its value and the fix.
    pub fn complete(given: GivenSettings) -> Result<Self, ConfigError> {
        for (key, value) in
            [("solved_return", given.solved_return), ("learning_rate_end", given.learning_rate_end.map(f64::from))]
        {
            if value.is_some_and(f64::is_nan) {
                return invalid(key, "NaN", "choose a finite number");
            }
        }
        let mut derived = Vec::new();
        let mut settings = given.or_default();
        if settings.solved_return.is_nan() {
            settings.solved_return = settings.environment.solved_return();
            derived.push(("solved_return", FOLLOWS));
        }
        if settings.learning_rate_end.is_nan() {
            settings.learning_rate_end = settings.learning_rate;
            derived.push(("learning_rate_end", FOLLOWS));
        }
        validate(&settings)?;
        Ok(Self { settings, derived })
    }

    /// Checks that `actors` actors are enough to fill a batch; for a run whose actors are known beforehand.
    ///
    /// # Errors
    /// They are not; the message says what to change.
    pub fn check_actors(&self) -> Result<(), ConfigError> {
        enough_actors(&self.settings)
    }

    /// Actors that must be connected for training to go on.
    pub fn actors_needed(&self) -> usize {
        self.trajectories_per_batch().div_ceil(self.in_flight_max)
    }

    /// The configuration as a TOML file that `--config` reads back to the same.
    /// What follows from other settings stands in comments, so that it still follows when those are changed.
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(&self.settings).expect("plain settings are TOML");
        let why = |line: &str| self.derived.iter().find(|(key, _)| line.split(" = ").next() == Some(key));
        let line = |line: &str| match why(line) {
            Some((_, why)) => format!("# {line} ({why})\n"),
            None => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    }

    /// The settings as if each had been given, but for those that follow from others.
    pub fn given(&self) -> GivenSettings {
        parse("of a run".as_ref(), &self.to_toml()).expect("a configuration reads back")
    }

    /// Takes `listen` for a setting that nobody gave.
    #[must_use]
    pub fn with_derived_listen(mut self, listen: SocketAddr) -> Self {
        self.settings.listen = listen;
        self.derived.push(("listen", FOLLOWS));
        self
    }

    /// Notes that `actors` or `learner_threads` is not settled before the run starts.
    #[must_use]
    pub fn with_open_split(mut self, open: OpenSplit) -> Self {
        let keys = [("actors", open.actors), ("learner_threads", open.learner_threads)];
        self.derived.extend(keys.iter().filter(|(_, is_open)| *is_open).map(|(key, _)| (*key, PICKED)));
        self
    }

    /// Settles actors and the learner's threads, as if they had been given.
    #[must_use]
    pub fn with_split(mut self, actors: u32, learner_threads: usize) -> Self {
        (self.settings.actors, self.settings.learner_threads) = (actors, learner_threads);
        self.derived.retain(|(_, why)| *why != PICKED);
        self
    }

    /// The network for the environment.
    pub fn network(&self) -> NetworkSpec {
        network(&self.settings)
    }

    /// Trajectories in one batch.
    pub fn trajectories_per_batch(&self) -> usize {
        self.batch_size / self.environments_per_actor
    }

    /// The order of a deterministic run.
    pub fn lockstep(&self) -> Option<Lockstep> {
        let trajectories_per_batch = u32::try_from(self.trajectories_per_batch()).unwrap_or(u32::MAX);
        self.deterministic.then_some(Lockstep { actors: self.actors, trajectories_per_batch })
    }

    /// The wall time budget.
    pub fn time_max(&self) -> Duration {
        Duration::from_secs_f64(self.settings.time_max.0)
    }

    /// Time between two reports.
    pub fn report_interval(&self) -> Duration {
        Duration::from_secs_f64(self.settings.report_interval.0)
    }

    /// The oldest weights that may make a trajectory that begins when the trainer is at `current`. Updates can be so short
    /// that hundreds are done before the publisher's thread gets a core on a busy machine; without this bound an actor
    /// would go on with its old policy meanwhile. These weights are always among those that are published.
    pub fn oldest_weights_at(&self, WeightsVersion(current): WeightsVersion) -> WeightsVersion {
        let behind_max = (self.policy_lag_max / PUBLISHED_LAG_PART).max(1);
        let oldest = current.saturating_sub(behind_max);
        WeightsVersion(oldest - oldest % self.publish_every)
    }

    /// Learning rate after `frames` trained frames.
    pub fn learning_rate_at(&self, frames: u64) -> f32 {
        let progress = (frames as f64 / self.frames_max as f64).min(1.0) as f32;
        self.learning_rate + (self.learning_rate_end - self.learning_rate) * progress
    }

    /// The part that a learner step needs.
    pub fn step(&self) -> StepConfig {
        let epsilon = self.epsilon;
        let (decay, momentum) = (self.rmsprop_decay, self.rmsprop_momentum);
        StepConfig {
            correction: self.correction,
            clipping: VtraceClipping {
                rho_bar: self.rho_bar,
                c_bar: self.c_bar,
                lambda: self.lambda,
                pg_rho_bar: self.pg_rho_bar,
            },
            costs: LossCosts { baseline: self.baseline_cost, entropy: self.entropy_cost },
            discount: self.discount,
            reward_scale: self.reward_scale,
            reward_clip: (self.reward_clip > 0.0).then_some(self.reward_clip),
            gradient_norm_max: self.gradient_norm_max,
            optimiser: match self.optimiser {
                OptimiserName::RmsProp => OptimiserKind::RmsProp { decay, momentum, epsilon },
                OptimiserName::RmsPropTorch => OptimiserKind::RmsPropTorch { decay, momentum, epsilon },
                OptimiserName::Adam => OptimiserKind::Adam { beta1: self.adam_beta1, beta2: self.adam_beta2, epsilon },
            },
        }
    }
}

/// Whether so many actors can fill a batch: each has at most `in_flight_max` trajectories without a receipt, and gets one
/// only when a batch is full.
fn enough_actors(s: &Settings) -> Result<(), ConfigError> {
    let needed = s.batch_size / s.environments_per_actor;
    let under_way = s.actors as usize * s.in_flight_max;
    if needed <= under_way {
        return Ok(());
    }
    let (actors, window) = (s.actors, needed.div_ceil(s.actors as usize));
    let batch_size = under_way * s.environments_per_actor;
    invalid(
        "batch_size",
        s.batch_size,
        format!(
            "needs {needed} trajectories at a time, but {actors} actors with in_flight_max = {} have at most {under_way} under \
             way; use --in-flight-max {window}, --batch-size {batch_size} or more --actors",
            s.in_flight_max
        ),
    )
}

/// What a person gave by flags, environment variables and the file.
///
/// # Errors
/// Names the file and the position in it.
pub fn given(flags: GivenSettings, file: Option<&Path>) -> Result<GivenSettings, ConfigError> {
    Ok(flags.or(file.map(read).transpose()?.unwrap_or_default()))
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
    toml::from_str(text).map_err(|e| ConfigError::Parse { path: path.into(), reason: e.to_string() })
}

fn network(settings: &Settings) -> NetworkSpec {
    let environment = settings.environment.spec();
    NetworkSpec {
        observation_len: environment.observation_len,
        hidden: settings.hidden.0.clone(),
        activation: settings.activation,
        action_count: environment.action_count,
    }
}

fn validate(s: &Settings) -> Result<(), ConfigError> {
    counts(s)?;
    relations(s)?;
    numbers(s)
}

fn invalid<T>(key: &'static str, value: impl Display, requirement: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid { key, value: value.to_string(), requirement: requirement.into() })
}

fn counts(s: &Settings) -> Result<(), ConfigError> {
    let bounded = [
        ("actors", s.actors as usize, 4096),
        ("environments_per_actor", s.environments_per_actor, ENVIRONMENTS_MAX),
        ("unroll_length", s.unroll_length, UNROLL_LENGTH_MAX),
        ("batch_size", s.batch_size, 1 << 24),
        ("in_flight_max", s.in_flight_max, IN_FLIGHT_MAX),
        ("publish_every", s.publish_every as usize, 1 << 20),
        ("checkpoints_kept", s.checkpoints_kept, 1 << 20),
    ];
    for (key, value, max) in bounded {
        if !(1..=max).contains(&value) {
            return invalid(key, value, format!("choose a number from 1 to {max}"));
        }
    }
    if s.learner_threads > LEARNER_THREADS_MAX {
        let requirement = format!("choose a number from 1 to {LEARNER_THREADS_MAX}, or 0 for one per core");
        return invalid("learner_threads", s.learner_threads, requirement);
    }
    if s.frames_max == 0 {
        return invalid("frames_max", 0, "choose at least 1 frame, e.g. 2000000");
    }
    if s.hidden.0.len() > HIDDEN_LAYERS_MAX {
        return invalid(
            "hidden",
            format!("{} layers", s.hidden.0.len()),
            format!("at most {HIDDEN_LAYERS_MAX} layers"),
        );
    }
    if s.hidden.0.contains(&0) {
        return invalid("hidden", format!("{:?}", s.hidden.0), "every width must be at least 1, e.g. 64,64");
    }
    let parameters = network(s).parameter_count();
    if parameters > PARAMETER_COUNT_MAX {
        let value = format!("{:?}", s.hidden.0);
        return invalid(
            "hidden",
            value,
            format!("gives more than {PARAMETER_COUNT_MAX} parameters; choose smaller widths"),
        );
    }
    Ok(())
}

fn relations(s: &Settings) -> Result<(), ConfigError> {
    let n = s.environments_per_actor;
    if !s.batch_size.is_multiple_of(n) {
        let near = s.batch_size.next_multiple_of(n);
        return invalid(
            "batch_size",
            s.batch_size,
            format!(
                "must be a multiple of environments_per_actor = {n}, because a batch holds whole trajectories; use {near}"
            ),
        );
    }
    if s.unroll_length.saturating_mul(s.batch_size) > BATCH_FRAMES_MAX {
        let frames = s.unroll_length.saturating_mul(s.batch_size);
        return invalid(
            "batch_size",
            s.batch_size,
            format!("gives {frames} frames an update; keep unroll_length x batch_size at or below {BATCH_FRAMES_MAX}"),
        );
    }
    if s.c_bar > s.rho_bar {
        let rho_bar = s.rho_bar;
        return invalid(
            "c_bar",
            s.c_bar,
            format!("must not exceed rho_bar = {rho_bar} (the paper's condition); lower it or raise rho_bar"),
        );
    }
    if s.learning_rate_end > s.learning_rate {
        let start = s.learning_rate;
        return invalid(
            "learning_rate_end",
            s.learning_rate_end,
            format!("must not exceed learning_rate = {start}: it is the end of a decay"),
        );
    }
    if s.publish_every > s.policy_lag_max.max(1) {
        let lag_max = s.policy_lag_max;
        return invalid(
            "publish_every",
            s.publish_every,
            format!(
                "must not exceed policy_lag_max = {lag_max}: between two versions everything would be refused as too old"
            ),
        );
    }
    if s.deterministic {
        enough_actors(s)?;
    }
    let shape = TrajectoryShape {
        unroll_length: s.unroll_length,
        environments: n,
        observation_len: s.environment.spec().observation_len,
        action_count: s.environment.spec().action_count,
    };
    if shape.wire_bytes_max() > MESSAGE_BYTES_MAX {
        let bytes = shape.wire_bytes_max();
        return invalid(
            "environments_per_actor",
            n,
            format!(
                "gives trajectories of up to {bytes} bytes; keep unroll_length x environments_per_actor so low that they stay below {MESSAGE_BYTES_MAX}"
            ),
        );
    }
    if s.deterministic && s.publish_every != 1 {
        return invalid(
            "publish_every",
            s.publish_every,
            "must be 1 in a deterministic run: actors wait for every version",
        );
    }
    Ok(())
}

/// Numbers that share a range.
type Numbers<'a> = &'a [(&'static str, f32)];

fn numbers(s: &Settings) -> Result<(), ConfigError> {
    let each = |numbers: Numbers<'_>, is_sound: fn(f32) -> bool, requirement: &str| {
        let unsound = numbers.iter().find(|(_, value)| !is_sound(*value));
        unsound.map_or(Ok(()), |(key, value)| invalid(key, value, requirement))
    };
    let fractions = [("discount", s.discount), ("lambda", s.lambda)];
    each(&fractions, |x| (0.0..=1.0).contains(&x), "choose a number from 0 to 1")?;
    let decays = [
        ("rmsprop_decay", s.rmsprop_decay),
        ("rmsprop_momentum", s.rmsprop_momentum),
        ("adam_beta1", s.adam_beta1),
        ("adam_beta2", s.adam_beta2),
    ];
    each(&decays, |x| (0.0..1.0).contains(&x), "choose a number from 0 to below 1")?;
    let positive = [
        ("rho_bar", s.rho_bar),
        ("c_bar", s.c_bar),
        ("pg_rho_bar", s.pg_rho_bar),
        ("reward_scale", s.reward_scale),
        ("learning_rate", s.learning_rate),
        ("epsilon", s.epsilon),
        ("gradient_norm_max", s.gradient_norm_max),
    ];
    each(&positive, |x| x.is_finite() && x > 0.0, "choose a finite number above 0")?;
    let not_negative = [
        ("baseline_cost", s.baseline_cost),
        ("entropy_cost", s.entropy_cost),
        ("reward_clip", s.reward_clip),
        ("learning_rate_end", s.learning_rate_end),
    ];
    each(&not_negative, |x| x.is_finite() && x >= 0.0, "choose a finite number, 0 or more")?;
    for (key, value, max) in [("time_max", s.time_max.0, 1e9), ("report_interval", s.report_interval.0, 3600.0)] {
        if !(value >= 0.01 && value <= max) {
            return invalid(key, value, format!("choose from 0.01 to {max} seconds"));
        }
    }
    if !s.solved_return.is_finite() {
        return invalid("solved_return", s.solved_return, "choose a finite number");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
