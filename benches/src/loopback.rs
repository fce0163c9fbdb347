//! The wire without training: the learner's real service and the actor's real link on a real socket. Trajectories
//! are admitted and receive their receipts at once; weights go through the real publisher.

use anyhow::Context;
use impala_actor::backoff::Backoff;
use impala_actor::evaluation::Evaluations;
use impala_actor::link::{self, Identity, Streams};
use impala_actor::standing::{Standing, StandingSlot};
use impala_actor::weights::Weights;
use impala_actor::window::Window;
use impala_common::channel::Dialler;
use impala_common::ids::{Incarnation, Sequence, WeightsVersion};
use impala_common::trajectory::Trajectory;
use impala_learner::app::{self, Keepalive};
use impala_learner::config::Config;
use impala_learner::handover::admission::PolicyLagGate;
use impala_learner::handover::batch_queue::BatchQueue;
use impala_learner::handover::batch_size::BatchSize;
use impala_learner::handover::batcher::Batcher;
use impala_learner::handover::evaluations::EvaluationDesk;
use impala_learner::handover::ledger::Ledger;
use impala_learner::handover::progress::Progress;
use impala_learner::handover::weights::{Publications, WantedEncodings, WeightsSlot};
use impala_learner::service::registry::{Registry, TakeUps};
use impala_learner::service::{PeerLog, Shared};
use impala_learner::stages::publisher::Publisher;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Trajectories between rollout and link, as in the actor.
const TRAJECTORY_QUEUE_LEN: usize = 2;

/// A learner that only admits and publishes.
pub struct LoopbackLearner {
    address: SocketAddr,
    slot: WeightsSlot,
    queue: Arc<BatchQueue>,
    stop: CancellationToken,
    runtime: Option<Runtime>,
    /// Sink and publisher.
    threads: Vec<JoinHandle<()>>,
}

impl LoopbackLearner {
    /// Serves on a free loopback port, on one runtime thread as the program does.
    ///
    /// # Errors
    /// No port or no thread is to be had.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let ledger = Arc::new(Ledger::default());
        let gate = PolicyLagGate::new(config.batching.policy_lag_max);
        // Each is settled alone.
        let places = 2 * config.fixed_trajectories().unwrap_or(1) + 16;
        let queue = Arc::new(BatchQueue::new(Batcher::new(BatchSize::Fixed(1), gate.clone(), None, 0), places));
        let (published_sender, published) = watch::channel(None);
        let (slot, wanted) = (WeightsSlot::default(), Arc::new(WantedEncodings::default()));
        let publications = Publications::new(published_sender, 0);
        let publisher = Publisher { slot: slot.clone(), publications, wanted: wanted.clone() };
        let shared = Arc::new(Shared {
            registry: Registry::new(config.agreement(), TakeUps::default(), ledger.clone()),
            shape: config.agreement().trajectory_shape(),
            ledger,
            gate,
            queue: queue.clone(),
            published,
            wanted,
            standing: Arc::default(),
            run: String::new(),
            rewards: config.environment().rewards().clone(),
            evaluations: EvaluationDesk::of(config.environment()),
            actors_needed: 1,
            progress: Arc::new(Mutex::new(Progress::new(config.solved_return()))),
            log: PeerLog::default(),
            lockstep_broken: mpsc::channel(1).0,
        });
        let stop = CancellationToken::new();
        let address = runtime.block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no loopback port is to be had")?;
            let address = listener.local_addr()?;
            app::serve(app::incoming(listener), shared, Keepalive::default(), stop.clone())?;
            anyhow::Ok(address)
        })?;
        let admitted = queue.clone();
        let threads = vec![thread("sink", move || settle(&admitted))?, thread("publisher", || publisher.run())?];
        Ok(Self { address, slot, queue, stop, runtime: Some(runtime), threads })
    }

    /// Where the publisher takes new weights from.
    pub fn slot(&self) -> &WeightsSlot {
        &self.slot
    }

    /// An actor without environments.
    ///
    /// # Errors
    /// The learner does not accept it.
    pub fn join(&self, name: u32) -> anyhow::Result<LoopbackActor> {
        LoopbackActor::join(self.address, name)
    }
}

impl Drop for LoopbackLearner {
    fn drop(&mut self) {
        self.slot.close();
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
        self.queue.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The trainer's place: takes what is admitted, by which it is settled.
fn settle(admitted: &BatchQueue) {
    while admitted.take(WeightsVersion(0)).is_some() {}
}

/// The link of one actor on a thread of its own, as in the program.
pub struct LoopbackActor {
    trajectories: Option<mpsc::Sender<Trajectory>>,
    window: Arc<Window>,
    in_flight_max: usize,
    weights: watch::Receiver<Option<Arc<Weights>>>,
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
}

impl LoopbackActor {
    fn join(learner: SocketAddr, name: u32) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let dialler = Dialler::new(learner.to_string().parse().map_err(anyhow::Error::msg)?);
        let standing = StandingSlot::new(Standing::default());
        let identity = Identity {
            name: format!("loopback-{name}"),
            incarnation: Incarnation(u64::from(name)),
            index: None,
            environments: impala_env::builtin(),
            // Weights are measured without trajectories.
            weights_in_receipts: false,
            evaluates: false,
            waits: false,
        };
        let (trajectory_sender, trajectories) = mpsc::channel(TRAJECTORY_QUEUE_LEN);
        let (weights, weights_receiver) = watch::channel(None);
        let (joined_sender, joined) = oneshot::channel();
        let body = move || {
            runtime.block_on(async {
                let mut backoff = Backoff::new(u64::from(name));
                match link::register(&dialler, &identity, Sequence(0), &mut backoff, &standing).await {
                    Ok(connection) => {
                        let in_flight_max = connection.agreement.in_flight_max;
                        let window = Arc::new(Window::new(in_flight_max));
                        let _ = joined_sender.send(Ok((window.clone(), in_flight_max)));
                        let evaluations = Evaluations { assignments: mpsc::channel(1).0, findings: mpsc::channel(1).1 };
                        let stop = CancellationToken::new();
                        let streams = Streams { trajectories, window, weights, evaluations, stop };
                        link::serve(connection, Sequence(0), streams).await;
                    }
                    Err(error) => {
                        let _ = joined_sender.send(Err(error));
                    }
                }
            });
        };
        let thread = thread("link", body)?;
        let (window, in_flight_max) = joined.blocking_recv().context("the link ended before it registered")??;
        Ok(Self {
            trajectories: Some(trajectory_sender),
            window,
            in_flight_max,
            weights: weights_receiver,
            runtime: handle,
            thread: Some(thread),
        })
    }

    /// Pushes trajectories, numbered as the learner expects them, and waits for all receipts. It waits without end where the
    /// learner is gone.
    ///
    /// # Panics
    /// If the link has ended.
    pub fn push(&self, trajectories: Vec<Trajectory>) {
        let sender = self.trajectories.as_ref().expect("present until the drop");
        for trajectory in trajectories {
            self.runtime.block_on(self.window.take());
            sender.blocking_send(trajectory).expect("the link outlives what is pushed");
        }
        for _ in 0..self.in_flight_max {
            self.runtime.block_on(self.window.take());
        }
        self.window.open(self.in_flight_max);
    }

    /// Waits until the actor sees weights of this version.
    ///
    /// # Panics
    /// If the link has ended.
    pub fn wait_for_weights(&mut self, version: WeightsVersion) {
        let is_there = |weights: &Option<Arc<Weights>>| weights.as_ref().is_some_and(|w| w.version == version);
        self.runtime.block_on(self.weights.wait_for(is_there)).expect("the link outlives the wait");
    }
}

impl Drop for LoopbackActor {
    fn drop(&mut self) {
        // Without a sender the link says farewell and ends.
        self.trajectories = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::{batch_config, numbered, trajectory};

    #[test]
    fn trajectories_get_their_receipts_and_weights_arrive() {
        let config = batch_config(4, &["--hidden", "8", "--in-flight-max", "3"]);
        let learner = LoopbackLearner::start(&config).unwrap();
        let mut actor = learner.join(0).unwrap();
        let trajectory = trajectory(&config);
        actor.push(numbered(&trajectory, 0, 10));
        actor.push(numbered(&trajectory, 10, 1));
        let parameters = vec![0.5; config.network().parameter_count()];
        learner.slot().put(WeightsVersion(7), &parameters);
        actor.wait_for_weights(WeightsVersion(7));
        assert_eq!(actor.weights.borrow().as_ref().unwrap().parameters, parameters);
    }
}
