//! A learner that a test plays by hand: it reports what arrives and sends what it is told.

use impala_common::agreement::Agreement;
use impala_common::ids::{ActorIndex, Session, WeightsVersion};
use impala_common::snapshot::{self, Encoding, NumberFormat, Snapshot, Words};
use impala_common::wire::pb;
use impala_policy::activation::Activation;
use impala_policy::network::NetworkSpec;
use pb::learner_server::{Learner, LearnerServer};
use pb::push_request::Message;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Only a guard against hanging: nothing in these tests waits for time to pass.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Replies = mpsc::Sender<Result<pb::PushReply, Status>>;
pub(crate) type Snapshots = mpsc::Sender<Result<pb::Snapshot, Status>>;

/// What arrives at the learner.
#[derive(Debug)]
pub(crate) enum Event {
    Register(pb::RegisterRequest, oneshot::Sender<Result<pb::RegisterReply, Status>>),
    Open(u64, Replies),
    Trajectory(Box<pb::Trajectory>),
    Farewell(u64),
    WeightsDamaged,
    /// The actor has closed its side of the push stream.
    HalfClose,
    Watch(u64, Snapshots),
}

/// A server on a runtime of its own, so that its death closes every connection at once.
pub(crate) struct FakeLearner {
    runtime: Option<Runtime>,
    pub(crate) address: SocketAddr,
    events: mpsc::Receiver<Event>,
}

impl FakeLearner {
    /// Listens on a free port, or on the one of a learner that died.
    pub(crate) async fn start(address: Option<SocketAddr>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, events) = mpsc::channel(64);
        let (bound, address_receiver) = oneshot::channel();
        runtime.spawn(async move {
            let address = address.unwrap_or(([127, 0, 0, 1], 0).into());
            // A client whose own port the dead learner's became may hold it for a moment.
            let listener = loop {
                match tokio::net::TcpListener::bind(address).await {
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                    bound => break bound.unwrap(),
                }
            };
            bound.send(listener.local_addr().unwrap()).unwrap();
            let service = LearnerServer::new(Service { events: sender });
            let incoming = TcpListenerStream::new(listener);
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        let address = address_receiver.await.unwrap();
        Self { runtime: Some(runtime), address, events }
    }

    pub(crate) async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a live server")
    }

    /// Accepts the next registration.
    pub(crate) async fn accept(&mut self, agreement: Agreement) -> pb::RegisterRequest {
        self.answer(Ok(agreement.into())).await
    }

    /// Accepts the next registration as a learner that sends weights with receipts; gives the stream of replies.
    pub(crate) async fn accept_with_receipts(&mut self, agreement: Agreement) -> Replies {
        let session = agreement.session.0;
        let reply = pb::RegisterReply { weights_in_receipts: Some(true), ..agreement.into() };
        assert_eq!(self.answer(Ok(reply)).await.weights_in_receipts, Some(true));
        match self.event().await {
            Event::Open(opened, replies) if opened == session => replies,
            other => panic!("expected the stream of session {session}, got {other:?}"),
        }
    }

    /// Answers the next registration.
    pub(crate) async fn answer(&mut self, reply: Result<pb::RegisterReply, Status>) -> pb::RegisterRequest {
        match self.event().await {
            Event::Register(request, answer) => {
                answer.send(reply).unwrap();
                request
            }
            other => panic!("expected a registration, got {other:?}"),
        }
    }

    /// Waits until both streams are open, in either order.
    pub(crate) async fn streams(&mut self, session: u64) -> (Replies, Snapshots) {
        let (mut replies, mut snapshots) = (None, None);
        while replies.is_none() || snapshots.is_none() {
            match self.event().await {
                Event::Open(opened, sender) if opened == session => replies = Some(sender),
                Event::Watch(watched, sender) if watched == session => snapshots = Some(sender),
                other => panic!("expected the streams of session {session}, got {other:?}"),
            }
        }
        (replies.unwrap(), snapshots.unwrap())
    }

    pub(crate) async fn trajectory(&mut self) -> pb::Trajectory {
        match self.event().await {
            Event::Trajectory(trajectory) => *trajectory,
            other => panic!("expected a trajectory, got {other:?}"),
        }
    }

    /// Takes trajectories until the farewell and the half-close: their number, and what the farewell says.
    pub(crate) async fn last_words(&mut self) -> (u64, u64) {
        let (mut trajectories, mut produced) = (0, None);
        loop {
            match self.event().await {
                Event::Trajectory(_) if produced.is_none() => trajectories += 1,
                Event::Farewell(said) if produced.is_none() => produced = Some(said),
                Event::HalfClose => return (trajectories, produced.expect("a farewell before the half-close")),
                other => panic!("expected trajectories and a farewell, got {other:?}"),
            }
        }
    }

    /// Dies: connections are cut, the port is free again.
    pub(crate) fn die(mut self) -> SocketAddr {
        self.stop();
        self.address
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for FakeLearner {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Service {
    events: mpsc::Sender<Event>,
}

type Replying<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Learner for Service {
    async fn register(&self, request: Request<pb::RegisterRequest>) -> Result<Response<pb::RegisterReply>, Status> {
        let (answer, reply) = oneshot::channel();
        self.events.send(Event::Register(request.into_inner(), answer)).await.unwrap();
        reply.await.unwrap_or_else(|_| Err(Status::unavailable("the test went on"))).map(Response::new)
    }

    type PushTrajectoriesStream = Replying<pb::PushReply>;

    async fn push_trajectories(
        &self,
        request: Request<Streaming<pb::PushRequest>>,
    ) -> Result<Response<Self::PushTrajectoriesStream>, Status> {
        let mut requests = request.into_inner();
        let (sender, replies) = mpsc::channel(64);
        let events = self.events.clone();
        tokio::spawn(async move {
            let mut sender = Some(sender);
            while let Ok(Some(request)) = requests.message().await {
                let event = match request.message.expect("a message in every request") {
                    Message::Open(open) => Event::Open(open.session, sender.take().expect("one open a stream")),
                    Message::Trajectory(trajectory) => Event::Trajectory(Box::new(trajectory)),
                    Message::Farewell(farewell) => Event::Farewell(farewell.produced),
                    Message::WeightsDamaged(_) => Event::WeightsDamaged,
                };
                let _ = events.send(event).await;
            }
            let _ = events.send(Event::HalfClose).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(replies))))
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusReply>, Status> {
        Err(Status::unimplemented("no actor asks"))
    }

    async fn get_model(&self, _: Request<pb::GetModelRequest>) -> Result<Response<pb::GetModelReply>, Status> {
        Err(Status::unimplemented("no actor asks"))
    }

    type WatchWeightsStream = Replying<pb::Snapshot>;

    async fn watch_weights(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchWeightsStream>, Status> {
        let (sender, snapshots) = mpsc::channel(64);
        self.events.send(Event::Watch(request.into_inner().session, sender)).await.unwrap();
        Ok(Response::new(Box::pin(ReceiverStream::new(snapshots))))
    }
}

pub(crate) fn agreement(session: u64) -> Agreement {
    let environment = impala_env::builtin().kinds()[0].spec().clone();
    Agreement {
        session: Session(session),
        actor_index: ActorIndex(0),
        network: NetworkSpec {
            observation_len: environment.observation_len,
            hidden: vec![8],
            activation: Activation::Tanh,
            action_count: environment.action_count,
        },
        environment,
        unroll_length: 5,
        environments_per_actor: 3,
        seed: 1,
        encoding: Encoding::F32Delta,
        in_flight_max: 2,
        lockstep: None,
    }
}

fn words(version: u64) -> Words {
    let parameters = vec![version as f32 * 0.01; agreement(0).network.parameter_count()];
    Words::round(NumberFormat::F32, &parameters)
}

/// Weights that are all `version / 100`.
pub(crate) fn full(version: u64) -> pb::Snapshot {
    pb::Snapshot::from(&snapshot::encode(WeightsVersion(version), &words(version), None))
}

/// The same without compression.
pub(crate) fn stored(version: u64) -> pb::Snapshot {
    pb::Snapshot::from(&snapshot::store(WeightsVersion(version), &words(version)))
}

/// The same as the difference to another version.
pub(crate) fn delta(version: u64, base: u64) -> pb::Snapshot {
    let snapshot: Snapshot =
        snapshot::encode(WeightsVersion(version), &words(version), Some((WeightsVersion(base), &words(base))));
    pb::Snapshot::from(&snapshot)
}

pub(crate) fn receipt(sequence: u64, disposition: pb::Disposition) -> pb::PushReply {
    let receipt = pb::Receipt { sequence, disposition: disposition.into(), weights_version: 0, weights: None };
    pb::PushReply { message: Some(pb::push_reply::Message::Receipt(receipt)) }
}

/// A receipt with the weights for the next trajectory.
pub(crate) fn receipt_with(sequence: u64, weights: pb::Snapshot) -> pb::PushReply {
    let weights_version = weights.version;
    let disposition = pb::Disposition::Trained.into();
    let receipt = pb::Receipt { sequence, disposition, weights_version, weights: Some(weights) };
    pb::PushReply { message: Some(pb::push_reply::Message::Receipt(receipt)) }
}

/// Weights by themselves, as they come after `open`.
pub(crate) fn weights(snapshot: pb::Snapshot) -> pb::PushReply {
    pb::PushReply { message: Some(pb::push_reply::Message::Weights(snapshot)) }
}

pub(crate) fn finish(reason: &str) -> pb::PushReply {
    finish_with(reason, false)
}

/// Ends the session; the actor is to register again.
pub(crate) fn wait(reason: &str) -> pb::PushReply {
    finish_with(reason, true)
}

fn finish_with(reason: &str, wait: bool) -> pb::PushReply {
    let finish = pb::Finish { reason: reason.into(), wait };
    pb::PushReply { message: Some(pb::push_reply::Message::Finish(finish)) }
}
