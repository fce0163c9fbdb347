//! The real service without training: each trajectory is settled as soon as it is admitted and makes the next version.

use crate::simulation::{self, PORT};
use crate::test_learner::{given, settings};
use impala_common::account::Account;
use impala_common::ids::WeightsVersion;
use impala_env::builtin;
use impala_learner::app::{self, Keepalive};
use impala_learner::config::Config;
use impala_learner::handover::admission::PolicyLagGate;
use impala_learner::handover::batch_queue::BatchQueue;
use impala_learner::handover::batch_size::BatchSize;
use impala_learner::handover::batcher::Batcher;
use impala_learner::handover::evaluations::EvaluationDesk;
use impala_learner::handover::ledger::Ledger;
use impala_learner::handover::progress::Progress;
use impala_learner::handover::weights::Publications;
use impala_learner::service::registry::{Registry, TakeUps};
use impala_learner::service::{PeerLog, Shared};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Trajectories that an actor may have under way.
pub const IN_FLIGHT_MAX: usize = 2;
/// Time between two looks of the trainer at its queue.
const TRAINER_INTERVAL: Duration = Duration::from_millis(1);

/// The learners that one host has run, one after the other.
#[derive(Clone, Debug, Default)]
pub struct SimulatedLearners {
    ledgers: Arc<Mutex<Vec<Arc<Ledger>>>>,
}

impl SimulatedLearners {
    /// How many were started.
    pub fn started(&self) -> usize {
        self.ledgers.lock().unwrap().len()
    }

    /// The account of the newest.
    pub fn account(&self) -> Account {
        self.ledgers.lock().unwrap().last().map(|ledger| ledger.account()).unwrap_or_default()
    }

    /// The host's program: a new learner, whose sessions and versions have nothing to do with those before it.
    ///
    /// # Errors
    /// Its port is taken.
    pub async fn run(self) -> turmoil::Result {
        let config = Config::resolve(given(&format!("in_flight_max = {IN_FLIGHT_MAX}"), settings()), None, &builtin())?;
        let ledger = Arc::new(Ledger::default());
        self.ledgers.lock().unwrap().push(Arc::clone(&ledger));
        let shared = start(&config, ledger);
        let incoming = simulation::incoming(PORT).await?;
        let (_health, server) = app::serve(incoming, shared, Keepalive::default(), CancellationToken::new())?;
        Ok(server.await??)
    }
}

/// What serves in the place of a learner, and something that settles what comes. Must be called inside a tokio runtime.
pub fn start(config: &Config, ledger: Arc<Ledger>) -> Arc<Shared> {
    let gate = PolicyLagGate::new(config.batching.policy_lag_max);
    let queue = Arc::new(BatchQueue::new(Batcher::new(BatchSize::Fixed(1), gate.clone(), None, 0), 16));
    let (newest, published) = watch::channel(None);
    let shared = Arc::new(Shared {
        registry: Registry::new(config.agreement(), TakeUps::default(), Arc::clone(&ledger)),
        shape: config.agreement().trajectory_shape(),
        ledger,
        gate: gate.clone(),
        queue: Arc::clone(&queue),
        published,
        wanted: Arc::default(),
        standing: Arc::default(),
        run: String::new(),
        rewards: config.environment().rewards().clone(),
        evaluations: EvaluationDesk::of(config.environment()),
        actors_needed: 1,
        progress: Arc::new(Mutex::new(Progress::new(config.solved_return()))),
        log: PeerLog::default(),
        lockstep_broken: mpsc::channel(1).0,
    });
    tokio::spawn(train(queue, Publications::new(newest, 0), gate, config.network().parameter_count()));
    shared
}

/// In the place of trainer and publisher.
async fn train(queue: Arc<BatchQueue>, mut publications: Publications, gate: PolicyLagGate, parameter_count: usize) {
    let mut tick = tokio::time::interval(TRAINER_INTERVAL);
    let mut publish = |version| {
        let parameters = vec![0.01; parameter_count];
        let published = publications.prepare(version, parameters);
        publications.publish(published);
    };
    publish(gate.current());
    loop {
        tick.tick().await;
        while queue.try_take(gate.current()).is_some() {
            let version = WeightsVersion(gate.current().0 + 1);
            gate.advance(version);
            publish(version);
        }
    }
}
