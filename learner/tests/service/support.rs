//! A learner in the test's own runtime and an actor that does what it is told, right or wrong.

use impala_common::agreement::PROTOCOL_VERSION;
use impala_common::snapshot::{Decoder, Encoding, Snapshot};
use impala_common::wire::pb;
use impala_learner::app::{Keepalive, Learner, Outcome};
use impala_learner::config::Config;
use impala_learner::config::settings::GivenSettings;
use impala_learner::handover::ledger::Account;
use impala_learner::handover::run_state::RunState;
use impala_learner::handover::status::Status;
use impala_learner::run::checkpoint::Checkpoint;
use impala_learner::run::resume::default_store;
use impala_learner::run::run_dir::RunDir;
use impala_policy::network::NetworkSpec;
use pb::push_reply::Message as Reply;
use pb::push_request::Message as Request;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

/// T, N and O of every learner here.
pub(crate) const UNROLL_LENGTH: usize = 3;
pub(crate) const ENVIRONMENTS: usize = 2;
pub(crate) const OBSERVATION_LEN: usize = 4;

pub(crate) type Client = pb::learner_client::LearnerClient<Channel>;

/// Guards against hanging; no test depends on how long anything takes.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(30), future).await;
    outcome.unwrap_or_else(|_| panic!("{what}: nothing came within 30 seconds"))
}

/// A small learner that trains on each trajectory alone.
pub(crate) fn settings() -> GivenSettings {
    let sizes = format!("unroll_length = {UNROLL_LENGTH}\nenvironments_per_actor = {ENVIRONMENTS}");
    let rest = format!("batch_size = {ENVIRONMENTS}\nlisten = \"127.0.0.1:0\"\nhidden = [8]\ndevice = \"cpu\"");
    given(&sizes, given(&rest, GivenSettings::default()))
}

/// Settings as in a configuration file, and others where they name none.
pub(crate) fn given(toml: &str, others: GivenSettings) -> GivenSettings {
    toml.parse::<GivenSettings>().unwrap().or(others)
}

/// Binds a learner whose runs lie in a directory of its own.
pub(crate) async fn bind(given: GivenSettings) -> (anyhow::Result<Learner>, RunDir, TempDir) {
    bind_resumed(given, None).await
}

async fn bind_resumed(
    given: GivenSettings,
    checkpoint: Option<Checkpoint>,
) -> (anyhow::Result<Learner>, RunDir, TempDir) {
    let runs = tempfile::tempdir().unwrap();
    let mut given = given;
    given.output.runs_dir = Some(runs.path().to_owned());
    let config = Config::resolve(given, None, &impala_env::builtin()).unwrap();
    let run_dir = RunDir::create(&config, None).unwrap();
    (Learner::bind(config, checkpoint).await, run_dir, runs)
}

/// A running learner.
pub(crate) struct TestLearner {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    run: JoinHandle<anyhow::Result<Outcome>>,
    run_dir: PathBuf,
    runs: TempDir,
}

/// What a learner left.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) run_dir: PathBuf,
    _runs: TempDir,
}

impl TestLearner {
    pub(crate) async fn start(given: GivenSettings) -> Self {
        Self::start_with(given, Keepalive::default()).await
    }

    pub(crate) async fn start_with(given: GivenSettings, keepalive: Keepalive) -> Self {
        Self::run(bind(given).await, keepalive)
    }

    /// A learner that goes on behind a checkpoint.
    pub(crate) async fn resume(given: GivenSettings, checkpoint: Checkpoint) -> Self {
        Self::run(bind_resumed(given, Some(checkpoint)).await, Keepalive::default())
    }

    fn run((learner, run_dir, runs): (anyhow::Result<Learner>, RunDir, TempDir), keepalive: Keepalive) -> Self {
        let learner = learner.unwrap().with_keepalive(keepalive);
        let address = learner.address();
        let stop = CancellationToken::new();
        let run = tokio::spawn(learner.run(run_dir.clone(), default_store(run_dir.path()), false, stop.clone()));
        let run_dir = run_dir.path().to_owned();
        Self { address, stop, run, run_dir, runs }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        within("connecting", endpoint.connect()).await.unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::new(self.channel().await)
    }

    pub(crate) async fn register(&self, request: pb::RegisterRequest) -> Result<pb::RegisterReply, tonic::Status> {
        let reply = within("registering", self.client().await.register(request)).await;
        reply.map(tonic::Response::into_inner)
    }

    /// Asks for the status until it is in this state.
    pub(crate) async fn status_in(&self, state: RunState) -> Status {
        let mut client = self.client().await;
        let asking = async {
            loop {
                let reply = client.status(pb::StatusRequest {}).await.unwrap().into_inner();
                let status = Status::try_from(reply).unwrap();
                if status.state == state {
                    return status;
                }
            }
        };
        within(state.name(), asking).await
    }

    /// The file of a run that goes on.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.run_dir.join(name)
    }

    /// A new actor with an open trajectory stream and a weights stream.
    pub(crate) async fn actor(&self, name: &str, incarnation: u64) -> TestActor {
        TestActor::join(self, registration(name, incarnation)).await
    }

    /// Asks the run to end.
    pub(crate) fn request_stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the run's end.
    pub(crate) async fn ended(self) -> Ended {
        let outcome = within("the end of the run", self.run).await.unwrap().unwrap();
        Ended { outcome, run_dir: self.run_dir, _runs: self.runs }
    }

    /// Stops the run and waits for its end; gives the account of a run that nobody is left in.
    pub(crate) async fn stop(self) -> Account {
        self.request_stop();
        self.ended().await.outcome.summary.account
    }
}

/// What an honest actor says of itself.
pub(crate) fn registration(name: &str, incarnation: u64) -> pb::RegisterRequest {
    pb::RegisterRequest {
        protocol_version: PROTOCOL_VERSION,
        actor_name: name.into(),
        incarnation,
        actor_index: None,
        produced: 0,
        environments: impala_env::builtin().kinds().iter().map(|kind| kind.spec().clone().into()).collect(),
        encodings: Encoding::ALL.map(|encoding| pb::Encoding::from(encoding).into()).to_vec(),
        weights_in_receipts: None,
        stored_payloads: None,
    }
}

/// A trajectory as agreed. Its numbers differ with `sequence`.
pub(crate) fn trajectory(sequence: u64, weights_version: u64) -> pb::Trajectory {
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
        outcomes: vec![0, 0, 0, 1, 0, 0].into(),
        final_observations: packed([]),
        episode_returns: packed([12.0]),
        episode_lengths: 12_u32.to_le_bytes().to_vec().into(),
        room_wait_micros: Some(300),
        weights_wait_micros: Some(100),
        unroll_micros: Some(600),
        actor_state: None,
    }
}

/// The receipt of `sequence` as [`TestActor::reply`] gives it.
pub(crate) fn receipt(sequence: u64, disposition: pb::Disposition) -> Reply {
    Reply::Receipt(pb::Receipt { sequence, disposition: disposition.into(), weights_version: 0, weights: None })
}

/// Numbers as the wire carries them.
pub(crate) fn packed(numbers: impl IntoIterator<Item = f32>) -> bytes::Bytes {
    numbers.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// A bare client of the three calls.
pub(crate) struct TestActor {
    pub(crate) agreement: pb::RegisterReply,
    requests: mpsc::Sender<pb::PushRequest>,
    replies: Streaming<pb::PushReply>,
    weights: Streaming<pb::Snapshot>,
    decoder: Decoder,
    produced: u64,
    /// What the last receipt asks the next trajectory to be made with.
    pub(crate) next_weights: u64,
    /// The weights that came with it.
    pub(crate) receipt_weights: Option<pb::Snapshot>,
}

impl TestActor {
    pub(crate) async fn join(learner: &TestLearner, request: pb::RegisterRequest) -> Self {
        Self::join_by(learner.client().await, request).await
    }

    /// Joins by a connection that the test has made.
    pub(crate) async fn join_by(mut client: Client, request: pb::RegisterRequest) -> Self {
        let produced = request.produced;
        let agreement = within("registering", client.register(request)).await.unwrap().into_inner();
        let (requests, replies) = push_stream(&mut client).await;
        let session = agreement.session;
        let watching = client.watch_weights(pb::WatchRequest { session });
        let weights = within("watching", watching).await.unwrap().into_inner();
        let network = agreement.network.clone().unwrap();
        let spec = NetworkSpec {
            observation_len: network.observation_len as usize,
            hidden: network.hidden.iter().map(|width| *width as usize).collect(),
            activation: network.activation.parse().unwrap(),
            action_count: network.action_count as usize,
        };
        let decoder = Decoder::new(spec.parameter_count());
        let actor =
            Self { agreement, requests, replies, weights, decoder, produced, next_weights: 0, receipt_weights: None };
        actor.send(Request::Open(pb::Open { session })).await;
        actor
    }

    pub(crate) async fn send(&self, message: Request) {
        let message = pb::PushRequest { message: Some(message) };
        within("sending", self.requests.send(message)).await.unwrap();
    }

    /// Pushes the next trajectory, made with `version`; gives its sequence.
    pub(crate) async fn push(&mut self, version: u64) -> u64 {
        let sequence = self.produced;
        self.push_this(trajectory(sequence, version)).await;
        sequence
    }

    pub(crate) async fn push_this(&mut self, trajectory: pb::Trajectory) {
        self.produced = trajectory.sequence.saturating_add(1);
        self.send(Request::Trajectory(trajectory)).await;
    }

    /// Pushes the next trajectory and waits until it is trained.
    pub(crate) async fn train(&mut self, version: u64) {
        let sequence = self.push(version).await;
        assert_eq!(self.receipt().await, (sequence, pb::Disposition::Trained));
    }

    /// The next reply, a receipt without its version: which one is newest is a race.
    pub(crate) async fn reply(&mut self) -> Result<Option<Reply>, tonic::Status> {
        let reply = within("a reply", self.replies.message()).await?;
        let mut reply = reply.map(|reply| reply.message.unwrap());
        if let Some(Reply::Receipt(receipt)) = &mut reply {
            self.next_weights = std::mem::take(&mut receipt.weights_version);
            self.receipt_weights = receipt.weights.take();
        }
        Ok(reply)
    }

    pub(crate) async fn receipt(&mut self) -> (u64, pb::Disposition) {
        match self.reply().await.unwrap() {
            Some(Reply::Receipt(receipt)) => (receipt.sequence, receipt.disposition()),
            other => panic!("expected a receipt, got {other:?}"),
        }
    }

    /// The reason of a finish that lets the actor end.
    pub(crate) async fn finish(&mut self) -> String {
        let pb::Finish { reason, wait } = self.any_finish().await;
        assert!(!wait, "the actor is to wait: {reason}");
        reason
    }

    /// The reason of a finish that asks the actor to wait.
    pub(crate) async fn told_to_wait(&mut self) -> String {
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
    pub(crate) async fn violation(&mut self) -> String {
        let status = self.reply().await.expect_err("the stream should end with an error");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        status.message().to_owned()
    }

    /// The next reply, which must be weights by themselves.
    pub(crate) async fn pushed_weights(&mut self) -> pb::Snapshot {
        match self.reply().await.unwrap() {
            Some(Reply::Weights(weights)) => {
                self.decode(&weights);
                weights
            }
            other => panic!("expected weights, got {other:?}"),
        }
    }

    /// The parameters of a snapshot.
    pub(crate) fn decode(&mut self, snapshot: &pb::Snapshot) -> Vec<f32> {
        self.decoder.decode(&Snapshot::try_from(snapshot.clone()).unwrap()).unwrap()
    }

    /// The next snapshot and the parameters in it.
    pub(crate) async fn weights(&mut self) -> (pb::Snapshot, Vec<f32>) {
        let snapshot = within("weights", self.weights.message()).await.unwrap().expect("the stream should go on");
        let parameters = self.decode(&snapshot);
        (snapshot, parameters)
    }

    /// Reads weights until `version`.
    pub(crate) async fn weights_of(&mut self, version: u64) -> Vec<f32> {
        loop {
            let (snapshot, parameters) = self.weights().await;
            assert!(snapshot.version <= version, "version {} came before {version}", snapshot.version);
            if snapshot.version == version {
                return parameters;
            }
        }
    }

    /// Says farewell and waits until the learner has heard it; every reply must have been read.
    pub(crate) async fn leave(self) {
        let produced = self.produced;
        assert_eq!(self.farewell(produced).await, []);
    }

    /// Says farewell with this count; gives what the learner says until it ends the stream.
    pub(crate) async fn farewell(mut self, produced: u64) -> Vec<Reply> {
        self.send(Request::Farewell(pb::Farewell { produced })).await;
        let mut replies = Vec::new();
        while let Some(reply) = self.reply().await.unwrap() {
            replies.push(reply);
        }
        replies
    }

    /// Closes the trajectory stream without a farewell and waits until the learner has noticed.
    pub(crate) async fn close(self) {
        let Self { requests, mut replies, .. } = self;
        drop(requests);
        while within("the end of the stream", replies.message()).await.unwrap().is_some() {}
    }
}

/// A trajectory stream on which nothing has been said.
pub(crate) async fn push_stream(client: &mut Client) -> (mpsc::Sender<pb::PushRequest>, Streaming<pb::PushReply>) {
    let (requests, outbound) = mpsc::channel(8);
    let opening = client.push_trajectories(ReceiverStream::new(outbound));
    let replies = within("opening the stream", opening).await.unwrap().into_inner();
    (requests, replies)
}
