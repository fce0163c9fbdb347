//! The end of a run, in the order of the data; and the time after it, in which a completed run's model is served.

use super::running::{Ended, Running, failed};
use super::{GRACE, LAST_CHECKPOINT_MAX, Outcome};
use crate::handover::metrics;
use crate::handover::run_state::{Finish, RunState};
use crate::learn::step::LearnerStep;
use crate::report::doctor::Circumstances;
use crate::report::shares::Shares;
use crate::report::sinks::console;
use crate::report::sinks::curve;
use crate::report::summary::{RunEnd, Summary};
use crate::run::checkpoint::Checkpoint;
use crate::run::checkpoint_slot::CheckpointReport;
use crate::service::server::{HEALTH_LEARNER, HEALTH_TRAINING};
use crate::stages::trainer::Trained;
use anyhow::Context;
use impala_policy::model_file::{self, ModelDescription};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;

/// Time between two reports of a completed run, in which nothing changes but who asks.
const IDLE_REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// What is there to be told when training is over.
struct Results {
    step: Option<LearnerStep>,
    /// Whether the model could be written.
    model: anyhow::Result<()>,
    shares: Shares,
    checkpoints: CheckpointReport,
}

impl Running {
    /// Follows the data: nobody is taken any more, streams end, the queue drains, the step finishes, results are written. A
    /// completed run that keeps serving stays there until `stop`.
    pub(super) async fn shut_down(mut self, ended: Ended, stop: &CancellationToken) -> anyhow::Result<Outcome> {
        let Ended { mut end, trained } = ended;
        let keeps_serving = self.config.keep_serving;
        // Without a frame it is a failure, which another start may well mend.
        let is_completed = end.is_completion() && self.trained_frames() > 0;
        if !(keeps_serving && is_completed) {
            self.announce_stop(end.to_string()).await;
        }
        let circumstances = self.circumstances();
        // Who leaves with the end is not missing; who was not there when the time ran out is.
        let actors = match end {
            RunEnd::TimeBudget => circumstances.actors,
            _ => circumstances.actors.max(circumstances.actors_needed),
        };
        self.at_the_end = Some(Circumstances { actors, ..circumstances });
        self.standing.finish(Finish { reason: end.to_string(), actors_wait: keeps_serving });
        self.shared.queue.close();
        let trained = match self.trainer.ended().await {
            Ok(at_last) => trained.or(at_last.map(|(_, trained)| trained)),
            Err(panic) => {
                end = failed("trainer", &panic);
                None
            }
        };
        let shares = self.shares();
        let deadline = tokio::time::Instant::now() + GRACE;
        let mut connected = self.shared.registry.connected();
        if tokio::time::timeout_at(deadline, connected.wait_for(|count| *count == 0)).await.is_err() {
            tracing::warn!(actors = *connected.borrow(), "actors did not say farewell in time");
        }
        let mut trained = trained;
        // A store may take its time, and whoever stops this process may lose patience: first the model.
        let model = trained.as_mut().map_or(Ok(()), |trained| self.write_model(&mut trained.step));
        let checkpoints = self.write_last_checkpoint(trained.as_mut()).await.unwrap_or_else(|panic| {
            end = failed("checkpointer", &panic);
            CheckpointReport::default()
        });
        let results = Results { step: trained.map(|trained| trained.step), model, shares, checkpoints };
        if keeps_serving && is_completed && end.is_completion() {
            return self.serve_on(end, results, stop).await;
        }
        self.announce_stop(end.to_string()).await;
        if let Err(panic) = self.close(deadline).await {
            end = failed("publisher", &panic);
        }
        self.report();
        self.reporter.clear();
        self.write_results(end, results)
    }

    /// Everything is decided by now, so nothing is in flight in it.
    async fn write_last_checkpoint(&mut self, trained: Option<&mut Trained>) -> Result<CheckpointReport, String> {
        let Some(checkpoints) = self.checkpoints.take() else { return Ok(CheckpointReport::default()) };
        let report = checkpoints.report();
        let progress = self.lock_progress().save();
        let mut last = None;
        if let Some(Trained { step, actor_states }) = trained {
            let account = self.shared.ledger.account();
            let is_new = progress.updates > self.updates_before;
            last = is_new.then(|| Checkpoint::new(&self.config, step, progress, account, std::mem::take(actor_states)));
        }
        let written = async {
            if let Some(last) = last {
                checkpoints.put(last).await;
            }
            drop(checkpoints);
            self.checkpointer.ended().await
        };
        let in_time = tokio::time::timeout(LAST_CHECKPOINT_MAX, written).await;
        let mut report = report.lock().expect("no holder of the report panics");
        match in_time {
            Ok(ended) => drop(ended?),
            Err(_) => report.fail(format!("the last one was given up: no answer within {LAST_CHECKPOINT_MAX:?}")),
        }
        Ok(report.clone())
    }

    /// Writes the model into the run's directory.
    fn write_model(&self, step: &mut LearnerStep) -> anyhow::Result<()> {
        let (frames, updates) = {
            let progress = self.lock_progress();
            (progress.frames, progress.updates)
        };
        let (environment, activation) = (self.config.environment, self.config.activation);
        let description = ModelDescription { environment, activation, frames, updates };
        let path = self.run_dir.file("model.safetensors");
        model_file::save(&path, &self.network, step.parameters(), &description)
            .with_context(|| format!("{}", path.display()))
    }

    fn trained_frames(&self) -> u64 {
        self.lock_progress().frames
    }

    /// From now on nobody is to be sent here; those who are here may finish. First of all that a stop does, so that probes
    /// and load balancers look away while the rest takes its time.
    async fn announce_stop(&self, reason: String) {
        self.standing.stop(reason);
        for service in [HEALTH_LEARNER, HEALTH_TRAINING] {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
        }
        metrics::record_state(RunState::Stopping);
    }

    /// Ends publisher and server.
    async fn close(&mut self, deadline: tokio::time::Instant) -> Result<(), String> {
        self.outlet.close();
        let published = self.publisher.ended().await.map(drop);
        self.stop_server.cancel();
        // What a stubborn peer still holds open ends with the process.
        if !self.server.is_finished() {
            let _ = tokio::time::timeout_at(deadline, &mut self.server).await;
        }
        published
    }

    /// A completed run: its results are written, its final model is served until `stop`.
    async fn serve_on(
        mut self,
        end: RunEnd,
        mut results: Results,
        stop: &CancellationToken,
    ) -> anyhow::Result<Outcome> {
        if let Some(step) = &mut results.step {
            self.publish_final(step).await;
        }
        self.report();
        let has_watcher = self.reporter.end();
        let reason = end.to_string();
        let result = self.write_results(end, results);
        match &result {
            Ok(Outcome { summary, .. }) => {
                let (frames, updates, mean_return) = (summary.frames, summary.updates, summary.mean_return);
                tracing::info!(
                    result = reason,
                    frames,
                    updates,
                    mean_return,
                    account = %summary.account,
                    "training is over; serving the final model until a signal"
                );
                if has_watcher {
                    console::note(&format!("{summary}\nserving the final model until a signal (Ctrl-C)"));
                }
            }
            // What there is can be served all the same; the exit code will tell.
            Err(error) => tracing::error!("serving the final model, but its results are lost: {error:#}"),
        }
        self.standing.complete();
        self.health.set_service_status(HEALTH_TRAINING, ServingStatus::NotServing).await;
        let broken = self.idle(stop).await;
        self.announce_stop(broken.clone().unwrap_or_else(|| "asked to stop, training was over".into())).await;
        let closed = self.close(tokio::time::Instant::now() + GRACE).await;
        match broken.or(closed.err()) {
            Some(reason) => anyhow::bail!("the run was completed, but then {reason}"),
            None => result,
        }
    }

    /// Waits for `stop`; tells what broke before.
    async fn idle(&mut self, stop: &CancellationToken) -> Option<String> {
        let mut tick = tokio::time::interval(IDLE_REPORT_INTERVAL);
        loop {
            tokio::select! {
                Err(panic) = self.publisher.ended(), if self.publisher.is_running() => {
                    return Some(format!("the publisher broke: {panic}"));
                }
                served = &mut self.server => return Some(format!("the gRPC server ended: {served:?}")),
                () = stop.cancelled() => return None,
                _ = tick.tick() => self.report(),
            }
        }
    }

    /// Brings the last version to whoever asks for weights, also where not every version is published.
    async fn publish_final(&self, step: &mut LearnerStep) {
        let last = self.gate.current();
        let mut published = self.shared.published.clone();
        if published.borrow().as_ref().is_some_and(|newest| newest.version == last) {
            return;
        }
        self.outlet.put(last, step.parameters());
        // A publisher that broke is noticed by who watches over it.
        let _ = published.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.version == last)).await;
    }

    fn write_results(&self, end: RunEnd, results: Results) -> anyhow::Result<Outcome> {
        let Results { step, model, shares, checkpoints } = results;
        let progress = self.lock_progress().clone();
        let is_deserted = end == RunEnd::TimeBudget && progress.frames == 0;
        let needed = self.config.actors_needed();
        let end = match is_deserted {
            true => RunEnd::Failed(format!(
                "no batch came within the time budget: it takes {needed} connected actors or more"
            )),
            false => end,
        };
        let circumstances = self.at_the_end.unwrap_or_default();
        let account = self.shared.ledger.account();
        let mut summary = Summary::new(end, &progress, account, shares, &circumstances);
        summary.checkpoints = checkpoints;
        summary.resumed_from = (self.updates_before > 0).then_some(self.updates_before);
        let title = format!("{}, seed {}", self.config.environment, self.config.seed);
        let svg = self.run_dir.file("learning_curve.svg");
        if let Err(error) = curve::draw(&svg, &title, &progress.curve, self.config.solved_return) {
            tracing::warn!(%error, "cannot write the learning curve");
        }
        let Some(mut step) = step else {
            anyhow::bail!("{}; no model is left to save", summary.end);
        };
        for (name, content) in [("summary.txt", format!("{summary}\n")), ("summary.json", summary.to_json())] {
            let path = self.run_dir.file(name);
            std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
        model?;
        Ok(Outcome { summary, network: self.network.clone(), parameters: step.parameters().to_vec() })
    }
}
