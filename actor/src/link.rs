//! The link: the actor's side of the wire. It registers, pushes trajectories, takes weights, and says how it ended.
//!
//! Protobuf types are named only here and below. The link knows no environments and no policy: trajectories come in by a
//! channel, weights go out by another, receipts open the window; evaluations go out and come back by a pair of their own.

mod inbox;
mod push;
mod register;
mod watch;

use crate::evaluation::Evaluations;
use crate::weights::Weights;
use crate::window::Window;
use impala_common::agreement::{Agreement, TakeUp};
use impala_common::channel::LearnerUrl;
use impala_common::channel::client::LearnerClient as Client;
use impala_common::ids::{ActorIndex, Incarnation, Sequence};
use impala_common::snapshot::ParameterCount;
use impala_common::trajectory::Trajectory;
use impala_common::wire::WireError;
use impala_env::{EnvironmentKind, Registry};
pub use push::FAREWELL_GRACE;
pub use register::register;
use std::sync::Arc;
use tokio::sync::{mpsc, watch as watch_channel};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// Snapshots in a row that may fail. After each a full one is sent: what damages that many is no accident.
const DAMAGED_MAX: u32 = 5;

/// What an actor says of itself at every registration.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Stable across restarts of the actor.
    pub name: String,
    /// Random number of this process.
    pub incarnation: Incarnation,
    /// The wanted place in the run.
    pub index: Option<ActorIndex>,
    /// The environments on offer.
    pub environments: Registry,
    /// Whether weights may come with receipts; else they come by a stream of their own, every version.
    pub weights_in_receipts: bool,
    /// Whether evaluations may be handed to it.
    pub evaluates: bool,
    /// Whether it waits for another learner where it does not fit the one that is there.
    pub waits: bool,
}

/// A connection to a learner that has accepted the actor.
pub struct Connection {
    client: Client,
    /// What both agreed on.
    pub agreement: Agreement,
    /// What to step.
    pub environment: EnvironmentKind,
    /// Name of the run, if the learner says it; bounded, and as the learner wrote it.
    pub run: Option<String>,
    /// Where to go on; present in deterministic runs.
    pub take_up: Option<TakeUp>,
    /// Whether the learner sends weights with receipts.
    weights_in_receipts: bool,
}

/// What one registration works with.
pub struct Streams {
    /// Trajectories to push. Its end means that the rollout has ended.
    pub trajectories: mpsc::Receiver<Trajectory>,
    /// Gets a permit back for each receipt.
    pub window: Arc<Window>,
    /// Where weights go.
    pub weights: watch_channel::Sender<Option<Arc<Weights>>>,
    /// What the learner wants evaluated, and what came of it.
    pub evaluations: Evaluations,
    /// Asks for farewell; cancelled here when the learner is the one who ends the run.
    pub stop: CancellationToken,
}

/// Trajectories that the learner answered, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipts {
    /// Used for an update.
    pub trained: u64,
    /// Refused: the policy was too old.
    pub stale: u64,
    /// Refused: the learner was ending.
    pub shutdown: u64,
}

impl Receipts {
    /// Receipts of every kind.
    pub fn total(self) -> u64 {
        self.trained + self.stale + self.shutdown
    }
}

impl std::ops::AddAssign for Receipts {
    fn add_assign(&mut self, other: Self) {
        self.trained += other.trained;
        self.stale += other.stale;
        self.shutdown += other.shutdown;
    }
}

/// How a registration ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The learner ended the run, for this reason.
    Finished(String),
    /// The same, but the actor is to wait and to register again.
    ToldToWait(String),
    /// This side asked for the end.
    Stopped,
    /// The learner went away, for this reason; it may come back.
    Disconnected(String),
}

/// What one registration came to.
#[derive(Debug)]
pub struct SessionReport {
    /// What the learner answered.
    pub receipts: Receipts,
    /// How it ended; an error is one that registering anew does not heal.
    pub end: Result<SessionEnd, LinkError>,
}

/// What ends an actor: trying again would not help. Messages are complete: none of the variants has a source besides.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The learner does not want this actor.
    #[error("the learner at {url} refused this actor: {message}")]
    Refused {
        /// Where it listens.
        url: LearnerUrl,
        /// What it said.
        message: String,
    },
    /// The learner's reply to the registration is not valid.
    #[error("the agreement that the learner at {url} offers is not valid: {reason}")]
    Agreement {
        /// Where it listens.
        url: LearnerUrl,
        /// The field that is at fault.
        reason: WireError,
    },
    /// The learner wants what this actor did not offer.
    #[error("the learner at {url} wants {field} {wanted}, this actor offers {offered}")]
    Mismatch {
        /// Where it listens.
        url: LearnerUrl,
        /// Field of the agreement.
        field: &'static str,
        /// The learner's value.
        wanted: String,
        /// This actor's value.
        offered: String,
    },
    /// The learner found a trajectory invalid.
    #[error("the learner rejected a trajectory: {message}")]
    Rejected {
        /// What it said.
        message: String,
    },
    /// The learner sent what the wire contract does not allow.
    #[error("the learner's answer to a trajectory is not valid: {0}")]
    Answer(WireError),
    /// Full snapshots of the weights fail one after the other.
    #[error("the weights could not be decoded {attempts} times in a row, at last: {reason}")]
    Weights {
        /// Failures in a row.
        attempts: u32,
        /// The last one.
        reason: String,
    },
}

/// Pushes trajectories and takes weights until one side ends it; `produced` trajectories were made before.
pub async fn serve(connection: Connection, produced: Sequence, streams: Streams) -> SessionReport {
    let Connection { client, agreement, weights_in_receipts, .. } = connection;
    let Streams { trajectories, window, weights, evaluations, stop } = streams;
    let parameter_count = ParameterCount::from(&agreement.network);
    let inbound = weights_in_receipts.then(|| push::Inbound::new(parameter_count, weights.clone()));
    let mut push = push::Push::new(agreement.session, produced, window, inbound, evaluations, stop.clone());
    let watching = async {
        if weights_in_receipts {
            return std::future::pending().await;
        }
        tokio::select! {
            end = watch::watch(client.clone(), agreement.session, parameter_count, weights) => end,
            // Once the end is agreed, weights no longer matter and must not cut the farewell short.
            () = stop.cancelled() => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        end = push.run(client.clone(), trajectories) => end,
        end = watching => end,
    };
    SessionReport { receipts: push.receipts(), end }
}

/// What a status means, with its causes: `unavailable: tcp connect error: Connection refused (os error 111)`.
fn describe(status: &Status) -> String {
    let code = status.code();
    let name = format!("{code:?}");
    match status.message() {
        "" => code.description().to_owned(),
        message if code == Code::Unknown => message.to_owned(),
        message => format!("{name}: {message}"),
    }
}
