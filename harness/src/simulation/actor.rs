//! A real link whose rollout is a task: it makes the trajectories of [`crate::fake_actor`] at a steady pace.

use crate::fake_actor::trajectory;
use crate::simulation;
use impala_actor::backoff::Backoff;
use impala_actor::evaluation::Evaluations;
use impala_actor::link::{self, Identity, LinkError, SessionReport, Streams};
use impala_actor::standing::{Standing, StandingSlot};
use impala_actor::weights::Weights;
use impala_actor::window::Window;
use impala_common::channel::Dialler;
use impala_common::ids::{Incarnation, Sequence};
use impala_common::trajectory::{Trajectory, TrajectoryShape};
use impala_common::wire::trajectory_from_pb;
use impala_env::builtin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// The time of an unroll.
const UNROLL: Duration = Duration::from_millis(20);

/// An actor that goes from session to session, as long as a test lets it.
#[derive(Debug)]
pub struct SimulatedActor {
    /// How it finds its learner.
    pub dialler: Dialler,
    /// Where it tells what it is about.
    pub standing: StandingSlot,
    /// What it says of itself.
    pub identity: Identity,
    backoff: Backoff,
    produced: Sequence,
}

/// One registration, from its first stream to its end.
#[derive(Debug)]
pub struct Session {
    /// What the link tells of it.
    pub report: SessionReport,
    /// Trajectories that were made in it.
    pub made: u64,
    /// The newest weights that came.
    pub weights: Option<Arc<Weights>>,
}

impl SimulatedActor {
    /// An actor of the learner on the host of this name; its waits follow from the number.
    pub fn new(learner: &str, incarnation: u64) -> Self {
        let identity = Identity {
            name: format!("simulated-{incarnation}"),
            incarnation: Incarnation(incarnation),
            index: None,
            environments: builtin(),
            weights_in_receipts: true,
            evaluates: false,
            waits: false,
        };
        Self {
            dialler: simulation::dialler(learner),
            standing: StandingSlot::new(Standing::default()),
            identity,
            backoff: Backoff::new(incarnation),
            produced: Sequence(0),
        }
    }

    /// Trajectories made so far, in all sessions.
    pub fn produced(&self) -> u64 {
        self.produced.0
    }

    /// Registers, however long it takes, and rolls until the learner is lost or ends the run, or `trajectories` are made.
    ///
    /// # Errors
    /// The learner and this actor do not fit together.
    pub async fn session(&mut self, trajectories: u64) -> Result<Session, LinkError> {
        let Self { dialler, standing, identity, backoff, produced } = self;
        let connection = link::register(dialler, identity, *produced, backoff, standing).await?;
        let shape = connection.agreement.trajectory_shape();
        let window = Arc::new(Window::new(connection.agreement.in_flight_max));
        let stop = CancellationToken::new();
        let (made, from_rollout) = mpsc::channel(2);
        let (weights, newest) = watch::channel(None);
        let rollout = Rollout { shape, window: Arc::clone(&window), weights: newest.clone(), made, next: *produced };
        let rolling = tokio::spawn(rollout.run(trajectories, stop.clone()));
        let evaluations = Evaluations { assignments: mpsc::channel(1).0, findings: mpsc::channel(1).1 };
        let streams = Streams { trajectories: from_rollout, window, weights, evaluations, stop: stop.clone() };
        let report = link::serve(connection, *produced, streams).await;
        stop.cancel();
        let next = rolling.await.expect("the rollout does not panic");
        let made = next.0 - produced.0;
        *produced = next;
        standing.send_replace(Standing::Waiting);
        let weights = newest.borrow().clone();
        Ok(Session { report, made, weights })
    }
}

/// Waits for a place in the window and for weights that are new enough, as the real one does.
struct Rollout {
    shape: TrajectoryShape,
    window: Arc<Window>,
    weights: watch::Receiver<Option<Arc<Weights>>>,
    made: mpsc::Sender<Trajectory>,
    next: Sequence,
}

impl Rollout {
    /// Makes so many trajectories, unless it is stopped before; gives the number of the next. Its end is the link's.
    async fn run(mut self, trajectories: u64, stop: CancellationToken) -> Sequence {
        for _ in 0..trajectories {
            if stop.run_until_cancelled(self.unroll()).await.flatten().is_none() {
                break;
            }
        }
        self.next
    }

    async fn unroll(&mut self) -> Option<()> {
        let version_min = self.window.take().await;
        let is_new_enough = |weights: &Option<Arc<Weights>>| weights.as_ref().is_some_and(|w| w.version >= version_min);
        let version = self.weights.wait_for(is_new_enough).await.ok()?.as_ref()?.version;
        tokio::time::sleep(UNROLL).await;
        let message = trajectory(self.next.0, version.0);
        let trajectory = trajectory_from_pb(&message, &self.shape).expect("as agreed with the learner of the harness");
        let place = self.made.reserve().await.ok()?;
        self.next = Sequence(self.next.0 + 1);
        place.send(trajectory);
        Some(())
    }
}
