//! A run at work: started, and watched until something ends it.

use super::Learner;
use super::endpoint::Endpoint;
use super::initial_state::Origin;
use super::pipeline::{Handover, Pipeline, Training};
use super::reporting::Reporting;
use crate::config::Config;
use crate::config::tracking_server::TrackingServer;
use crate::report::sinks::mlflow::MlflowSink;
use crate::report::sinks::web::{self, WebSink};
use crate::report::summary::RunEnd;
use crate::run::checkpoint::Checkpoint;
use crate::run::checkpoint_store::CheckpointStore;
use crate::run::recorded::RecordedSettings;
use crate::run::run_dir::{RENDERS_DIRECTORY, RunDir};
use crate::stages::checkpointer;
use crate::stages::trainer::{Trained, TrainingEnd};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Least time between two reports.
const REPORT_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// A run at work.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) config: Config,
    pub(super) run_dir: RunDir,
    pub(super) handover: Handover,
    pub(super) pipeline: Pipeline,
    pub(super) endpoint: Endpoint,
    pub(super) reporting: Reporting,
    checkpoints: CheckpointStore,
}

/// Why watching ended, with the trainer's result if it ended by itself.
pub(super) struct Ended {
    pub(super) end: RunEnd,
    pub(super) trained: Option<Trained>,
}

impl Running {
    /// Starts every stage, then the server.
    pub(super) async fn start(
        learner: Learner,
        run_dir: RunDir,
        store: CheckpointStore,
        shows_progress: bool,
    ) -> anyhow::Result<Self> {
        let Learner {
            config, checkpoint, parameters, listener, device, standing, keepalive, writes_first, feed, ..
        } = learner;
        let kept_max = config.checkpoints.checkpoints_kept;
        let (checkpoints, mut checkpointer) = checkpointer::channel(store.clone(), kept_max, checkpoint.as_ref());
        let resumes = checkpoint.is_some();
        let Origin { mut step, progress, account, mut take_ups, mut episodes } =
            Origin::new(&config, &device, checkpoint, parameters);
        if config.lockstep().is_none() {
            // They belong to places of a run that goes on in another order.
            take_ups.states.clear();
            episodes = None;
        }
        if writes_first {
            let (settings, states) = (RecordedSettings::of(&config), take_ups.states.clone());
            let first = Checkpoint::new(settings, &mut step, progress.save_with_policy(), account, states);
            checkpointer.write_first(Checkpoint { episodes: episodes.clone(), ..first }).await;
        }
        let handover = Handover::new(&config, progress, account);
        let reporting = Reporting::new(&config, &handover, &run_dir, resumes, shows_progress);
        let web = feed.clone().map(|feed| {
            feed.introduce(&web::about(&config, &run_dir, &device));
            let (standing, actors_needed) = (standing.clone(), config.actors_needed());
            WebSink { feed, standing, actors_needed, checkpoints: checkpoints.report() }
        });
        let mlflow = config.output.mlflow.as_ref().and_then(TrackingServer::url).and_then(|server| {
            MlflowSink::start(server, &config, &run_dir, &device, resumes)
                .inspect_err(|error| tracing::warn!(%error, "cannot ask an MLflow server; the training goes on"))
                .ok()
        });
        let reporting = reporting.with_web(web).with_mlflow(mlflow);
        let training = Training { step, actor_states: take_ups.states.clone(), episodes, checkpoints };
        let renders = run_dir.file(RENDERS_DIRECTORY);
        let (pipeline, ends) = Pipeline::start(&config, &handover, training, checkpointer, feed, renders)?;
        let endpoint = Endpoint::open(
            &config,
            &handover,
            take_ups,
            ends,
            standing,
            run_dir.name().to_owned(),
            (listener, keepalive),
        )?;
        Ok(Self { config, run_dir, handover, pipeline, endpoint, reporting, checkpoints: store })
    }

    /// Reports until something ends the run.
    pub(super) async fn watch_over(&mut self, stop: &CancellationToken) -> Ended {
        let Self { pipeline, endpoint, reporting, handover, config, checkpoints, .. } = self;
        let report_interval = config.output.report_interval.duration();
        let tick = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(tick);
        let taken = handover.lock_progress().before();
        let deadline = tokio::time::sleep(config.goal.time_max.duration().saturating_sub(taken));
        tokio::pin!(deadline);
        let end = loop {
            let Pipeline { trainer, publisher, checkpointer, evaluator, side_evaluator, show, illustrator, .. } =
                pipeline;
            tokio::select! {
                trained = trainer.ended() => return trainer_ended(trained),
                Err(panic) = publisher.ended(), if publisher.is_running() => break failed("publisher", &panic),
                Err(panic) = checkpointer.ended(), if checkpointer.is_running() => break failed("checkpointer", &panic),
                Err(panic) = evaluator.ended(), if evaluator.is_running() => break failed("evaluator", &panic),
                Err(panic) = side_evaluator.ended(), if side_evaluator.is_running() => {
                    break failed("side evaluator", &panic);
                }
                Err(panic) = show.ended(), if show.is_running() => break failed("show", &panic),
                Err(panic) = illustrator.ended(), if illustrator.is_running() => break failed("illustrator", &panic),
                // A trainer without batches hears of no verdict.
                () = handover.verification.decided() => {
                    if handover.lock_progress().is_solved_to_the_end(config.goal.frames_after_solved) {
                        break RunEnd::Solved;
                    }
                }
                served = &mut endpoint.server => break RunEnd::Failed(format!("the gRPC server ended: {served:?}")),
                Some(index) = endpoint.lockstep_broken.recv() => {
                    break RunEnd::Failed(format!("actor {index} left a deterministic run before its end; start the run again"));
                }
                lost = checkpoints.lost() => break RunEnd::Failed(lost.to_string()),
                () = stop.cancelled() => break RunEnd::Interrupted,
                () = &mut deadline => {
                    // What comes too late is not waited for.
                    handover.verification.stop();
                    break out_of_time(handover);
                }
                () = &mut tick => {
                    reporting.report(endpoint);
                    let next = until_next_report(handover.lock_progress().elapsed(), report_interval);
                    tick.as_mut().reset(tokio::time::Instant::now() + next);
                }
            }
        };
        handover.verification.stop();
        Ended { end, trained: None }
    }
}

/// Time until the next report: short at the beginning of a run, when much changes and which may be all of it.
fn until_next_report(elapsed: Duration, interval: Duration) -> Duration {
    (elapsed / 16).max(REPORT_INTERVAL_MIN).min(interval)
}

fn out_of_time(handover: &Handover) -> RunEnd {
    match handover.lock_progress().solved {
        Some(_) => RunEnd::SolvedTimeBudget,
        None => RunEnd::TimeBudget,
    }
}

fn trainer_ended(trained: Result<Option<(TrainingEnd, Trained)>, String>) -> Ended {
    let (end, trained) = match trained {
        Ok(Some((TrainingEnd::Solved, step))) => (RunEnd::Solved, Some(step)),
        Ok(Some((TrainingEnd::FramesBudget, step))) => (RunEnd::FramesBudget, Some(step)),
        Ok(Some((TrainingEnd::Diverged(error), step))) => (RunEnd::Failed(error.to_string()), Some(step)),
        // Nobody has closed the queue of batches yet.
        Ok(Some((TrainingEnd::Stopped, step))) => (failed("trainer", "its batches ended too early"), Some(step)),
        Ok(None) => (failed("trainer", "its end was told twice"), None),
        Err(panic) => (failed("trainer", &panic), None),
    };
    Ended { end, trained }
}

pub(super) fn failed(stage: &str, reason: &str) -> RunEnd {
    RunEnd::Failed(format!("the {stage} broke: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_more_often_at_the_beginning_and_never_more_rarely_than_was_asked() {
        let next = |elapsed, interval| {
            let [elapsed, interval] = [elapsed, interval].map(Duration::from_millis);
            until_next_report(elapsed, interval).as_millis()
        };
        assert_eq!([0, 160, 1600, 3200, 60_000].map(|elapsed| next(elapsed, 200)), [10, 10, 100, 200, 200]);
        assert_eq!(next(60_000, 10), 10);
    }
}
