//! The end of a run, in the order of the data.

use super::completed::Completed;
use super::running::{Ended, Running, failed};
use super::{Finished, GRACE, Outcome};
use crate::handover::progress::VersionedPolicy;
use crate::handover::run_state::Finish;
use crate::learn::step::LearnerStep;
use crate::report::shares::Shares;
use crate::report::sinks::curve::{Chart, Series};
use crate::report::sinks::mlflow::Remainder;
use crate::report::summary::RunEnd;
use crate::run::checkpoint_slot::CheckpointReport;
use crate::run::run_dir::MODEL_FILE;
use crate::stages::trainer::Trained;
use anyhow::Context;
use impala_common::ids::WeightsVersion;
use impala_policy::model_file::{self, ModelDescription};
use impala_store::write_whole;
use std::time::Duration;
use tokio::time::Instant;

/// What the last pictures of a run have: one of CartPole takes some tenths of a second, one of an environment of one's own as long as that
/// takes for a thousand steps, and nobody waits for the end.
const PICTURES_MAX: Duration = Duration::from_secs(60);
/// The same where somebody asked the run to stop: of the 30 s that orchestrators give, the last checkpoint has 20.
const PICTURES_MAX_INTERRUPTED: Duration = Duration::from_secs(2);

/// What a drained pipeline leaves.
struct Results {
    end: RunEnd,
    /// What the run leaves, if the trainer left anything.
    policy: Option<VersionedPolicy>,
    /// Whether the model could be written.
    model: anyhow::Result<()>,
    shares: Shares,
    checkpoints: CheckpointReport,
    /// When the patience with peers ends.
    deadline: Instant,
}

impl Running {
    /// Follows the data: nobody is taken any more, streams end, the queue drains, the step finishes, results are written. A
    /// completed run that is to be served on keeps its server and its publisher.
    pub(super) async fn shut_down(mut self, ended: Ended) -> Finished {
        let keeps_serving = self.config.serving.keep_serving;
        // Without a frame it is a failure, which another start may well mend.
        let is_completed = ended.end.is_completion() && self.handover.lock_progress().frames > 0;
        if !(keeps_serving && is_completed) {
            self.endpoint.announce_stop(ended.end.to_string()).await;
        }
        self.reporting.note_end(&ended.end, &self.endpoint);
        let finish = Finish { reason: ended.end.to_string(), actors_wait: keeps_serving };
        self.endpoint.shared.standing.finish(finish);
        let mut results = self.drain(ended).await;
        if keeps_serving && is_completed && results.end.is_completion() {
            return self.serve_on(results).await;
        }
        self.endpoint.announce_stop(results.end.to_string()).await;
        if let Err(panic) = self.close(results.deadline).await {
            results.end = failed("show or the publisher", &panic);
        }
        self.reporting.report(&self.endpoint);
        self.reporting.clear();
        let (outcome, model, mlflow) = self.write_results(results);
        Finished { outcome, model, mlflow, completed: None }
    }

    /// Lets everything that is on its way come to its end: batches, actors, model, the last checkpoint.
    async fn drain(&mut self, Ended { mut end, mut trained }: Ended) -> Results {
        self.endpoint.shared.queue.close();
        self.handover.verification.stop();
        self.handover.evaluated.stop();
        self.handover.drawn.stop();
        match self.pipeline.trainer.ended().await {
            Ok(at_last) => trained = trained.or(at_last.map(|(_, trained)| trained)),
            Err(panic) => (end, trained) = (failed("trainer", &panic), None),
        }
        if let Err(panic) = self.pipeline.evaluator.ended().await {
            end = failed("evaluator", &panic);
        }
        if let Err(panic) = self.pipeline.side_evaluator.ended().await {
            end = failed("side evaluator", &panic);
        }
        let shares = self.reporting.shares();
        let deadline = Instant::now() + GRACE;
        self.endpoint.farewells(deadline).await;
        // A store may take its time, and whoever stops this process may lose patience: first the model.
        let policy = trained.as_mut().map(|Trained { step, .. }| self.final_policy(step));
        let model = policy.as_ref().map_or(Ok(()), |policy| self.write_model(policy));
        let written = self.pipeline.write_last_checkpoint(&self.handover, trained.as_mut()).await;
        let checkpoints = written.unwrap_or_else(|panic| {
            end = failed("checkpointer", &panic);
            CheckpointReport::default()
        });
        let drawing = Instant::now();
        if let Some(panic) = self.draw_last(policy.as_ref(), &end).await {
            end = failed("illustrator", &panic);
        }
        // No peer has a part in that.
        let deadline = deadline + drawing.elapsed();
        Results { end, policy, model, shares, checkpoints, deadline }
    }

    /// The policy that the run leaves: the verified one, however far training went after it; of an unsolved run, the last one.
    fn final_policy(&self, step: &mut LearnerStep) -> VersionedPolicy {
        let progress = self.handover.lock_progress();
        if let Some(verified) = &progress.verified {
            return verified.clone();
        }
        let (version, frames) = (WeightsVersion(progress.updates), progress.frames);
        drop(progress);
        VersionedPolicy { version, frames, parameters: step.parameters().into() }
    }

    /// Keeps an episode of the policy that the run leaves, where others were kept, after the one that is being drawn. Whoever takes
    /// longer is left to the end of the process.
    async fn draw_last(&mut self, policy: Option<&VersionedPolicy>, end: &RunEnd) -> Option<String> {
        let most = if *end == RunEnd::Interrupted { PICTURES_MAX_INTERRUPTED } else { PICTURES_MAX };
        let policy = policy.cloned()?;
        let illustrator = &mut self.pipeline.illustrator;
        let drawn = async {
            let Some(Some(sketch)) = illustrator.ended().await? else { return Ok(()) };
            let last = tokio::task::spawn_blocking(move || sketch.keep_last(&policy));
            last.await.map_err(|error| error.to_string())
        };
        match tokio::time::timeout(most, drawn).await {
            Ok(drawn) => drawn.err(),
            Err(_) => {
                tracing::warn!("the last episode is not drawn: that takes longer than {most:?}");
                None
            }
        }
    }

    /// Everything but the server, the publisher and the metrics comes to its end.
    async fn serve_on(mut self, results: Results) -> Finished {
        if let Some(policy) = &results.policy {
            self.handover.shown.settle(policy.clone());
            self.publish_final(policy).await;
        }
        self.reporting.report(&self.endpoint);
        let had_display = self.reporting.end();
        let reason = results.end.to_string();
        let (outcome, model, mlflow) = self.write_results(results);
        Finished { outcome, model, mlflow, completed: Some(Completed::new(self, reason, had_display)) }
    }

    /// Brings the final version to whoever asks for weights, also where not every version is published, or later ones were.
    async fn publish_final(&self, policy: &VersionedPolicy) {
        let last = policy.version;
        let mut published = self.endpoint.shared.published.clone();
        if published.borrow().as_ref().is_some_and(|newest| newest.version == last) {
            return;
        }
        self.pipeline.outlet.put(last, &policy.parameters);
        // A publisher that broke is noticed by who watches over it.
        let _ = published.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.version == last)).await;
    }

    /// Ends show, publisher and server.
    pub(super) async fn close(&mut self, deadline: Instant) -> Result<(), String> {
        self.handover.shown.stop();
        self.pipeline.show.ended().await?;
        self.pipeline.outlet.close();
        let published = self.pipeline.publisher.ended().await.map(drop);
        self.endpoint.close(deadline).await;
        published
    }

    /// Writes the model into the run's directory.
    fn write_model(&self, policy: &VersionedPolicy) -> anyhow::Result<()> {
        let VersionedPolicy { version: WeightsVersion(updates), frames, ref parameters } = *policy;
        let (environment, activation) = (self.config.task.environment.clone(), self.config.architecture.activation);
        let description = ModelDescription { environment, activation, frames, updates };
        let path = self.run_dir.file(MODEL_FILE);
        let bytes = model_file::encode(&self.config.network(), parameters, &description)?;
        write_whole(&path, bytes).with_context(|| format!("cannot write the model {}", path.display()))
    }

    /// Draws the curve and sums the run up; gives what became of the model too, and what is left to send to an MLflow server.
    fn write_results(&mut self, results: Results) -> (anyhow::Result<Outcome>, anyhow::Result<()>, Option<Remainder>) {
        let Results { end, policy, model, shares, checkpoints, .. } = results;
        let progress = self.handover.lock_progress().clone();
        let is_deserted = end == RunEnd::TimeBudget && progress.frames == 0;
        let needed = self.config.actors_needed();
        let end = match is_deserted {
            true => RunEnd::Failed(format!(
                "no batch came within the time budget: it takes {needed} connected actors or more"
            )),
            false => end,
        };
        let title = format!("{}, seed {}", self.config.task.environment, self.config.task.seed);
        let svg = self.run_dir.file("learning_curve.svg");
        let mut series = vec![Series::over_frames("training, last 100 episodes", &progress.curve.points, false)];
        let evaluated = &progress.evaluations.curve.points;
        if !evaluated.is_empty() {
            series.push(Series::over_frames("evaluated beside it", evaluated, true));
        }
        let goal = Some(self.config.solved_return());
        let drawn = Chart { title: &title, over: "environment frames trained", series: &series, goal }.svg();
        if let Err(error) = drawn.and_then(|drawn| Ok(write_whole(&svg, drawn)?)) {
            tracing::warn!(%error, "cannot write the learning curve");
        }
        let summary = self.reporting.summary(end, shares, checkpoints);
        let mlflow = self.reporting.conclude(&summary);
        let Some(policy) = policy else {
            return (Err(anyhow::anyhow!("{}; no model is left to save", summary.end)), model, mlflow);
        };
        let outcome = Outcome { summary, network: self.config.network(), parameters: policy.parameters.to_vec() };
        (Ok(outcome), model, mlflow)
    }
}
