//! A learner that a test plays by hand: it reports what arrives and sends what it is told.

use crate::patience::{PATIENCE, within};
use impala_common::agreement::Agreement;
use impala_common::wire::{pb, session_from_pb};
use pb::learner_server::{Learner, LearnerServer};
use pb::push_request::Message;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Where the test answers on a stream of trajectories.
pub type Replies = mpsc::Sender<Result<pb::PushReply, Status>>;
/// Where the test sends weights.
pub type Snapshots = mpsc::Sender<Result<pb::Snapshot, Status>>;

/// What arrives at the learner.
#[derive(Debug)]
pub enum Event {
    /// A registration, and where its answer goes.
    Register(pb::RegisterRequest, oneshot::Sender<Result<pb::RegisterReply, Status>>),
    /// A stream of trajectories was opened for this session.
    Open(u64, Replies),
    /// A trajectory.
    Trajectory(Box<pb::Trajectory>),
    /// The actor says that it has produced so many.
    Farewell(u64),
    /// The actor could not decode weights.
    WeightsDamaged,
    /// The answer to an evaluation.
    Evaluated(pb::Evaluated),
    /// The actor has closed its side of the push stream.
    HalfClose,
    /// A stream of weights was opened for this session.
    Watch(u64, Snapshots),
}

/// A server on a runtime of its own, so that its death closes every connection at once.
#[derive(Debug)]
pub struct FakeLearner {
    runtime: Option<Runtime>,
    /// Where it listens.
    pub address: SocketAddr,
    events: mpsc::Receiver<Event>,
}

impl FakeLearner {
    /// Listens on a free port, or on the one of a learner that died.
    pub async fn start(address: Option<SocketAddr>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, events) = mpsc::channel(64);
        let (bound, address_receiver) = oneshot::channel();
        runtime.spawn(async move {
            let address = address.unwrap_or(([127, 0, 0, 1], 0).into());
            // A client whose own port the dead learner's became may hold it for a moment.
            let since = Instant::now();
            let listener = loop {
                match tokio::net::TcpListener::bind(address).await {
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && since.elapsed() < PATIENCE => {
                        tokio::task::yield_now().await;
                    }
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

    /// What arrives next.
    pub async fn event(&mut self) -> Event {
        within("an event at the learner", self.events.recv()).await.expect("a live server")
    }

    /// Accepts the next registration.
    pub async fn accept(&mut self, agreement: Agreement) -> pb::RegisterRequest {
        self.answer(Ok(agreement.into())).await
    }

    /// Accepts the next registration as a learner that sends weights with receipts; gives the stream of replies.
    pub async fn accept_with_receipts(&mut self, agreement: Agreement) -> Replies {
        let session = u64::try_from(agreement.session.0).unwrap();
        let reply = pb::RegisterReply { weights_in_receipts: Some(true), ..agreement.into() };
        assert_eq!(self.answer(Ok(reply)).await.weights_in_receipts, Some(true));
        match self.event().await {
            Event::Open(opened, replies) if opened == session => replies,
            other => panic!("expected the stream of session {session}, got {other:?}"),
        }
    }

    /// Answers the next registration.
    pub async fn answer(&mut self, reply: Result<pb::RegisterReply, Status>) -> pb::RegisterRequest {
        match self.event().await {
            Event::Register(request, answer) => {
                answer.send(reply).unwrap();
                request
            }
            other => panic!("expected a registration, got {other:?}"),
        }
    }

    /// Waits until both streams are open, in either order.
    pub async fn streams(&mut self, session: u64) -> (Replies, Snapshots) {
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

    /// The next trajectory; nothing else may come before it.
    pub async fn trajectory(&mut self) -> pb::Trajectory {
        match self.event().await {
            Event::Trajectory(trajectory) => *trajectory,
            other => panic!("expected a trajectory, got {other:?}"),
        }
    }

    /// Takes trajectories until the farewell and the half-close: their number, and what the farewell says.
    pub async fn last_words(&mut self) -> (u64, u64) {
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
    pub fn die(mut self) -> SocketAddr {
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
                    Message::Open(open) => {
                        Event::Open(number(&open.session), sender.take().expect("one open a stream"))
                    }
                    Message::Trajectory(trajectory) => Event::Trajectory(Box::new(trajectory)),
                    Message::Farewell(farewell) => Event::Farewell(farewell.produced),
                    Message::WeightsDamaged(_) => Event::WeightsDamaged,
                    Message::Evaluated(evaluated) => Event::Evaluated(evaluated),
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
        self.events.send(Event::Watch(number(&request.into_inner().session), sender)).await.unwrap();
        Ok(Response::new(Box::pin(ReceiverStream::new(snapshots))))
    }
}

/// The small number that a fake learner's session is.
fn number(session: &[u8]) -> u64 {
    u64::try_from(session_from_pb(session).unwrap().0).unwrap()
}
