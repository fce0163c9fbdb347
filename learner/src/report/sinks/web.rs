//! The live view: what a report tells, for the page of the run. The page and its stream are `impala-web`'s.

use crate::config::Config;
use crate::handover::run_state::Standing;
use crate::learn::compute::ComputeDevice;
use crate::report::View;
use crate::report::machine;
use crate::run::checkpoint_slot::CheckpointReport;
use crate::run::run_dir::RunDir;
use impala_env::EnvironmentKind;
use impala_env::seed::{self, Purpose};
use impala_web::Feed;
use impala_web::snapshot::{About, Snapshot};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Places of the histogram of policy lags; the last one has all that are older.
const LAGS: usize = 12;

/// Tells the feed of a run.
#[derive(Debug)]
pub(crate) struct WebSink {
    /// The pages' side has the other end.
    pub(crate) feed: Feed,
    /// What the learner is about.
    pub(crate) standing: Arc<Standing>,
    /// Actors that a batch takes.
    pub(crate) actors_needed: usize,
    /// What became of checkpoints.
    pub(crate) checkpoints: Arc<Mutex<CheckpointReport>>,
}

impl WebSink {
    /// The run at this moment.
    pub(crate) fn tell(&self, view: &View<'_>) {
        let View { progress, account, actors_connected, frames_per_second, busy, shares, diagnosis, .. } = view;
        let (losses, vitals, last) = (progress.last_step.losses, progress.vitals, progress.evaluations.last);
        let losses = [("total", losses.total), ("policy", losses.policy), ("baseline", losses.baseline)];
        let checkpoints = self.checkpoints.lock().expect("no holder of the report panics").clone();
        self.feed.tell(&Snapshot {
            state: self.standing.state(*actors_connected, self.actors_needed).name(),
            reason: self.standing.reason(*actors_connected, self.actors_needed),
            frames: progress.frames,
            updates: progress.updates,
            episodes: progress.episodes,
            seconds: progress.elapsed().as_secs_f64(),
            seconds_left: view.time_left.as_secs_f64(),
            mean_return: progress.mean_return(),
            mean_length: progress.mean_length(),
            solved_after: progress.solved.map(|solved| solved.frames),
            is_verifying: progress.is_verifying,
            evaluated: last.map(|last| last.score.mean),
            evaluated_frames: last.map(|last| last.frames),
            frames_per_second: *frames_per_second,
            losses: losses.map(|(term, loss)| (term, loss.into())).into(),
            entropy: progress.last_step.losses.entropy.into(),
            gradient_norm: progress.last_step.gradient_norm.into(),
            learning_rate: progress.learning_rate.into(),
            explained_variance: vitals.values.explained_variance(),
            value_error: vitals.values.error(),
            approximate_kl: vitals.approximate_kl,
            batch_columns: vitals.batch_columns,
            effective_samples: vitals.effective_samples,
            lags: progress.lag.in_places(LAGS),
            lag_mean: vitals.policy_lag,
            actors: *actors_connected,
            account: BTreeMap::from([
                ("produced", account.produced),
                ("trained", account.trained),
                ("refused", account.refused()),
                ("lost", account.lost),
                ("in flight", account.in_flight()),
            ]),
            limit: diagnosis.sentence.clone(),
            learner_busy: *busy,
            actors_blocked: shares.actors_blocked(),
            machine_busy: shares.machine_busy,
            memory: machine::own_memory(),
            checkpoint: checkpoints.newest,
            checkpoints_failed: checkpoints.failed,
        });
    }
}

/// What stays while a run goes on.
pub(crate) fn about(config: &Config, run_dir: &RunDir, device: &ComputeDevice) -> About {
    let (environment, network) = (config.environment(), config.network());
    let hidden: Vec<_> = network.hidden.iter().map(ToString::to_string).collect();
    About {
        run: run_dir.name().to_owned(),
        environment: config.task.environment.to_string(),
        goal: config.solved_return(),
        seed: config.task.seed,
        network: format!(
            "{} inputs, hidden {} {}, {}, {} parameters",
            network.observation_len,
            hidden.join("x"),
            network.activation,
            network.head,
            network.parameter_count()
        ),
        device: if device.is_cpu() { "the CPU".into() } else { "the GPU".into() },
        frames_max: config.goal.frames_max,
        actions: environment.action_names().to_vec(),
        not_drawn: not_drawn(environment, config.task.seed),
        settings: config.record(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// Why there is no episode to be seen of an environment.
fn not_drawn(environment: &EnvironmentKind, seed: u64) -> Option<&'static str> {
    if !environment.can_be_made() {
        return Some("Only the actors have this environment, so there are no pictures of it here.");
    }
    let mut made = environment.make_to_watch(vec![seed::rng(seed, Purpose::Evaluation { environment: 0 })]);
    made.scene(0).is_none().then_some("This environment draws no pictures.")
}
