//! A real learner in the test's own runtime.

use crate::fake_actor::{ENVIRONMENTS, FakeActor, UNROLL_LENGTH, registration};
use crate::patience::within;
use impala_common::account::Account;
use impala_common::channel::Dialler;
use impala_common::channel::client::LearnerClient;
use impala_common::status::{RunState, Status};
use impala_common::wire::pb;
use impala_env::builtin;
use impala_learner::app::{Keepalive, Learner, Outcome};
use impala_learner::config::Config;
use impala_learner::config::settings::GivenSettings;
use impala_learner::run::checkpoint::Checkpoint;
use impala_learner::run::resume::default_store;
use impala_learner::run::run_dir::RunDir;
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// A small learner that trains on each trajectory alone.
pub fn settings() -> GivenSettings {
    let sizes = format!("unroll_length = {UNROLL_LENGTH}\nenvironments_per_actor = {ENVIRONMENTS}");
    let rest = format!("batch_size = {ENVIRONMENTS}\nlisten = \"127.0.0.1:0\"\nhidden = [8]\ndevice = \"cpu\"");
    given(&sizes, given(&rest, GivenSettings::default()))
}

/// Settings as in a configuration file, and others where they name none.
pub fn given(toml: &str, others: GivenSettings) -> GivenSettings {
    toml.parse::<GivenSettings>().unwrap().or(others)
}

/// Binds a learner whose runs lie in a directory of its own.
pub async fn bind(given: GivenSettings) -> (anyhow::Result<Learner>, RunDir, TempDir) {
    bind_resumed(given, None).await
}

async fn bind_resumed(
    given: GivenSettings,
    checkpoint: Option<Checkpoint>,
) -> (anyhow::Result<Learner>, RunDir, TempDir) {
    let runs = tempfile::tempdir().unwrap();
    let mut given = given;
    given.output.runs_dir = Some(runs.path().to_owned());
    let config = Config::resolve(given, None, &builtin()).unwrap();
    let mut run_dir = RunDir::take(&config, None).unwrap();
    run_dir.record(&config).unwrap();
    (Learner::bind(config, checkpoint).await, run_dir, runs)
}

/// A running learner.
#[derive(Debug)]
pub struct TestLearner {
    /// Where it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    run: JoinHandle<anyhow::Result<Outcome>>,
    run_dir: PathBuf,
    runs: TempDir,
}

/// What a learner left.
#[derive(Debug)]
pub struct Ended {
    /// What the run came to.
    pub outcome: Outcome,
    /// Its files; there as long as this lives.
    pub run_dir: PathBuf,
    _runs: TempDir,
}

impl TestLearner {
    /// A learner with these settings.
    pub async fn start(given: GivenSettings) -> Self {
        Self::start_with(given, Keepalive::default()).await
    }

    /// The same, with another patience for silent actors.
    pub async fn start_with(given: GivenSettings, keepalive: Keepalive) -> Self {
        Self::run(bind(given).await, keepalive)
    }

    /// A learner that is resumed from a checkpoint.
    pub async fn resume(given: GivenSettings, checkpoint: Checkpoint) -> Self {
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

    /// A new connection.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        within("connecting", endpoint.connect()).await.unwrap()
    }

    /// A client by a new connection.
    pub async fn client(&self) -> LearnerClient {
        LearnerClient::new(self.channel().await)
    }

    /// Registers by a new connection.
    ///
    /// # Errors
    /// The learner refuses.
    pub async fn register(&self, request: pb::RegisterRequest) -> Result<pb::RegisterReply, tonic::Status> {
        let reply = within("registering", self.client().await.register(request)).await;
        reply.map(tonic::Response::into_inner)
    }

    /// Asks for the status until it is in this state.
    pub async fn status_in(&self, state: RunState) -> Status {
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
    pub fn file(&self, name: &str) -> PathBuf {
        self.run_dir.join(name)
    }

    /// A new actor with an open trajectory stream and a weights stream.
    pub async fn actor(&self, name: &str, incarnation: u64) -> FakeActor {
        self.join(registration(name, incarnation)).await
    }

    /// An actor that says this of itself, with both streams open.
    pub async fn join(&self, request: pb::RegisterRequest) -> FakeActor {
        FakeActor::join_by(self.client().await, request).await
    }

    /// How it is asked from outside.
    pub fn dialler(&self) -> Dialler {
        Dialler::new(self.address.to_string().parse().unwrap())
    }

    /// Asks the run to end.
    pub fn request_stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the run's end.
    pub async fn ended(self) -> Ended {
        let outcome = within("the end of the run", self.run).await.unwrap().unwrap();
        Ended { outcome, run_dir: self.run_dir, _runs: self.runs }
    }

    /// Stops the run and waits for its end; gives the account of a run that nobody is left in.
    pub async fn stop(self) -> Account {
        self.request_stop();
        self.ended().await.outcome.summary.account
    }
}
