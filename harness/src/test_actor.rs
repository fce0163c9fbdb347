//! A real actor in the test's own runtime.

use crate::fake_learner::FakeLearner;
use crate::patience::within;
use impala_actor::app::{self, ActorConfig, ActorError, ActorReport};
use impala_env::builtin;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running actor.
#[derive(Debug)]
pub struct TestActor {
    run: JoinHandle<Result<ActorReport, ActorError>>,
    /// Asks it to end.
    pub shutdown: CancellationToken,
}

impl TestActor {
    /// An actor of this learner.
    pub fn start(learner: &FakeLearner) -> Self {
        Self::start_with(learner, |_| {})
    }

    /// The same, with another configuration.
    pub fn start_with(learner: &FakeLearner, change: impl FnOnce(&mut ActorConfig)) -> Self {
        let url = format!("http://{}", learner.address).parse().unwrap();
        let mut config = ActorConfig::new(url, "tester".into(), builtin());
        change(&mut config);
        let shutdown = CancellationToken::new();
        Self { run: tokio::spawn(app::run(config, shutdown.clone())), shutdown }
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// What ended it other than its run's end.
    pub async fn end(self) -> Result<ActorReport, ActorError> {
        within("the end of the actor", self.run).await.unwrap()
    }

    /// What ended it other than its run's end.
    pub async fn error(self) -> String {
        self.end().await.unwrap_err().to_string()
    }
}
