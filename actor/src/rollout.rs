//! The rollout: a thread of its own that waits for the window and the weights, makes a trajectory and hands it on.
//!
//! It owns environments and policy and knows neither the learner nor the wire. The window is taken before the unroll and
//! the newest weights are read after it opened, so that a trajectory is never older than it must be.

mod roller;

use crate::metrics::RolloutMetrics;
use crate::weights::Weights;
use crate::window::Window;
use impala_common::agreement::Lockstep;
use impala_common::ids::{Sequence, WeightsVersion};
use impala_common::panics;
use impala_common::trajectory::{RolloutTime, Trajectory, TrajectoryError};
pub use roller::{RollPlan, Roller, TakeUpError};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Name of the thread.
const THREAD_NAME: &str = "rollout";

/// Why a rollout ended that nobody stopped. Messages are complete: none of the variants has a source besides.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// A trajectory breaks an invariant; numbers that are not finite come from weights that overflow.
    #[error("trajectory {sequence} made with weights version {version} is not valid: {reason}")]
    Trajectory {
        /// Its number.
        sequence: Sequence,
        /// The weights.
        version: WeightsVersion,
        /// The broken invariant.
        reason: TrajectoryError,
    },
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
    /// The learner hands out a state that this actor cannot go on from.
    #[error("the learner's checkpoint has no usable state for this actor: {0}; run the release that wrote it")]
    TakeUp(TakeUpError),
    /// The thread cannot be started.
    #[error("cannot start the thread `{THREAD_NAME}`: {0}")]
    Start(std::io::Error),
    /// The thread panicked: a bug.
    #[error("the thread `{THREAD_NAME}` panicked: {0}")]
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
    /// Present in deterministic runs.
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
pub struct RolloutThread {
    thread: JoinHandle<()>,
    end: oneshot::Receiver<RolloutEnd>,
}

impl RolloutThread {
    /// Starts the thread. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn spawn(rollout: Rollout) -> Result<Self, RolloutError> {
        let runtime = Handle::current();
        let (sender, end) = oneshot::channel();
        let body = move || {
            // Nobody waits any more only if the whole run was dropped.
            let _ = sender.send(rollout.run(&runtime));
        };
        let thread = std::thread::Builder::new().name(THREAD_NAME.into()).spawn(body).map_err(RolloutError::Start)?;
        Ok(Self { thread, end })
    }

    /// Waits for the end, at most one unroll after `stop`.
    ///
    /// # Errors
    /// The thread panicked.
    pub async fn join(self) -> Result<RolloutEnd, RolloutError> {
        // The sender goes as the thread's last act or in its panic: the join does not block.
        let end = self.end.await;
        let joined = self.thread.join();
        match (end, joined) {
            (Ok(end), Ok(())) => Ok(end),
            (_, Err(panic)) => Err(RolloutError::Panicked(panics::message(&*panic))),
            (Err(_), Ok(())) => unreachable!("a thread that returns has sent its end"),
        }
    }
}

/// Room in the window, weights that are new enough, and when there was room.
struct Ready {
    weights: Arc<Weights>,
    had_room: Instant,
}

impl Rollout {
    fn run(mut self, runtime: &Handle) -> RolloutEnd {
        let kept = self.kept.take().filter(|roller| roller.plan() == &self.plan);
        let mut roller = kept.unwrap_or_else(|| Roller::new(self.plan.clone()));
        let result = self.roll(runtime, &mut roller);
        RolloutEnd { roller, next: self.next, result }
    }

    fn roll(&mut self, runtime: &Handle, roller: &mut Roller) -> Result<(), RolloutError> {
        let metrics = RolloutMetrics::new();
        let mut idle_since = Instant::now();
        while let Some(Ready { weights, had_room }) = runtime.block_on(self.ready())? {
            let started = Instant::now();
            let trajectory = roller.unroll(self.next, &weights).map_err(|reason| {
                let (sequence, version) = (self.next, weights.version);
                RolloutError::Trajectory { sequence, version, reason }
            })?;
            self.next = Sequence(self.next.0 + 1);
            let finished = Instant::now();
            let (room, weights) = (had_room - idle_since, started - had_room);
            let time = RolloutTime { room, weights, unroll: finished - started };
            metrics.record(&trajectory, time);
            idle_since = finished;
            // The learner of a deterministic run keeps it for its checkpoints.
            let state = self.lockstep.map(|_| roller.save().into());
            if self.trajectories.blocking_send(trajectory.with_time(time).with_actor_state(state)).is_err() {
                return Ok(());
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests;
