//! The rollout: waits for the window and the weights, makes a trajectory and hands it on.
//!
//! A task beside the link's on the actor's one thread: waking another thread takes longer than the short unrolls of a small
//! network. Long unrolls go to a thread of the blocking pool, so that the link can send and answer meanwhile. The rollout
//! owns environments and policy and knows neither the learner nor the wire. The window is taken before the unroll and the
//! newest weights are read after it opened, so that a trajectory is never older than it must be.

mod roller;

use crate::metrics::RolloutMetrics;
use crate::weights::Weights;
use crate::window::Window;
use impala_common::agreement::Lockstep;
use impala_common::ids::{Sequence, WeightsVersion};
use impala_common::process::panics;
use impala_common::trajectory::{RolloutTime, Trajectory, TrajectoryError, actor_state_bytes_max};
use impala_env::spec::EnvironmentName;
pub use roller::{RollPlan, Roller, TakeUpError, UnrollError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest unroll on the async thread, by the one before it: what comes by the socket waits for its end.
const INLINE_MAX: Duration = Duration::from_micros(500);

/// Why a rollout ended that nobody stopped. Messages are complete: none of the variants has a source besides.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// A trajectory breaks an invariant; numbers that are not finite come e.g. from weights that overflow.
    #[error("trajectory {sequence} made with weights version {version} is not valid: {reason}")]
    Trajectory {
        /// Its number among this actor's trajectories.
        sequence: Sequence,
        /// The weights.
        version: WeightsVersion,
        /// The broken invariant.
        reason: TrajectoryError,
    },
    /// The environments could not go on.
    #[error("{0}")]
    Environment(String),
    /// The learner went past the version that a deterministic run needs.
    #[error(
        "trajectory {sequence} of this lockstep run needs weights version {expected}, the learner is at {actual} already"
    )]
    Lockstep {
        /// The next trajectory.
        sequence: Sequence,
        /// The version that must make it.
        expected: WeightsVersion,
        /// The version that arrived.
        actual: WeightsVersion,
    },
    /// Environments that remember more than a checkpoint takes, in a deterministic run.
    #[error(
        "{environments} {environment} environments have a state of {bytes} bytes; a deterministic run keeps at most {max}: make \
         it smaller, or train without --deterministic"
    )]
    State {
        /// Their name.
        environment: EnvironmentName,
        /// N
        environments: usize,
        /// The state's size.
        bytes: usize,
        /// Its bound.
        max: usize,
    },
    /// The learner hands out a state that this actor cannot go on from.
    #[error("the learner's checkpoint has no usable state for this actor: {0}; run the release that wrote it")]
    TakeUp(TakeUpError),
    /// It panicked: a bug.
    #[error("the rollout panicked: {0}")]
    Panicked(String),
}

/// What a rollout needs for one registration.
pub struct Rollout {
    /// What to do.
    pub plan: RollPlan,
    /// Environments and random sources to go on with, if their plan is the same: those of an earlier registration, or what
    /// the learner's checkpoint had.
    pub kept: Option<Roller>,
    /// Number of the next trajectory.
    pub next: Sequence,
    /// The order of trajectories, in a deterministic run.
    pub lockstep: Option<Lockstep>,
    /// The newest weights.
    pub weights: watch::Receiver<Option<Arc<Weights>>>,
    /// One permit for each trajectory that may be under way; taken here, given back by the link on a receipt.
    pub window: Arc<Window>,
    /// Where trajectories go. Without a receiver the rollout ends.
    pub trajectories: mpsc::Sender<Trajectory>,
    /// Ends the rollout after the current trajectory.
    pub stop: CancellationToken,
}

/// What is left of a rollout.
pub struct RolloutEnd {
    /// Environments and random sources for the next registration.
    pub roller: Roller,
    /// Number of the next trajectory: how many were made in all.
    pub next: Sequence,
    /// Why it ended, unless it was stopped.
    pub result: Result<(), RolloutError>,
}

/// A running rollout.
pub struct RolloutTask {
    task: JoinHandle<RolloutEnd>,
}

impl RolloutTask {
    /// Starts it. Must be called inside a tokio runtime.
    pub fn spawn(rollout: Rollout) -> Self {
        Self { task: tokio::spawn(rollout.run()) }
    }

    /// Waits for the end, at most one unroll after `stop`.
    ///
    /// # Errors
    /// It panicked.
    pub async fn join(self) -> Result<RolloutEnd, RolloutError> {
        self.task.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => RolloutError::Panicked(panics::message(&*panic)),
            Err(cancelled) => RolloutError::Panicked(cancelled.to_string()),
        })
    }
}

/// Room in the window, weights that are new enough, and when there was room.
struct Ready {
    weights: Arc<Weights>,
    had_room: Instant,
}

impl Rollout {
    async fn run(mut self) -> RolloutEnd {
        let kept = self.kept.take().filter(|roller| roller.plan() == &self.plan);
        let roller = kept.unwrap_or_else(|| Roller::new(self.plan.clone()));
        let (roller, result) = self.roll(roller).await;
        RolloutEnd { roller, next: self.next, result }
    }

    async fn roll(&mut self, mut roller: Roller) -> (Roller, Result<(), RolloutError>) {
        let metrics = RolloutMetrics::new();
        let mut idle_since = Instant::now();
        // Nobody knows how long the first takes.
        let mut unroll = Duration::MAX;
        loop {
            let Ready { weights, had_room } = match self.ready().await {
                Ok(Some(ready)) => ready,
                Ok(None) => return (roller, Ok(())),
                Err(error) => return (roller, Err(error)),
            };
            let started = Instant::now();
            let sequence = self.next;
            let unrolled;
            (roller, unrolled) = match unroll <= INLINE_MAX {
                true => {
                    let unrolled = roller.unroll(sequence, &weights);
                    (roller, unrolled)
                }
                false => unroll_elsewhere(roller, sequence, weights.clone()).await,
            };
            let trajectory = match unrolled {
                Ok(trajectory) => trajectory,
                Err(UnrollError::Trajectory(reason)) => {
                    let version = weights.version;
                    return (roller, Err(RolloutError::Trajectory { sequence, version, reason }));
                }
                Err(UnrollError::Environment(fault)) => return (roller, Err(RolloutError::Environment(fault))),
            };
            self.next = Sequence(sequence.0 + 1);
            let finished = Instant::now();
            unroll = finished - started;
            let time = RolloutTime { room: had_room - idle_since, weights: started - had_room, unroll };
            metrics.record(&trajectory, roller.ended_episodes(), time);
            idle_since = finished;
            // The learner of a deterministic run keeps it for its checkpoints.
            let state = match self.lockstep.map(|_| self.save(&roller)).transpose() {
                Ok(state) => state,
                Err(error) => return (roller, Err(error)),
            };
            if self.trajectories.send(trajectory.with_time(time).with_actor_state(state.map(Into::into))).await.is_err()
            {
                return (roller, Ok(()));
            }
            // The link sends it before the next one is begun.
            tokio::task::yield_now().await;
        }
    }

    /// The state after a trajectory.
    fn save(&self, roller: &Roller) -> Result<Vec<u8>, RolloutError> {
        let (state, RollPlan { environment, environments, .. }) = (roller.save(), &self.plan);
        let max = actor_state_bytes_max(*environments, environment.spec().observation_len());
        if state.len() > max {
            let (environment, bytes) = (environment.name().clone(), state.len());
            return Err(RolloutError::State { environment, environments: *environments, bytes, max });
        }
        Ok(state)
    }

    /// Waits until the window is open, then takes the newest weights; nothing when stopped.
    async fn ready(&mut self) -> Result<Option<Ready>, RolloutError> {
        let Self { next, lockstep, weights, window, stop, plan, .. } = self;
        let wanted = lockstep.map(|lockstep| lockstep.version_for(plan.actor_index, *next));
        let waiting = async {
            let version_min = wanted.unwrap_or_default().max(window.take().await);
            let had_room = Instant::now();
            let is_new_enough = |weights: &Arc<Weights>| weights.version >= version_min;
            let newest = weights.wait_for(|weights| weights.as_ref().is_some_and(is_new_enough));
            let weights = newest.await.ok()?.clone()?;
            Some(Ready { weights, had_room })
        };
        let newest = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            newest = waiting => newest,
        };
        match (&newest, wanted) {
            (Some(ready), Some(expected)) if ready.weights.version != expected => {
                let (sequence, actual) = (*next, ready.weights.version);
                Err(RolloutError::Lockstep { sequence, expected, actual })
            }
            _ => Ok(newest),
        }
    }
}

/// Unrolls on a thread of the blocking pool.
async fn unroll_elsewhere(
    mut roller: Roller,
    sequence: Sequence,
    weights: Arc<Weights>,
) -> (Roller, Result<Trajectory, UnrollError>) {
    let unrolling = tokio::task::spawn_blocking(move || {
        let unrolled = roller.unroll(sequence, &weights);
        (roller, unrolled)
    });
    match unrolling.await {
        Ok(unrolled) => unrolled,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;
