//! From a launch to what a registry takes: one worker is asked what the environment is, and others are started when it is made.

use crate::environments::WorkerEnvironments;
use crate::error::{Fault, WorkerError};
use crate::launch::Launch;
use crate::message::Description;
use crate::worker::Worker;
use impala_env::seed::Rng;
use impala_env::{EnvironmentKind, KindError, STEPS_PER_SECOND_MAX, VectorEnvironment};
use rand::RngExt;

/// The goal of an environment whose registration names none: no mean return reaches it, so a run ends by its budget, or a person gives
/// another goal.
pub const NEVER_SOLVED: f64 = f64::MAX;

/// Starts a worker with one environment, asks what it is, and ends it.
///
/// # Errors
/// The worker or the environment cannot be had, or is nothing to train on.
pub fn describe(launch: &Launch) -> Result<Description, WorkerError> {
    let mut worker = Worker::start(launch, 0, 0)?;
    worker.ask(&[0])?;
    worker.describe(1)
}

/// The environment of a launch, described by [`describe`]. Each that is made of it starts workers of its own, and if they cannot be had
/// says so by its [`fault`](impala_env::VectorEnvironment::fault). Its state cannot be saved.
///
/// # Errors
/// As of [`describe`].
pub fn kind(launch: &Launch) -> Result<EnvironmentKind, WorkerError> {
    Ok(of_actors(launch)?.without_state())
}

/// The same for a process that never steps it for an actor, of a program whose actors step it within themselves: whether its state can
/// be saved is what the program says of them. Here too there is none.
///
/// # Errors
/// As of [`describe`].
pub fn of_actors(launch: &Launch) -> Result<EnvironmentKind, WorkerError> {
    let description = describe(launch)?;
    made(launch, description).map_err(|error| {
        let (environment, fault) = (launch.environment.clone(), Fault::Kind(error));
        WorkerError { environment, worker: 0, fault }
    })
}

fn made(launch: &Launch, description: Description) -> Result<EnvironmentKind, KindError> {
    let Description { spec, solved_return, steps_per_second, rewards, action_names, resumable, scenes, .. } =
        description;
    let (name, of_made) = (spec.name.clone(), spec.clone());
    let goal = solved_return.unwrap_or(NEVER_SOLVED);
    let make = |launch: Launch| {
        let of_made = of_made.clone();
        move |rngs: Vec<Rng>| -> Box<dyn VectorEnvironment> {
            // 32 bits: the older generators of numpy, which environments may use, take no larger seeds.
            let seeds: Vec<_> = rngs.into_iter().map(|mut rng| u64::from(rng.random::<u32>())).collect();
            let started = WorkerEnvironments::start(&launch, &seeds);
            let failed = |error| WorkerEnvironments::failed(&launch, &of_made, seeds.len(), &error);
            Box::new(started.unwrap_or_else(failed))
        }
    };
    let kind = EnvironmentKind::new(&name, spec.observations, spec.actions, goal, make(launch.clone()))?;
    let kind =
        kind.with_watched(make(Launch { renders: !scenes && name.starts_with("gym:"), workers: 1, ..launch.clone() }));
    let kind = if spec.masked { kind.with_masks()? } else { kind };
    let pace = steps_per_second.unwrap_or(STEPS_PER_SECOND_MAX).clamp(1, STEPS_PER_SECOND_MAX);
    let kind = kind.with_steps_per_second(pace)?;
    let kind = rewards.map_or(Ok(kind.clone()), |rewards| kind.with_rewards(rewards))?;
    let names = action_names.as_ref().map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
    let kind = names.map_or(Ok(kind.clone()), |names| kind.with_action_names(&names))?;
    Ok(if resumable { kind } else { kind.without_state() })
}
