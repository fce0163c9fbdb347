//! The gRPC service: registration, the trajectory streams, the weights streams. It parses, asks the registry and the ledger,
//! and hands trajectories to the queue; it knows nothing of batches or training.

mod push;
mod watch;

use crate::admission::{Admitted, PolicyLagGate, Reply};
use crate::ledger::{Disposition, Ledger};
use crate::publisher::{PublishedWatch, WantedEncodings};
use crate::registry::{RegisterError, Registry};
use impala_common::ids::{ActorIndex, Session};
use impala_common::spec::MESSAGE_BYTES_MAX;
use impala_common::wire::{Registration, pb};
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

/// What all requests share.
#[derive(Debug)]
pub struct Shared {
    /// Who works here.
    pub registry: Registry,
    /// What became of every trajectory.
    pub ledger: Arc<Ledger>,
    /// Knows the version that the trainer has reached.
    pub gate: PolicyLagGate,
    /// To the batcher.
    pub queue: mpsc::Sender<Admitted>,
    /// Newest weights.
    pub published: PublishedWatch,
    /// Told which encodings are in use.
    pub wanted: Arc<WantedEncodings>,
    /// Cancelled when the run is over: actors are told to finish.
    pub finishing: CancellationToken,
    /// Why the run is over; set before `finishing`.
    pub finish_reason: OnceLock<String>,
    /// Told when an actor of a deterministic run is gone before the end: such a run cannot go on.
    pub lockstep_broken: mpsc::Sender<ActorIndex>,
}

/// The service as tonic wants it. It reads no message that is larger than the agreed trajectories can be.
pub fn server(shared: Arc<Shared>) -> pb::learner_server::LearnerServer<Service> {
    let message_bytes_max = shared.registry.template().trajectory_shape().wire_bytes_max().min(MESSAGE_BYTES_MAX);
    pb::learner_server::LearnerServer::new(Service { shared })
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// Implements the contract over [`Shared`].
#[derive(Debug)]
pub struct Service {
    shared: Arc<Shared>,
}

#[tonic::async_trait]
impl pb::learner_server::Learner for Service {
    type PushTrajectoriesStream =
        std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<pb::PushReply, Status>> + Send>>;
    type WatchWeightsStream = ReceiverStream<Result<pb::Snapshot, Status>>;

    async fn register(&self, request: Request<pb::RegisterRequest>) -> Result<Response<pb::RegisterReply>, Status> {
        if self.shared.finishing.is_cancelled() {
            return Err(Status::unavailable("the run is over"));
        }
        let registration = Registration::from(request.into_inner());
        let (agreement, take_up) = self.shared.registry.register(&registration).map_err(|error| {
            tracing::warn!(actor = %registration.actor_name, %error, "an actor was turned away");
            register_status(&error)
        })?;
        self.shared.wanted.add(agreement.encoding);
        tracing::info!(
            actor = %registration.actor_name,
            index = %agreement.actor_index,
            encoding = %agreement.encoding,
            "an actor registered"
        );
        let reply = pb::RegisterReply { take_up: take_up.map(Into::into), ..agreement.into() };
        Ok(Response::new(reply))
    }

    async fn push_trajectories(
        &self,
        request: Request<Streaming<pb::PushRequest>>,
    ) -> Result<Response<Self::PushTrajectoriesStream>, Status> {
        let (replies, outbound) = mpsc::channel(push::REPLIES);
        tokio::spawn(push::serve(self.shared.clone(), request.into_inner(), replies));
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound).map(reply_to_pb))))
    }

    async fn watch_weights(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchWeightsStream>, Status> {
        let session = Session(request.into_inner().session);
        let member = self.shared.registry.member(session).ok_or_else(|| unknown_session(session))?;
        // One place: a slow reader fills it and the next snapshot is chosen when there is room again.
        let (snapshots, outbound) = mpsc::channel(1);
        let published = self.shared.published.clone();
        tokio::spawn(async move { watch::serve(published, member.encoding, &member.demand, snapshots).await });
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}

fn reply_to_pb(reply: Reply) -> Result<pb::PushReply, Status> {
    use pb::push_reply::Message;
    let message = match reply {
        Reply::Receipt { sequence, disposition, weights_version } => {
            let disposition = match disposition {
                Disposition::Trained => pb::Disposition::Trained,
                Disposition::Stale => pb::Disposition::Stale,
                // An invalid trajectory ends the stream with an error; it has no receipt.
                Disposition::Invalid => pb::Disposition::Unspecified,
                Disposition::Shutdown => pb::Disposition::Shutdown,
            };
            let weights_version = weights_version.0;
            Message::Receipt(pb::Receipt { sequence: sequence.0, disposition: disposition.into(), weights_version })
        }
        Reply::Finish { reason } => Message::Finish(pb::Finish { reason }),
        Reply::UnknownSession(session) => return Err(unknown_session(session)),
        Reply::Violation(message) => return Err(Status::invalid_argument(message)),
    };
    Ok(pb::PushReply { message: Some(message) })
}

/// `NOT_FOUND`: the actor registers anew.
fn unknown_session(session: Session) -> Status {
    Status::not_found(format!("session {session} is not known here or has a stream already: register again"))
}

/// The one map from registration errors to gRPC statuses.
fn register_status(error: &RegisterError) -> Status {
    let code = match error {
        RegisterError::Bounds { .. } => Code::InvalidArgument,
        RegisterError::Taken { .. } => Code::AlreadyExists,
        RegisterError::Protocol { .. }
        | RegisterError::Environment { .. }
        | RegisterError::Encoding { .. }
        | RegisterError::Full { .. } => Code::FailedPrecondition,
    };
    Status::new(code, error.to_string())
}
