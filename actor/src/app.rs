//! The wiring: registers, connects rollout and link by channels for as long as the registration lasts, and starts over
//! when the learner was lost. No global state: several actors run in one process.

use crate::backoff::Backoff;
use crate::evaluation::Evaluator;
use crate::link::{self, Connection, Identity, LinkError, Receipts, SessionEnd, Streams};
use crate::metrics;
use crate::rollout::{RollPlan, Roller, Rollout, RolloutError, RolloutTask};
use crate::standing::{Standing, StandingSlot};
use crate::window::Window;
use impala_common::channel::{Dialler, LearnerUrl};
use impala_common::ids::{ActorIndex, Incarnation, Sequence};
use impala_env::Registry;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Trajectories between rollout and link: one on its way to the socket while the next is made. The window counts them,
/// so they add no lag of their own; each costs the memory of one trajectory.
const TRAJECTORY_QUEUE_LEN: usize = 2;

/// What an actor is told from outside; everything else it learns from the learner.
#[derive(Clone, Debug)]
pub struct ActorConfig {
    /// How the learner is reached.
    pub learner: Dialler,
    /// Stable across restarts, e.g. the pod's name.
    pub name: String,
    /// The wanted place in the run, from 0; the learner chooses without one.
    pub index: Option<u32>,
    /// Whether it waits for another learner where it does not fit the one that is there.
    pub waits: bool,
    /// The environments to work for.
    pub environments: Registry,
    /// Where it is told what the actor is about.
    pub standing: StandingSlot,
    /// Told at each registration in which run the actor works, where the learner says so, and at which place.
    pub on_registered: fn(Option<&str>, ActorIndex),
}

impl ActorConfig {
    /// An actor that takes any place and any of these environments.
    pub fn new(learner: LearnerUrl, name: String, environments: Registry) -> Self {
        let standing = StandingSlot::new(Standing::default());
        let on_registered = |_: Option<&str>, _| {};
        Self { learner: Dialler::new(learner), name, index: None, waits: false, environments, standing, on_registered }
    }
}

/// What an actor has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActorReport {
    /// Environment steps in finished trajectories.
    pub frames: u64,
    /// Trajectories made: those with a receipt and those lost.
    pub trajectories: u64,
    /// What the learner made of them.
    pub receipts: Receipts,
    /// Trajectories without a receipt.
    pub lost: u64,
    /// Times that the learner was lost.
    pub reconnects: u64,
    /// Why the learner ended the run; nothing if this side stopped.
    pub finish_reason: Option<String>,
}

/// What ends an actor other than its run's end.
#[derive(Debug, thiserror::Error)]
pub enum ActorError {
    /// The learner and this actor do not fit together.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The rollout cannot go on.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
}

/// Works for the learner until it ends the run or `shutdown` is cancelled; waits for it whenever it is away, or asks to wait.
///
/// # Errors
/// The learner refuses this actor for good, one of the two breaks the contract, or the rollout fails.
pub async fn run(config: ActorConfig, shutdown: CancellationToken) -> Result<ActorReport, ActorError> {
    let incarnation = Incarnation(random_number(&config.name));
    let identity = Identity {
        name: config.name,
        incarnation,
        index: config.index.map(ActorIndex),
        environments: config.environments,
        weights_in_receipts: true,
        evaluates: true,
        waits: config.waits,
    };
    let standing = config.standing;
    let mut backoff = Backoff::new(incarnation.0);
    let mut report = ActorReport::default();
    let mut kept = None;
    loop {
        let produced = Sequence(report.trajectories);
        let connection = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(report),
            connection = link::register(&config.learner, &identity, produced, &mut backoff, &standing) => connection?,
        };
        (config.on_registered)(connection.run.as_deref(), connection.agreement.actor_index);
        tell(&config.learner.url, &connection);
        let (end, made_progress) = serve(connection, &mut kept, &mut report, shutdown.child_token()).await?;
        standing.send_replace(Standing::Waiting);
        match end {
            SessionEnd::Finished(reason) => {
                report.finish_reason = Some(reason);
                return Ok(report);
            }
            SessionEnd::Stopped => return Ok(report),
            SessionEnd::ToldToWait(reason) => {
                tracing::info!(reason, "the learner ended the session; waiting to register again");
            }
            SessionEnd::Disconnected(reason) => {
                tracing::warn!(reason, lost = report.lost, "lost the learner, registering anew");
                report.reconnects += 1;
            }
        }
        // A learner that accepts but then ends every stream at once must not be asked in a tight loop.
        if made_progress {
            backoff.reset();
        } else {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(backoff.next_wait()) => {}
            }
        }
    }
}

/// One registration, from the first stream to the rollout's end. Adds to the report; tells how it ended and whether the
/// learner sent anything of use.
async fn serve(
    connection: Connection,
    kept: &mut Option<Roller>,
    report: &mut ActorReport,
    stop: CancellationToken,
) -> Result<(SessionEnd, bool), ActorError> {
    let agreement = &connection.agreement;
    let plan = RollPlan::of(agreement, connection.environment.clone());
    // Also when this future is dropped, the rollout must not wait for a window that nobody opens.
    let stop_on_drop = stop.clone().drop_guard();
    let frames_per_trajectory = (plan.unroll_length * plan.environments) as u64;
    let (next, kept_roller) = match &connection.take_up {
        // In a deterministic run the place in the run decides what comes next, not what this process did before.
        Some(take_up) => (take_up.next, take_up_roller(&plan, &take_up.state)?),
        None => (Sequence(report.trajectories), kept.take()),
    };
    let (trajectory_sender, trajectories) = mpsc::channel(TRAJECTORY_QUEUE_LEN);
    // A watch holds the newest weights only: an actor that is slow skips versions.
    let (weights, weights_receiver) = watch::channel(None);
    // One permit for each trajectory without a receipt.
    let window = Arc::new(Window::new(agreement.in_flight_max));
    let evaluator = Evaluator { environment: connection.environment.clone(), network: agreement.network.clone() };
    let (evaluations, evaluator) = evaluator.spawn(stop.clone());
    let rollout = RolloutTask::spawn(Rollout {
        plan,
        kept: kept_roller,
        next,
        lockstep: agreement.lockstep,
        weights: weights_receiver.clone(),
        window: Arc::clone(&window),
        trajectories: trajectory_sender,
        stop: stop.clone(),
    });
    let session = link::serve(connection, next, Streams { trajectories, window, weights, evaluations, stop }).await;
    drop(stop_on_drop);
    let rolled = rollout.join().await?;
    evaluator.join().await;
    *kept = Some(rolled.roller);

    let made = rolled.next.0 - next.0;
    let lost = made - session.receipts.total();
    report.trajectories += made;
    report.frames += made * frames_per_trajectory;
    report.receipts += session.receipts;
    report.lost += lost;
    metrics::record_session_end(lost, matches!(session.end, Ok(SessionEnd::Disconnected(_))));
    rolled.result?;
    let made_progress = session.receipts.total() > 0 || weights_receiver.borrow().is_some();
    Ok((session.end?, made_progress))
}

/// The roller of the checkpoint; none where the run begins, which makes a new one.
fn take_up_roller(plan: &RollPlan, state: &[u8]) -> Result<Option<Roller>, RolloutError> {
    if state.is_empty() {
        return Ok(None);
    }
    Roller::take_up(plan.clone(), state).map(Some).map_err(RolloutError::TakeUp)
}

fn tell(learner: &LearnerUrl, Connection { agreement, run, .. }: &Connection) {
    tracing::info!(
        learner = %learner,
        run,
        index = agreement.actor_index.0,
        environment = agreement.environment.name,
        environments = agreement.environments_per_actor,
        unroll_length = agreement.unroll_length,
        hidden = ?agreement.network.hidden,
        activation = %agreement.network.activation,
        encoding = %agreement.encoding,
        in_flight_max = agreement.in_flight_max,
        lockstep = agreement.lockstep.is_some(),
        "registered"
    );
}

/// A number that no other process draws: the standard library seeds its hash keys from the system's random source. It
/// tells incarnations apart and spreads waiting times; nothing that is learned depends on it.
fn random_number(name: &str) -> u64 {
    RandomState::new().hash_one((name, std::process::id(), std::time::SystemTime::now()))
}
