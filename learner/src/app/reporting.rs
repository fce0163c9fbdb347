//! What is told of a run while it goes on, and what is left of it at the end in numbers.

use super::endpoint::Endpoint;
use super::pipeline::{Handover, follow_plan};
use crate::config::Config;
use crate::handover::metrics;
use crate::handover::progress::Progress;
use crate::handover::tally::Doings;
use crate::report::doctor::{BatchGrowth, Circumstances};
use crate::report::reporter::Reporter;
use crate::report::shares::Shares;
use crate::report::sinks::mlflow::{MlflowSink, Remainder};
use crate::report::sinks::tensorboard::Preface;
use crate::report::sinks::web::WebSink;
use crate::report::summary::{RunEnd, Summary};
use crate::run::checkpoint_slot::CheckpointReport;
use crate::run::run_dir::RunDir;
use impala_common::ids::ActorIndex;
use impala_env::spec::EnvironmentSpec;
use impala_policy::evaluate::Mode;
use impala_web::Feed;
use impala_web::snapshot::Actor;
use std::time::{Duration, Instant};

/// Time between two looks at the fleet.
const FLEET_INTERVAL: Duration = Duration::from_secs(1);

/// The reports of one run.
#[derive(Debug)]
pub(super) struct Reporting {
    reporter: Reporter,
    handover: Handover,
    time_max: Duration,
    evaluation: Mode,
    is_lockstep: bool,
    growth: Option<BatchGrowth>,
    entropy_max: Option<f64>,
    /// Who looks at the run in a browser, if anybody may, and when the fleet was last gathered for them.
    feed: Option<Feed>,
    fleet_told: Option<Instant>,
    /// Noted when the run ends, before everybody leaves.
    at_the_end: Option<Circumstances>,
}

impl Reporting {
    /// Begins; a run that `resumes` goes on with the table of the process before.
    pub(super) fn new(
        config: &Config,
        handover: &Handover,
        run_dir: &RunDir,
        resumes: bool,
        shows_progress: bool,
    ) -> Self {
        let progress = handover.lock_progress().clone();
        let mut reporter = Reporter::new(run_dir, resumes, shows_progress, &progress, &handover.ledger.account());
        if config.output.tensorboard {
            let preface = Preface::new(config);
            reporter = reporter.with_tensorboard(run_dir, &progress, &preface, handover.inspection.clone());
        }
        Self {
            reporter,
            handover: handover.clone(),
            time_max: config.goal.time_max.duration(),
            evaluation: config.goal.evaluation,
            is_lockstep: config.task.deterministic,
            growth: batch_growth(config),
            entropy_max: entropy_max(config.environment().spec()),
            feed: None,
            fleet_told: None,
            at_the_end: None,
        }
    }

    /// Tells an MLflow server of the run, too.
    #[must_use]
    pub(super) fn with_mlflow(self, mlflow: Option<MlflowSink>) -> Self {
        Self { reporter: self.reporter.with_mlflow(mlflow), ..self }
    }

    /// Tells the run to whoever looks at it in a browser, too.
    #[must_use]
    pub(super) fn with_web(self, web: Option<WebSink>) -> Self {
        let feed = web.as_ref().map(|web| web.feed.clone());
        Self { reporter: self.reporter.with_web(web), feed, ..self }
    }

    /// Gathers the fleet where somebody looks at it.
    fn tell_fleet(&mut self, endpoint: &Endpoint) {
        let Some(feed) = self.feed.as_ref().filter(|feed| feed.is_watched()) else { return };
        if self.fleet_told.is_none_or(|told| told.elapsed() >= FLEET_INTERVAL) {
            self.fleet_told = Some(Instant::now());
            feed.tell_fleet(endpoint.shared.registry.fleet().into_iter().map(actor).collect());
        }
    }

    /// Tells everybody how the run stands.
    pub(super) fn report(&mut self, endpoint: &Endpoint) {
        self.tell_fleet(endpoint);
        let progress = self.handover.lock_progress().clone();
        let circumstances = match &self.at_the_end {
            Some(at_the_end) => at_the_end.clone(),
            None => self.circumstances(endpoint, &progress),
        };
        let actors = endpoint.actors();
        metrics::record_state(endpoint.shared.standing.state(actors, endpoint.shared.actors_needed));
        let time_left = self.time_max.saturating_sub(progress.elapsed());
        let (account, gate) = (self.handover.ledger.account(), &self.handover.gate);
        self.reporter.report(&progress, account, actors, gate, &circumstances, time_left);
    }

    /// Notes who is here when the run ends.
    pub(super) fn note_end(&mut self, end: &RunEnd, endpoint: &Endpoint) {
        let circumstances = self.circumstances(endpoint, &self.handover.lock_progress());
        // Who leaves with the end is not missing; who was not there when the time ran out is.
        let actors = match end {
            RunEnd::TimeBudget => circumstances.actors,
            _ => circumstances.actors.max(circumstances.actors_needed),
        };
        self.at_the_end = Some(Circumstances { actors, ..circumstances });
    }

    /// Where the time of the run went so far.
    pub(super) fn shares(&self) -> Shares {
        let progress = self.handover.lock_progress();
        self.reporter.shares(&progress, &self.handover.ledger.account())
    }

    /// The display ends and nothing more is written; metrics go on. Tells whether there was a display.
    pub(super) fn end(&mut self) -> bool {
        self.reporter.end()
    }

    /// Writes what the run came to, where results are compared. Gives what is left to send to an MLflow server.
    pub(super) fn conclude(&mut self, results: &Summary) -> Option<Remainder> {
        self.reporter.conclude(results)
    }

    /// Clears the display.
    pub(super) fn clear(&self) {
        self.reporter.clear();
    }

    /// The run in numbers.
    pub(super) fn summary(&self, end: RunEnd, shares: Shares, checkpoints: CheckpointReport) -> Summary {
        let progress = self.handover.lock_progress();
        let circumstances = self.at_the_end.clone().unwrap_or_default();
        let account = self.handover.ledger.account();
        let updates_before = self.handover.updates_before;
        Summary {
            checkpoints,
            evaluation: self.evaluation,
            resumed_from: (updates_before > 0).then_some(updates_before),
            ..Summary::new(end, &progress, account, shares, &circumstances)
        }
    }

    fn circumstances(&self, endpoint: &Endpoint, progress: &Progress) -> Circumstances {
        Circumstances {
            actors: endpoint.actors(),
            actors_needed: endpoint.shared.actors_needed,
            is_lockstep: self.is_lockstep,
            entropy_max: self.entropy_max,
            vitals: progress.vitals,
            laggards: endpoint.shared.registry.laggards(),
            held: endpoint.shared.registry.held(),
            growth: self.growth,
        }
    }
}

/// One actor as the page shows it.
fn actor((index, name, doings): (ActorIndex, String, Option<Doings>)) -> Actor {
    Actor {
        index: index.0,
        name,
        version: doings.map(|doings| doings.version.0),
        frames_per_second: doings.and_then(|doings| doings.frames_per_second),
        lag: doings.map(|doings| doings.policy_lag_mean),
        blocked: doings.and_then(|doings| doings.blocked),
        refused: doings.map(|doings| doings.refused),
        seconds_since: doings.map(|doings| doings.since.as_secs_f64()),
    }
}

/// The entropy of a policy that has no preference among the choices of an environment, nats.
fn entropy_max(spec: &EnvironmentSpec) -> Option<f64> {
    let choices = spec.actions.choices();
    (!choices.is_empty()).then(|| choices.iter().map(|choices| (*choices as f64).ln()).sum())
}

/// How batches grow with the actors, where their size follows them.
fn batch_growth(config: &Config) -> Option<BatchGrowth> {
    let (plan, environments) = (follow_plan(config), config.rollout.environments_per_actor);
    config.fixed_trajectories().is_none().then(|| BatchGrowth {
        columns_per_actor: (plan.in_flight_max * environments) as f64 / plan.lag_target,
        columns_min: (plan.least * environments) as f64,
    })
}
