//! The stages and what passes between them: every channel of the data's way is made here.

use super::LAST_CHECKPOINT_MAX;
use crate::config::Config;
use crate::handover::admission::PolicyLagGate;
use crate::handover::batch_queue::BatchQueue;
use crate::handover::batch_size::{BatchSize, FollowPlan};
use crate::handover::batcher::Batcher;
use crate::handover::episodes::SavedEpisodes;
use crate::handover::evaluations::{Arena, EvaluationDesk};
use crate::handover::inspection::Inspection;
use crate::handover::ledger::{Account, Ledger};
use crate::handover::policy_request::PolicyRequest;
use crate::handover::progress::Progress;
use crate::handover::verification::Verification;
use crate::handover::weights::{
    Publications, PublishedWatch, SMALL_NETWORK_MAX, WantedEncodings, WeightsOutlet, WeightsSlot,
};
use crate::learn::step::LearnerStep;
use crate::run::checkpoint::Checkpoint;
use crate::run::checkpoint_slot::{CheckpointReport, CheckpointSlot};
use crate::run::recorded::RecordedSettings;
use crate::stages::checkpointer::CheckpointWriter;
use crate::stages::evaluator::Evaluator;
use crate::stages::illustrator::{Illustrator, Sketch};
use crate::stages::publisher::Publisher;
use crate::stages::show::Show;
use crate::stages::side_evaluator::SideEvaluator;
use crate::stages::stage::{self, Stage};
use crate::stages::trainer::{Cadence, Inspector, Trained, Trainer, TrainingEnd};
use bytes::Bytes;
use impala_common::ids::WeightsVersion;
use impala_web::Feed;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// What several stages and the service share.
#[derive(Clone, Debug)]
pub(super) struct Handover {
    pub(super) ledger: Arc<Ledger>,
    pub(super) gate: PolicyLagGate,
    pub(super) progress: Arc<Mutex<Progress>>,
    pub(super) wanted: Arc<WantedEncodings>,
    /// Between evaluators and the actors that play for them.
    pub(super) evaluations: EvaluationDesk,
    /// Between trainer and evaluator.
    pub(super) verification: Verification,
    /// Between trainer and side evaluator.
    pub(super) evaluated: PolicyRequest,
    /// Between trainer and show.
    pub(super) shown: PolicyRequest,
    /// Between trainer and illustrator.
    pub(super) drawn: PolicyRequest,
    /// Between trainer and reports.
    pub(super) inspection: Inspection,
    /// Updates done by earlier processes of the run.
    pub(super) updates_before: u64,
    /// Tries of theirs to verify a policy.
    pub(super) tries_before: u32,
}

impl Handover {
    /// Of a run that stands at this progress.
    pub(super) fn new(config: &Config, progress: Progress, account: Account) -> Self {
        let gate = PolicyLagGate::new(config.batching.policy_lag_max);
        let (updates_before, tries_before) = (progress.updates, progress.tries.count);
        gate.advance(WeightsVersion(updates_before));
        let progress = Arc::new(Mutex::new(progress));
        Self {
            ledger: Arc::new(Ledger::resumed(account)),
            gate,
            evaluations: EvaluationDesk::of(config.environment()),
            verification: Verification::new(progress.clone(), config.goal.verify_every),
            evaluated: PolicyRequest::default(),
            shown: PolicyRequest::default(),
            drawn: PolicyRequest::default(),
            progress,
            wanted: Arc::default(),
            inspection: Inspection::default(),
            updates_before,
            tries_before,
        }
    }

    /// Where policies of the run are evaluated.
    pub(super) fn arena(&self, config: &Config) -> Arena {
        let (environment, network) = (config.environment().clone(), config.network());
        Arena { environment, network, desk: self.evaluations.clone() }
    }

    pub(super) fn lock_progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no holder of the progress panics")
    }
}

/// The trainer's own part of a run's beginning.
pub(super) struct Training {
    pub(super) step: LearnerStep,
    pub(super) actor_states: BTreeMap<u32, Bytes>,
    pub(super) episodes: Option<SavedEpisodes>,
    pub(super) checkpoints: CheckpointSlot,
}

/// The ends of the pipeline that the service holds.
pub(super) struct Ends {
    pub(super) queue: Arc<BatchQueue>,
    pub(super) published: PublishedWatch,
}

/// The stages at work.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) trainer: Stage<(TrainingEnd, Trained)>,
    /// Publishes the weights of a large network; idle for a small one.
    pub(super) publisher: Stage<()>,
    pub(super) checkpointer: Stage<()>,
    pub(super) evaluator: Stage<()>,
    /// Idle where nothing is evaluated beside the training.
    pub(super) side_evaluator: Stage<()>,
    /// Idle where nobody may look.
    pub(super) show: Stage<()>,
    /// Idle where no pictures are kept.
    pub(super) illustrator: Stage<Option<Sketch>>,
    pub(super) outlet: WeightsOutlet,
    settings: RecordedSettings,
    /// Dropped when the last one is handed over.
    checkpoints: Option<CheckpointSlot>,
}

impl Pipeline {
    /// Makes the channels and starts every stage.
    pub(super) fn start(
        config: &Config,
        handover: &Handover,
        training: Training,
        checkpointer: CheckpointWriter,
        feed: Option<Feed>,
        renders: PathBuf,
    ) -> anyhow::Result<(Self, Ends)> {
        let Handover { ledger, gate, progress, wanted, verification, evaluated, shown, drawn, inspection, .. } =
            handover.clone();
        let updates_before = handover.updates_before;
        let Training { step, actor_states, episodes, checkpoints } = training;
        let settings = RecordedSettings::of(config);
        let queue = Arc::new(batch_queue(config, gate.clone(), updates_before, episodes.as_ref()));
        // The newest version only.
        let (published_sender, published) = watch::channel(None);
        let publications = Publications::new(published_sender, config.network().statistics_len());
        let (outlet, publisher) = publisher(config.network().parameter_count(), publications, wanted)?;

        let arena = handover.arena(config);
        let evaluator = Evaluator {
            verification: verification.clone(),
            arena: arena.clone(),
            seed: config.task.seed,
            mode: config.goal.evaluation,
            goal: config.solved_return(),
        };
        let side_evaluator = side_evaluator(config, arena, &evaluated, &progress)?;
        let show = feed.map_or_else(|| Ok(Stage::none()), |feed| show(config, &shown, feed))?;
        let illustrator = illustrator(config, &drawn, &progress, renders)?;
        let trainer = Trainer {
            goal: config.goal.clone(),
            learning_rate: config.learning_rate(),
            publishing: config.publishing(),
            cadence: Cadence::new(&config.checkpoints),
            settings: settings.clone(),
            step,
            queue: queue.clone(),
            outlet: outlet.clone(),
            gate,
            progress,
            ledger,
            actor_states,
            checkpoints: checkpoints.clone(),
            verification,
            requests: vec![evaluated, shown, drawn],
            waits_for_verdicts: config.task.deterministic,
            candidate: None,
            inspector: config
                .output
                .tensorboard
                .then(|| Inspector::new(inspection, config.network().trained().layout())),
        };
        let runtime = tokio::runtime::Handle::current();
        let pipeline = Self {
            checkpointer: stage::spawn("checkpointer", move || checkpointer.run(&runtime))?,
            evaluator: stage::spawn("evaluator", move || evaluator.run())?,
            side_evaluator,
            show,
            illustrator,
            trainer: stage::spawn("trainer", move || trainer.run())?,
            publisher,
            outlet,
            settings,
            checkpoints: Some(checkpoints),
        };
        Ok((pipeline, Ends { queue, published }))
    }

    /// Hands the last checkpoint over, if there was an update or a try in this process, and waits for the writer's end, but not for
    /// ever. Everything is decided by now, so nothing is in flight in it.
    pub(super) async fn write_last_checkpoint(
        &mut self,
        handover: &Handover,
        trained: Option<&mut Trained>,
    ) -> Result<CheckpointReport, String> {
        let Some(checkpoints) = self.checkpoints.take() else { return Ok(CheckpointReport::default()) };
        let report = checkpoints.report();
        let progress = handover.lock_progress().save_with_policy();
        let mut last = None;
        if let Some(Trained { step, actor_states, episodes }) = trained {
            let (account, actor_states) = (handover.ledger.account(), std::mem::take(actor_states));
            let is_new = progress.0.updates > handover.updates_before || progress.0.tries.count > handover.tries_before;
            last = is_new.then(|| {
                let run = Checkpoint::new(self.settings.clone(), step, progress, account, actor_states);
                Checkpoint { episodes: episodes.take(), ..run }
            });
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
            Err(_) => {
                report.fail(format!("the last one was given up: no answer within {LAST_CHECKPOINT_MAX:?}"));
            }
        }
        Ok(report.clone())
    }
}

/// Where trajectories wait for the trainer. The actors' windows bound the lag end to end, so its places only decouple the two
/// sides; a trajectory takes about 10 + 4 O bytes a frame.
fn batch_queue(
    config: &Config,
    gate: PolicyLagGate,
    updates_before: u64,
    episodes: Option<&SavedEpisodes>,
) -> BatchQueue {
    let size = batch_size(config);
    let most = match config.fixed_trajectories() {
        Some(trajectories) => trajectories,
        None => *config.batching.trajectories_within(&config.rollout).end(),
    };
    let lockstep = config.lockstep();
    // A deterministic run holds back what comes early: that must never keep out the one that is next.
    let early = lockstep.map_or(0, |lockstep| lockstep.actors as usize * config.rollout.in_flight_max);
    let batcher = Batcher::new(size, gate, lockstep, updates_before).with_episodes(episodes);
    BatchQueue::new(batcher, 3 * most + 16 + early)
}

/// How many trajectories an update takes.
fn batch_size(config: &Config) -> BatchSize {
    match config.fixed_trajectories() {
        Some(trajectories) => BatchSize::Fixed(trajectories),
        None => BatchSize::following(follow_plan(config)),
    }
}

/// How a batch follows the actors.
pub fn follow_plan(config: &Config) -> FollowPlan {
    let within = config.batching.trajectories_within(&config.rollout);
    FollowPlan {
        lag_target: config.batching.lag_target(),
        in_flight_max: config.rollout.in_flight_max,
        least: *within.start(),
        most: *within.end(),
    }
}

/// Evaluates the newest policy now and then, where that is wanted.
fn side_evaluator(
    config: &Config,
    arena: Arena,
    policies: &PolicyRequest,
    progress: &Arc<Mutex<Progress>>,
) -> anyhow::Result<Stage<()>> {
    let Some(interval) = config.goal.eval_interval else { return Ok(Stage::none()) };
    let evaluator = SideEvaluator {
        policies: policies.clone(),
        progress: progress.clone(),
        arena,
        seed: config.task.seed,
        mode: config.goal.evaluation,
        episodes: config.goal.eval_episodes,
        interval: interval.duration(),
    };
    stage::spawn("side evaluator", move || evaluator.run())
}

/// Plays the newest policy for whoever looks.
fn show(config: &Config, policies: &PolicyRequest, feed: Feed) -> anyhow::Result<Stage<()>> {
    if !config.environment().can_be_made() {
        // The page says that there is nothing to see.
        return Ok(Stage::none());
    }
    let (environment, network) = (config.environment().clone(), config.network());
    let show = Show { policies: policies.clone(), feed, environment, network, seed: config.task.seed };
    stage::spawn("show", move || show.run())
}

/// Keeps pictures of the progress, where they are wanted.
fn illustrator(
    config: &Config,
    policies: &PolicyRequest,
    progress: &Arc<Mutex<Progress>>,
    directory: PathBuf,
) -> anyhow::Result<Stage<Option<Sketch>>> {
    let Some(every) = config.output.render_every else { return Ok(Stage::none()) };
    if !config.environment().can_be_made() {
        tracing::warn!("no pictures are kept (render_every = {every}): this learner cannot make its environment");
        return Ok(Stage::none());
    }
    let (environment, network) = (config.environment().clone(), config.network());
    let sketch = Sketch { directory, environment, network, seed: config.task.seed, mode: config.goal.evaluation };
    let illustrator = Illustrator { policies: policies.clone(), progress: progress.clone(), every, sketch };
    stage::spawn("illustrator", move || illustrator.run())
}

/// Where the trainer leaves its weights, and the thread that publishes those of a large network.
fn publisher(
    parameter_count: usize,
    publications: Publications,
    wanted: Arc<WantedEncodings>,
) -> anyhow::Result<(WeightsOutlet, Stage<()>)> {
    if parameter_count <= SMALL_NETWORK_MAX {
        return Ok((WeightsOutlet::Direct(Arc::new(Mutex::new(publications))), Stage::none()));
    }
    let slot = WeightsSlot::default();
    let publisher = Publisher { slot: slot.clone(), publications, wanted };
    Ok((WeightsOutlet::Slot(slot), stage::spawn("publisher", move || publisher.run())?))
}
