//! The gRPC service: registration, the trajectory streams, the weights streams, status and model. It parses, asks the
//! registry and the ledger, and hands trajectories to the queue; it knows nothing of batches, and of training only what
//! `Progress` tells.

pub mod first_actor;
mod peer_log;
pub mod peers;
mod push;
pub mod registry;
mod replies;
pub mod server;
mod watch;

use crate::handover::admission::PolicyLagGate;
use crate::handover::batch_queue::BatchQueue;
use crate::handover::evaluations::EvaluationDesk;
use crate::handover::ledger::Ledger;
use crate::handover::progress::Progress;
use crate::handover::run_state::{RunState, Standing};
use crate::handover::weights::{Delivery, PublishedWatch, WantedEncodings};
pub use crate::service::peer_log::PeerLog;
use crate::service::peer_log::printable;
use crate::service::peers::requests::peer_of;
use crate::service::registry::{Admission, RegisterError, Registry};
use impala_common::agreement::{Agreement, MESSAGE_BYTES_MAX};
use impala_common::evaluation::FINDINGS_BYTES_MAX;
use impala_common::ids::ActorIndex;
use impala_common::snapshot::Encoding;
use impala_common::trajectory::TrajectoryShape;
use impala_common::wire::{RUN_COMPLETED, RUN_STATE_METADATA, Registration, ServedModel, pb, session_from_pb};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::Stream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status, Streaming};

/// Time that a request for a model waits for its turn.
const MODEL_TURN_MAX: Duration = Duration::from_secs(60);
/// Models that are encoded at once: asking for them must not take the blocking threads from the actors' weights.
const MODELS_AT_ONCE: usize = 1;

/// What all requests share.
#[derive(Debug)]
pub struct Shared {
    /// Who works here.
    pub registry: Registry,
    /// What became of every trajectory.
    pub ledger: Arc<Ledger>,
    /// Knows the version that the trainer has reached.
    pub gate: PolicyLagGate,
    /// To the trainer.
    pub queue: Arc<BatchQueue>,
    /// Newest weights.
    pub published: PublishedWatch,
    /// Told which encodings connected actors use.
    pub wanted: Arc<WantedEncodings>,
    /// How the run stands: whether actors are taken, and what they are told at the end.
    pub standing: Arc<Standing>,
    /// Name of the run, which actors put into their logs.
    pub run: String,
    /// The shape of every trajectory.
    pub shape: TrajectoryShape,
    /// The rewards that a step of the environment can give.
    pub rewards: RangeInclusive<f32>,
    /// Actors that a batch needs.
    pub actors_needed: usize,
    /// What actors are to evaluate.
    pub evaluations: EvaluationDesk,
    /// What has been trained.
    pub progress: Arc<Mutex<Progress>>,
    /// Lines of the log about peers.
    pub log: PeerLog,
    /// Told when an actor of a deterministic run is gone before the end: such a run cannot go on.
    pub lockstep_broken: mpsc::Sender<ActorIndex>,
}

/// The service as tonic wants it. It reads no message that is larger than the agreed trajectories, and answers to evaluations, can be.
pub fn server(shared: Arc<Shared>) -> pb::learner_server::LearnerServer<Service> {
    let findings = if shared.evaluations.is_needed() { FINDINGS_BYTES_MAX } else { 0 };
    let message_bytes_max = shared.shape.wire_bytes_max().max(findings).min(MESSAGE_BYTES_MAX);
    pb::learner_server::LearnerServer::new(Service { shared, model_turns: Arc::new(Semaphore::new(MODELS_AT_ONCE)) })
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// Implements the contract over [`Shared`].
#[derive(Debug)]
pub struct Service {
    shared: Arc<Shared>,
    model_turns: Arc<Semaphore>,
}

/// What goes back on a stream.
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl pb::learner_server::Learner for Service {
    type PushTrajectoriesStream = Messages<pb::PushReply>;
    type WatchWeightsStream = Messages<pb::Snapshot>;

    async fn register(&self, request: Request<pb::RegisterRequest>) -> Result<Response<pb::RegisterReply>, Status> {
        if self.shared.standing.is_finished() {
            return Err(over(&self.shared.standing));
        }
        let is_near = is_near(&request);
        let registration = Registration::from(request.into_inner());
        let admission = self.shared.registry.register(&registration, is_near).map_err(|error| {
            self.tell_refusal(&registration.actor_name, &error);
            register_status(&error)
        })?;
        let Admission { agreement, delivery, take_up } = admission;
        if self.shared.log.may_tell() {
            tracing::info!(
                actor = registration.actor_name,
                index = agreement.actor_index.0,
                encoding = %agreement.encoding,
                stored = delivery.is_stored,
                "an actor registered"
            );
        }
        let weights_in_receipts = delivery.with_receipts.then_some(true);
        let (take_up, run) = (take_up.map(Into::into), Some(self.shared.run.clone()));
        let reply = pb::RegisterReply { take_up, weights_in_receipts, run, ..agreement.into() };
        Ok(Response::new(reply))
    }

    async fn push_trajectories(
        &self,
        request: Request<Streaming<pb::PushRequest>>,
    ) -> Result<Response<Self::PushTrajectoriesStream>, Status> {
        let (replies, outbound) = mpsc::channel(push::REPLIES);
        let peer = peer_of(&request);
        let outbound = replies::Outbound::new(outbound, self.shared.published.clone(), peer.clone());
        tokio::spawn(push::serve(self.shared.clone(), peer, request.into_inner(), replies));
        Ok(Response::new(Box::pin(outbound.messages())))
    }

    async fn watch_weights(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchWeightsStream>, Status> {
        let peer = peer_of(&request);
        let session =
            session_from_pb(&request.into_inner().session).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let (member, over) = self.shared.registry.watch(session).ok_or_else(unknown_session)?;
        let is_needed = self.shared.registry.template().lockstep.is_some();
        let published = self.shared.published.clone();
        let outbound = watch::Outbound::new(published, peer, member.delivery, is_needed, over);
        Ok(Response::new(Box::pin(outbound.messages())))
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusReply>, Status> {
        Ok(Response::new(self.shared.status().into()))
    }

    async fn get_model(&self, request: Request<pb::GetModelRequest>) -> Result<Response<pb::GetModelReply>, Status> {
        let peer = peer_of(&request);
        let none_yet = || Status::unavailable("there are no weights yet: ask again");
        let newest = || self.shared.published.borrow().clone().ok_or_else(none_yet);
        let delivery = Delivery { encoding: Encoding::F32, is_stored: false, with_receipts: false };
        let turn = tokio::time::timeout(MODEL_TURN_MAX, peer.turn(newest()?.bytes_max(delivery))).await;
        let turn = turn.map_err(|_| Status::resource_exhausted("others are being sent the model: ask again later"))?;
        let one_at_a_time = self.model_turns.clone().acquire_owned().await.expect("never closed");
        let newest = newest()?;
        // Whoever asked may be gone before it is made: then it is still made, and the next one is not begun.
        let encoding = tokio::task::spawn_blocking(move || {
            let snapshot = newest.snapshot(delivery, None);
            drop(one_at_a_time);
            snapshot
        });
        let encoded = encoding.await.ok();
        let snapshot = encoded.ok_or_else(|| Status::internal("encoding the weights failed"))?;
        let Agreement { environment, network, .. } = self.shared.registry.template().clone();
        let model = ServedModel { environment, network, snapshot: snapshot.as_ref().clone() };
        let mut response = Response::new(model.into());
        // Its turn lasts until it is read.
        if let Some(turn) = turn {
            response.extensions_mut().insert(Arc::new(turn));
        }
        Ok(response)
    }
}

impl Service {
    /// Tells of an actor that was turned away, unless many are.
    fn tell_refusal(&self, name: &str, error: &RegisterError) {
        if self.shared.log.may_tell() {
            let (actor, reason) = (printable(name), printable(&error.to_string()));
            tracing::warn!(actor, reason, "an actor was turned away");
        }
    }
}

impl Shared {
    /// How the run stands now.
    pub fn status(&self) -> impala_common::status::Status {
        let connected = *self.registry.connected().borrow();
        let oldest_actors = self.registry.laggards().worst;
        let (state, mut reason) =
            (self.standing.state(connected, self.actors_needed), self.standing.reason(connected, self.actors_needed));
        // Such a run does nothing without any of them.
        if self.registry.template().lockstep.is_some()
            && reason.is_empty()
            && let Some((index, name)) = self.registry.awaited().first()
        {
            reason = format!("waiting for the first trajectory of actor {index}, `{name}`");
        }
        let progress = self.progress.lock().expect("no holder of the progress panics");
        impala_common::status::Status {
            state,
            reason,
            environment: self.registry.template().environment.name.clone(),
            frames: progress.frames,
            updates: progress.updates,
            episodes: progress.episodes,
            mean_return: progress.mean_return(),
            solved: progress.solved.is_some(),
            verifying: progress.is_verifying,
            actors_connected: u32::try_from(connected).unwrap_or(u32::MAX),
            account: self.ledger.account(),
            oldest_actors,
        }
    }
}

/// Whether the peer is on this machine: what it is sent costs memory bandwidth only.
fn is_near<T>(request: &Request<T>) -> bool {
    let (peer, here) = (request.remote_addr(), request.local_addr());
    let peer = peer.map(|peer| peer.ip().to_canonical());
    peer.is_some_and(|peer| peer.is_loopback() || here.is_some_and(|here| here.ip().to_canonical() == peer))
}

/// `UNAVAILABLE`: nobody is taken any more. An actor asks a completed run again, but seldom.
fn over(standing: &Standing) -> Status {
    let reason = standing.reason(0, 0);
    let state = standing.state(0, 0);
    if state != RunState::Completed {
        return Status::unavailable(format!("the run is over: {reason}"));
    }
    let mut status = Status::unavailable(format!("the run is completed: {reason}"));
    status.metadata_mut().insert(RUN_STATE_METADATA, MetadataValue::from_static(RUN_COMPLETED));
    status
}

/// `NOT_FOUND`: the actor registers anew.
fn unknown_session() -> Status {
    Status::not_found("the session is not known here, is over, or has a stream already: register again")
}

/// The one map from registration errors to gRPC statuses.
fn register_status(error: &RegisterError) -> Status {
    let code = match error {
        RegisterError::Bounds { .. } => Code::InvalidArgument,
        RegisterError::Taken { .. } => Code::AlreadyExists,
        RegisterError::Reserved => Code::Unavailable,
        RegisterError::Protocol { .. }
        | RegisterError::Environment { .. }
        | RegisterError::Encoding { .. }
        | RegisterError::Full { .. } => Code::FailedPrecondition,
    };
    Status::new(code, error.to_string())
}
