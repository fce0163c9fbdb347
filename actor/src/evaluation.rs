//! Evaluations that the learner hands out: fresh episodes of one policy, played beside the rollout on a thread of the blocking pool, one
//! evaluation at a time. They share nothing with the rollout but the processor: neither its environments nor its draws, and no
//! trajectory comes of them.
//!
//! [`app`](crate::app) joins it to the [`link`](crate::link), which brings assignments and takes findings.

use crate::metrics;
use impala_common::evaluation::{Assignment, Findings};
use impala_common::process::panics;
use impala_common::snapshot::Decoder;
use impala_env::EnvironmentKind;
use impala_policy::evaluate::{self, Evaluation};
use impala_policy::network::NetworkSpec;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The link's ends: what is to be played, and what came of it.
#[derive(Debug)]
pub struct Evaluations {
    /// One place: a learner hands out the next one after the answer.
    pub assignments: mpsc::Sender<Assignment>,
    /// One place.
    pub findings: mpsc::Receiver<Findings>,
}

/// Plays what is assigned.
#[derive(Debug)]
pub struct Evaluator {
    /// What is played.
    pub environment: EnvironmentKind,
    /// What plays.
    pub network: NetworkSpec,
}

/// A running evaluator.
#[derive(Debug)]
pub struct EvaluatorTask {
    task: JoinHandle<()>,
}

impl Evaluator {
    /// Starts it, until `stop`; gives the ends for the link. Must be called inside a tokio runtime.
    pub fn spawn(self, stop: CancellationToken) -> (Evaluations, EvaluatorTask) {
        let (assignments, assigned) = mpsc::channel(1);
        let (found, findings) = mpsc::channel(1);
        let task = tokio::spawn(Arc::new(self).run(assigned, found, stop));
        (Evaluations { assignments, findings }, EvaluatorTask { task })
    }

    async fn run(
        self: Arc<Self>,
        mut assigned: mpsc::Receiver<Assignment>,
        found: mpsc::Sender<Findings>,
        stop: CancellationToken,
    ) {
        while let Some(Some(assignment)) = stop.run_until_cancelled(assigned.recv()).await {
            let (id, version, plan) = (assignment.id, assignment.weights.version.0, assignment.plan);
            tracing::info!(version, episodes = plan.episodes, mode = %plan.mode, "evaluating a policy for the learner");
            let (evaluator, stopped) = (Arc::clone(&self), stop.clone());
            let playing = tokio::task::spawn_blocking(move || evaluator.play(&assignment, &stopped));
            let played = playing.await.unwrap_or_else(|error| {
                Err(error.try_into_panic().map_or_else(|error| error.to_string(), |panic| panics::message(&*panic)))
            });
            if stop.is_cancelled() {
                return;
            }
            metrics::record_evaluation(played.is_ok());
            if let Err(reason) = &played {
                tracing::warn!(version, reason, "a policy could not be evaluated");
            }
            if found.send(Findings { id, result: played }).await.is_err() {
                return;
            }
        }
    }

    fn play(&self, assignment: &Assignment, stop: &CancellationToken) -> Result<Evaluation, String> {
        let decoded = Decoder::new(&self.network).decode(&assignment.weights);
        let parameters = decoded.map_err(|error| error.to_string())?;
        let is_stopped = || stop.is_cancelled();
        evaluate::play(&self.environment, &self.network, &parameters, assignment.plan, &is_stopped)
            .map_err(|error| error.to_string())
    }
}

impl EvaluatorTask {
    /// Waits for the end: after `stop` until its environments are made, or a step of theirs is done.
    pub async fn join(self) {
        // A panic within an evaluation is a finding.
        let _ = self.task.await;
    }
}
