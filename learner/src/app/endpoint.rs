//! The learner as actors and probes see it: the gRPC server, and the run state that it tells.

use super::pipeline::{Ends, Handover};
use super::{Keepalive, ServerTask, incoming, serve};
use crate::config::Config;
use crate::handover::metrics;
use crate::handover::run_state::{RunState, Standing};
use crate::service::registry::{Registry, TakeUps};
use crate::service::{PeerLog, Shared};
use impala_common::ids::ActorIndex;
use impala_common::wire::{HEALTH_LEARNER, HEALTH_TRAINING};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The running server.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) shared: Arc<Shared>,
    pub(super) server: ServerTask,
    /// Tells of an actor without which a deterministic run cannot go on.
    pub(super) lockstep_broken: mpsc::Receiver<ActorIndex>,
    health: HealthReporter,
    stop: CancellationToken,
}

impl Endpoint {
    /// Serves a run whose stages are at work.
    pub(super) fn open(
        config: &Config,
        handover: &Handover,
        take_ups: TakeUps,
        ends: Ends,
        standing: Arc<Standing>,
        run: String,
        (listener, keepalive): (TcpListener, Keepalive),
    ) -> anyhow::Result<Self> {
        let Handover { ledger, gate, progress, wanted, evaluations, .. } = handover.clone();
        let Ends { queue, published } = ends;
        // One broken actor ends a deterministic run.
        let (lockstep_sender, lockstep_broken) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            registry: Registry::new(config.agreement(), take_ups, ledger.clone()),
            ledger,
            gate,
            queue,
            published,
            wanted,
            standing,
            run,
            shape: config.agreement().trajectory_shape(),
            rewards: config.environment().rewards().clone(),
            actors_needed: config.actors_needed(),
            evaluations,
            progress,
            log: PeerLog::default(),
            lockstep_broken: lockstep_sender,
        });
        let stop = CancellationToken::new();
        let (health, server) = serve(incoming(listener), shared.clone(), keepalive, stop.clone())?;
        Ok(Self { shared, server, lockstep_broken, health, stop })
    }

    /// Actors with an open trajectory stream.
    pub(super) fn actors(&self) -> usize {
        *self.shared.registry.connected().borrow()
    }

    /// Waits until every actor has left, at most until `deadline`.
    pub(super) async fn farewells(&self, deadline: Instant) {
        let mut connected = self.shared.registry.connected();
        if tokio::time::timeout_at(deadline, connected.wait_for(|count| *count == 0)).await.is_err() {
            tracing::warn!(actors = *connected.borrow(), "actors did not say farewell in time");
        }
    }

    /// From now on nobody is to be sent here; those who are here may finish. First of all that a stop does, so that probes
    /// and load balancers look away while the rest takes its time.
    pub(super) async fn announce_stop(&self, reason: String) {
        self.shared.standing.stop(reason);
        for service in [HEALTH_LEARNER, HEALTH_TRAINING] {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
        }
        metrics::record_state(RunState::Stopping);
    }

    /// Training is over and its results are written; weights are served on.
    pub(super) async fn complete(&self) {
        self.shared.standing.complete();
        self.health.set_service_status(HEALTH_TRAINING, ServingStatus::NotServing).await;
    }

    /// Ends the server. What a stubborn peer still holds open at `deadline` ends with the process.
    pub(super) async fn close(&mut self, deadline: Instant) {
        self.stop.cancel();
        if !self.server.is_finished() {
            let _ = tokio::time::timeout_at(deadline, &mut self.server).await;
        }
    }
}
