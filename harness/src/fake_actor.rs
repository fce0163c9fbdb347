//! An actor that a test plays by hand, right or wrong.

use crate::patience::within;
use impala_common::agreement::PROTOCOL_VERSION;
use impala_common::channel::client::LearnerClient;
use impala_common::snapshot::{Decoder, Encoding, Snapshot};
use impala_common::wire::pb;
use impala_env::builtin;
use impala_policy::network::NetworkSpec;
use pb::push_reply::Message as Reply;
use pb::push_request::Message as Request;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

/// T of the trajectories here, and of every `TestLearner`, which trains on them.
pub const UNROLL_LENGTH: usize = 3;
/// N of the same.
pub const ENVIRONMENTS: usize = 2;
/// Numbers in an observation of the same.
pub const OBSERVATION_LEN: usize = 4;

/// What an honest actor says of itself.
pub fn registration(name: &str, incarnation: u64) -> pb::RegisterRequest {
    pb::RegisterRequest {
        protocol_version: PROTOCOL_VERSION,
        actor_name: name.into(),
        incarnation,
        actor_index: None,
        produced: 0,
        environments: builtin().kinds().iter().map(|kind| kind.spec().clone().into()).collect(),
        encodings: Encoding::ALL.map(|encoding| pb::Encoding::from(encoding).into()).to_vec(),
        weights_in_receipts: None,
        stored_payloads: None,
        evaluates: None,
    }
}

/// A trajectory as agreed. Its numbers differ with `sequence`. Each step pays 1, and both environments end an episode in the
/// second; what it claims of these episodes is made up.
pub fn trajectory(sequence: u64, weights_version: u64) -> pb::Trajectory {
    let frames = UNROLL_LENGTH * ENVIRONMENTS;
    let phase = sequence as f32;
    let observations = (0..(frames + ENVIRONMENTS) * OBSERVATION_LEN).map(|i| (i as f32 * 0.7 + phase).sin());
    pb::Trajectory {
        sequence,
        weights_version,
        unroll_length: UNROLL_LENGTH as u32,
        environments: ENVIRONMENTS as u32,
        observations: packed(observations),
        actions: vec![0, 1, 1, 0, 0, 1].into(),
        behaviour_log_probs: packed(vec![-0.7; frames]),
        rewards: packed(vec![1.0; frames]),
        outcomes: vec![0, 0, 1, 1, 0, 0].into(),
        final_observations: packed([]),
        room_wait_micros: Some(300),
        weights_wait_micros: Some(100),
        unroll_micros: Some(600),
        actor_state: None,
        masks: Vec::new().into(),
    }
}

/// The receipt of `sequence` as [`FakeActor::reply`] gives it.
pub fn receipt(sequence: u64, disposition: pb::Disposition) -> Reply {
    Reply::Receipt(pb::Receipt { sequence, disposition: disposition.into(), weights_version: 0, weights: None })
}

/// Numbers as the wire carries them.
pub fn packed(numbers: impl IntoIterator<Item = f32>) -> bytes::Bytes {
    numbers.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// A bare client of the three calls: it does what it is told, right or wrong.
#[derive(Debug)]
pub struct FakeActor {
    /// What the learner answered.
    pub agreement: pb::RegisterReply,
    requests: mpsc::Sender<pb::PushRequest>,
    replies: Streaming<pb::PushReply>,
    weights: Streaming<pb::Snapshot>,
    decoder: Decoder,
    produced: u64,
    /// What the last receipt asks the next trajectory to be made with.
    pub next_weights: u64,
    /// The weights that came with it.
    pub receipt_weights: Option<pb::Snapshot>,
}

impl FakeActor {
    /// Joins by a connection that the test has made.
    pub async fn join_by(mut client: LearnerClient, request: pb::RegisterRequest) -> Self {
        let produced = request.produced;
        let agreement = within("registering", client.register(request)).await.unwrap().into_inner();
        let (requests, replies) = push_stream(&mut client).await;
        let session = agreement.session.clone();
        let watching = client.watch_weights(pb::WatchRequest { session: session.clone() });
        let weights = within("watching", watching).await.unwrap().into_inner();
        let network = agreement.network.clone().unwrap();
        let spec = NetworkSpec::try_from(network).unwrap();
        let decoder = Decoder::new(&spec);
        let actor =
            Self { agreement, requests, replies, weights, decoder, produced, next_weights: 0, receipt_weights: None };
        actor.send(Request::Open(pb::Open { session })).await;
        actor
    }

    /// Says something on the trajectory stream.
    pub async fn send(&self, message: Request) {
        let message = pb::PushRequest { message: Some(message) };
        within("sending", self.requests.send(message)).await.unwrap();
    }

    /// Pushes the next trajectory, made with `version`; gives its sequence.
    pub async fn push(&mut self, version: u64) -> u64 {
        let sequence = self.produced;
        self.push_this(trajectory(sequence, version)).await;
        sequence
    }

    /// Pushes this trajectory.
    pub async fn push_this(&mut self, trajectory: pb::Trajectory) {
        self.produced = trajectory.sequence.saturating_add(1);
        self.send(Request::Trajectory(trajectory)).await;
    }

    /// Pushes the next trajectory and waits until it is trained.
    pub async fn train(&mut self, version: u64) {
        let sequence = self.push(version).await;
        assert_eq!(self.receipt().await, (sequence, pb::Disposition::Trained));
    }

    /// The next reply, a receipt without its version: which one is newest is a race.
    ///
    /// # Errors
    /// The learner has ended the stream with a status.
    pub async fn reply(&mut self) -> Result<Option<Reply>, tonic::Status> {
        let reply = within("a reply", self.replies.message()).await?;
        let mut reply = reply.map(|reply| reply.message.unwrap());
        if let Some(Reply::Receipt(receipt)) = &mut reply {
            self.next_weights = std::mem::take(&mut receipt.weights_version);
            self.receipt_weights = receipt.weights.take();
        }
        Ok(reply)
    }

    /// The next reply, which must be a receipt: sequence and disposition.
    pub async fn receipt(&mut self) -> (u64, pb::Disposition) {
        match self.reply().await.unwrap() {
            Some(Reply::Receipt(receipt)) => (receipt.sequence, receipt.disposition()),
            other => panic!("expected a receipt, got {other:?}"),
        }
    }

    /// The reason of a finish that lets the actor end.
    pub async fn finish(&mut self) -> String {
        let pb::Finish { reason, wait } = self.any_finish().await;
        assert!(!wait, "the actor is to wait: {reason}");
        reason
    }

    /// The reason of a finish that asks the actor to wait.
    pub async fn told_to_wait(&mut self) -> String {
        let pb::Finish { reason, wait } = self.any_finish().await;
        assert!(wait, "the actor is to end: {reason}");
        reason
    }

    async fn any_finish(&mut self) -> pb::Finish {
        match self.reply().await.unwrap() {
            Some(Reply::Finish(finish)) => finish,
            other => panic!("expected the finish, got {other:?}"),
        }
    }

    /// The next reply must be the end of the stream by this actor's fault.
    pub async fn violation(&mut self) -> String {
        let status = self.reply().await.expect_err("the stream should end with an error");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        status.message().to_owned()
    }

    /// The next reply, which must be weights by themselves.
    pub async fn pushed_weights(&mut self) -> pb::Snapshot {
        match self.reply().await.unwrap() {
            Some(Reply::Weights(weights)) => {
                self.decode(&weights);
                weights
            }
            other => panic!("expected weights, got {other:?}"),
        }
    }

    /// The parameters of a snapshot.
    pub fn decode(&mut self, snapshot: &pb::Snapshot) -> Vec<f32> {
        self.decoder.decode(&Snapshot::try_from(snapshot.clone()).unwrap()).unwrap()
    }

    /// The next snapshot and the parameters in it.
    pub async fn weights(&mut self) -> (pb::Snapshot, Vec<f32>) {
        let snapshot = within("weights", self.weights.message()).await.unwrap().expect("the stream should go on");
        let parameters = self.decode(&snapshot);
        (snapshot, parameters)
    }

    /// Reads weights until `version`.
    pub async fn weights_of(&mut self, version: u64) -> Vec<f32> {
        loop {
            let (snapshot, parameters) = self.weights().await;
            assert!(snapshot.version <= version, "version {} came before {version}", snapshot.version);
            if snapshot.version == version {
                return parameters;
            }
        }
    }

    /// Says farewell and waits until the learner has heard it; every reply must have been read.
    pub async fn leave(self) {
        let produced = self.produced;
        assert_eq!(self.farewell(produced).await, []);
    }

    /// Says farewell with this count; gives what the learner says until it ends the stream.
    pub async fn farewell(mut self, produced: u64) -> Vec<Reply> {
        self.send(Request::Farewell(pb::Farewell { produced })).await;
        let mut replies = Vec::new();
        while let Some(reply) = self.reply().await.unwrap() {
            replies.push(reply);
        }
        replies
    }

    /// Closes the trajectory stream without a farewell and waits until the learner has noticed.
    pub async fn close(self) {
        let Self { requests, mut replies, .. } = self;
        drop(requests);
        while within("the end of the stream", replies.message()).await.unwrap().is_some() {}
    }
}

/// A trajectory stream on which nothing has been said.
pub async fn push_stream(client: &mut LearnerClient) -> (mpsc::Sender<pb::PushRequest>, Streaming<pb::PushReply>) {
    let (requests, outbound) = mpsc::channel(8);
    let opening = client.push_trajectories(ReceiverStream::new(outbound));
    let replies = within("opening the stream", opening).await.unwrap().into_inner();
    (requests, replies)
}
