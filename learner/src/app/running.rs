//! The stages at work: started with their channels, watched until something ends the run.

use super::initial_state::Origin;
use super::{Learner, agreement};
use crate::config::Config;
use crate::handover::admission::PolicyLagGate;
use crate::handover::batch_queue::BatchQueue;
use crate::handover::batcher::Batcher;
use crate::handover::ledger::Ledger;
use crate::handover::metrics;
use crate::handover::progress::Progress;
use crate::handover::run_state::Standing;
use crate::handover::weights::{Publications, SMALL_NETWORK_MAX, WantedEncodings, WeightsOutlet, WeightsSlot};
use crate::report::doctor::Circumstances;
use crate::report::reporter::Reporter;
use crate::report::shares::Shares;
use crate::report::summary::RunEnd;
use crate::run::checkpoint_slot::CheckpointSlot;
use crate::run::run_dir::RunDir;
use crate::run::store::CheckpointStore;
use crate::service::Shared;
use crate::service::registry::Registry;
use crate::service::server::{ServerTask, serve};
use crate::stages::checkpointer;
use crate::stages::publisher::Publisher;
use crate::stages::stage::{self, Stage};
use crate::stages::trainer::{Trained, Trainer, TrainingEnd};
use impala_common::ids::{ActorIndex, WeightsVersion};
use impala_policy::network::NetworkSpec;
use rand::RngExt;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// The stages at work.
pub(super) struct Running {
    pub(super) config: Config,
    pub(super) run_dir: RunDir,
    pub(super) network: NetworkSpec,
    pub(super) shared: Arc<Shared>,
    pub(super) gate: PolicyLagGate,
    pub(super) progress: Arc<Mutex<Progress>>,
    pub(super) standing: Arc<Standing>,
    pub(super) outlet: WeightsOutlet,
    /// Updates done by earlier processes of the run.
    pub(super) updates_before: u64,
    /// Dropped when the last one is handed over.
    pub(super) checkpoints: Option<CheckpointSlot>,
    pub(super) checkpointer: Stage<()>,
    pub(super) trainer: Stage<(TrainingEnd, Trained)>,
    /// Of a large network.
    pub(super) publisher: Stage<()>,
    pub(super) server: ServerTask,
    pub(super) stop_server: CancellationToken,
    pub(super) health: tonic_health::server::HealthReporter,
    pub(super) lockstep_broken: mpsc::Receiver<ActorIndex>,
    pub(super) reporter: Reporter,
    /// Noted when the run ends, before everybody leaves.
    pub(super) at_the_end: Option<Circumstances>,
}

/// Why watching ended, with the trainer's result if it ended by itself.
pub(super) struct Ended {
    pub(super) end: RunEnd,
    pub(super) trained: Option<Trained>,
}

impl Running {
    /// Makes the channels and starts every stage.
    pub(super) fn start(
        learner: Learner,
        run_dir: RunDir,
        store: CheckpointStore,
        shows_progress: bool,
    ) -> anyhow::Result<Self> {
        let Learner { config, checkpoint, listener, device, standing, keepalive, .. } = learner;
        let network = config.network();
        let (checkpoints, checkpointer) = checkpointer::channel(store, config.checkpoints_kept, checkpoint.as_ref());
        let resumes = checkpoint.is_some();
        let Origin { step, progress, account, mut take_ups } = Origin::new(&config, device, checkpoint);
        if config.lockstep().is_none() {
            // They belong to places of a run that goes on in another order.
            take_ups.states.clear();
        }
        let ledger = Arc::new(Ledger::resumed(account));
        let reporter = Reporter::new(&run_dir, resumes, shows_progress, &progress, &ledger.account());
        let gate = PolicyLagGate::new(config.policy_lag_max);
        let updates_before = progress.updates;
        gate.advance(WeightsVersion(updates_before));
        let progress = Arc::new(Mutex::new(progress));
        let wanted = Arc::new(WantedEncodings::default());
        let stop_server = CancellationToken::new();

        let queue = Arc::new(batch_queue(&config, gate.clone(), updates_before));
        // The newest version only.
        let (published_sender, published) = watch::channel(None);
        let publications = Publications::new(published_sender);
        let (outlet, publisher) = publisher(network.parameter_count(), publications, wanted.clone())?;
        // One broken actor ends a deterministic run.
        let (lockstep_sender, lockstep_broken) = mpsc::channel(1);

        let trainer = Trainer {
            config: config.clone(),
            step,
            queue: queue.clone(),
            outlet: outlet.clone(),
            gate: gate.clone(),
            progress: progress.clone(),
            ledger: ledger.clone(),
            actor_states: take_ups.states.clone(),
            checkpoints: checkpoints.clone(),
        };
        let runtime = tokio::runtime::Handle::current();
        let shared = Arc::new(Shared {
            registry: Registry::new(agreement(&config), take_ups, ledger.clone(), rand::rng().random()),
            ledger,
            gate: gate.clone(),
            queue,
            published,
            wanted,
            standing: standing.clone(),
            actors_needed: actors_needed(&config),
            progress: progress.clone(),
            lockstep_broken: lockstep_sender,
        });
        let (health, server) = serve(listener, shared.clone(), keepalive, stop_server.clone())?;
        Ok(Self {
            reporter,
            updates_before,
            checkpoints: Some(checkpoints),
            checkpointer: stage::spawn("checkpointer", { move || checkpointer.run(&runtime) })?,
            at_the_end: None,
            trainer: stage::spawn("trainer", move || trainer.run())?,
            publisher,
            config,
            run_dir,
            network,
            shared,
            gate,
            progress,
            standing,
            outlet,
            server,
            stop_server,
            health,
            lockstep_broken,
        })
    }

    /// Reports until something ends the run.
    pub(super) async fn watch_over(&mut self, stop: &CancellationToken) -> Ended {
        let mut tick = tokio::time::interval(self.config.report_interval());
        let taken = self.lock_progress().before();
        let deadline = tokio::time::sleep(self.config.time_max().saturating_sub(taken));
        tokio::pin!(deadline);
        let end = loop {
            tokio::select! {
                trained = self.trainer.ended() => return trainer_ended(trained),
                Err(panic) = self.publisher.ended(), if self.publisher.is_running() => break failed("publisher", &panic),
                Err(panic) = self.checkpointer.ended(), if self.checkpointer.is_running() => break failed("checkpointer", &panic),
                served = &mut self.server => break RunEnd::Failed(format!("the gRPC server ended: {served:?}")),
                Some(index) = self.lockstep_broken.recv() => {
                    break RunEnd::Failed(format!("actor {index} left a deterministic run before its end; start the run again"));
                }
                () = stop.cancelled() => break RunEnd::Interrupted,
                () = &mut deadline => break self.out_of_time(),
                _ = tick.tick() => self.report(),
            }
        };
        Ended { end, trained: None }
    }

    fn out_of_time(&self) -> RunEnd {
        match self.lock_progress().solved {
            Some(_) => RunEnd::SolvedTimeBudget,
            None => RunEnd::TimeBudget,
        }
    }

    pub(super) fn report(&mut self) {
        let progress = self.lock_progress().clone();
        let circumstances = self.at_the_end.unwrap_or_else(|| self.circumstances());
        let actors = *self.shared.registry.connected().borrow();
        metrics::record_state(self.standing.state(actors, self.shared.actors_needed));
        let time_left = self.config.time_max().saturating_sub(progress.elapsed());
        self.reporter.report(&progress, self.shared.ledger.account(), actors, &self.gate, &circumstances, time_left);
    }

    /// Who is here.
    pub(super) fn circumstances(&self) -> Circumstances {
        let actors = *self.shared.registry.connected().borrow();
        let actors_needed = self.shared.actors_needed;
        Circumstances { actors, actors_needed, is_lockstep: self.config.deterministic }
    }

    pub(super) fn lock_progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no holder of the progress panics")
    }

    /// Where the time of the run went so far.
    pub(super) fn shares(&self) -> Shares {
        let progress = self.lock_progress();
        self.reporter.shares(&progress, &self.shared.ledger.account())
    }
}

fn trainer_ended(trained: Result<Option<(TrainingEnd, Trained)>, String>) -> Ended {
    let (end, trained) = match trained {
        Ok(Some((TrainingEnd::Solved, step))) => (RunEnd::Solved, Some(step)),
        Ok(Some((TrainingEnd::FramesBudget, step))) => (RunEnd::FramesBudget, Some(step)),
        Ok(Some((TrainingEnd::Diverged(error), step))) => (RunEnd::Failed(error.to_string()), Some(step)),
        // Nobody has closed the queue.
        Ok(Some((TrainingEnd::Stopped, step))) => (failed("trainer", "it ended too early"), Some(step)),
        Ok(None) => (failed("trainer", "its end was told twice"), None),
        Err(panic) => (failed("trainer", &panic), None),
    };
    Ended { end, trained }
}

/// Where trajectories wait for the trainer. The actors' windows bound the lag end to end, so its places only decouple the two
/// sides; a trajectory takes about 30 bytes a frame.
fn batch_queue(config: &Config, gate: PolicyLagGate, updates_before: u64) -> BatchQueue {
    let per_batch = config.trajectories_per_batch();
    let lockstep = config.lockstep();
    // A deterministic run holds back what comes early: that must never keep out the one that is next.
    let early = lockstep.map_or(0, |lockstep| lockstep.actors as usize * config.in_flight_max);
    BatchQueue::new(Batcher::new(per_batch, gate, lockstep, updates_before), 3 * per_batch + 16 + early)
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

/// Actors that must be connected for training to go on.
fn actors_needed(config: &Config) -> usize {
    config.lockstep().map_or_else(|| config.actors_needed(), |lockstep| lockstep.actors as usize)
}

pub(super) fn failed(stage: &str, reason: &str) -> RunEnd {
    RunEnd::Failed(format!("the {stage} broke: {reason}"))
}
