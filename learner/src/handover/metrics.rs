//! Every metric of the learner: name, help, unit; and the handles by which the stages record. Those that mirror the run's
//! counters are brought up to date by the sink `report::sinks::prometheus`.

use crate::handover::run_state::RunState;
use impala_common::metric::{self, Metric};
use impala_common::snapshot::Snapshot;
use impala_common::trajectory::Episode;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::time::Duration;

const LAG_BOUNDS: &[f64] = &[0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0, 128.0, 256.0];
const RETURN_BOUNDS: &[f64] = &[-1.0, 0.0, 1.0, 10.0, 20.0, 50.0, 100.0, 150.0, 200.0, 300.0, 400.0, 475.0, 500.0];

/// Bounds of the histograms, by name.
pub const BUCKETS: &[(&str, &[f64])] = &[
    ("impala_learner_policy_lag_updates", LAG_BOUNDS),
    ("impala_learner_actor_policy_lag_updates", LAG_BOUNDS),
    ("impala_learner_episode_return", RETURN_BOUNDS),
    ("impala_learner_episode_length_steps", RETURN_BOUNDS),
];

/// Evaluations by what became of them at an actor.
const ACTORS_EVALUATIONS: &str = "impala_learner_evaluations_by_actors_total";

/// Every metric of the learner.
pub const TABLE: &[Metric] = &[
    Metric::counter("impala_learner_frames_total", "frames", "Environment frames trained"),
    Metric::gauge(
        "impala_learner_frames_per_second",
        "frames/s",
        "Frames trained a second, over the last report interval",
    ),
    Metric::counter("impala_learner_updates_total", "updates", "Updates of the network; the version of the weights"),
    Metric::gauge("impala_learner_loss", "1", "Loss of the last update")
        .by("term", &[("total", ""), ("policy", ""), ("baseline", "")]),
    Metric::gauge("impala_learner_entropy_nats", "nats", "Mean entropy of the policy in the last update"),
    Metric::gauge("impala_learner_gradient_norm", "1", "Global norm of the last gradient before clipping"),
    Metric::gauge(
        "impala_learner_update_norm",
        "1",
        "Euclidean norm of the change of all parameters, mean of the recent updates",
    ),
    Metric::gauge(
        "impala_learner_effective_samples_ratio",
        "1",
        "Effective sample size of the importance ratios over the frames of a batch, 1 on-policy; mean of the recent updates",
    ),
    Metric::gauge(
        "impala_learner_clipped_ratio",
        "1",
        "Share of the frames whose importance ratio is above rho-bar by more than 1 %, mean of the recent updates",
    ),
    Metric::gauge(
        "impala_learner_approximate_kl_nats",
        "nats",
        "Estimate of the divergence KL(mu || pi) of the policy that learns from those that acted, mean of the recent updates",
    ),
    Metric::gauge(
        "impala_learner_value_error",
        "scaled reward",
        "Root mean square of the values' errors against V-trace's targets, over the recent updates",
    ),
    Metric::gauge(
        "impala_learner_explained_variance_ratio",
        "1",
        "Share of the variance of V-trace's targets that the values explain, at most 1, over the recent updates; NaN while there is no telling",
    ),
    Metric::gauge(
        "impala_learner_batch_columns",
        "columns",
        "Environment columns in a batch, mean of the recent updates",
    ),
    Metric::gauge(
        "impala_learner_gradient_noise_columns",
        "columns",
        "Gradient noise scale: columns of a batch from which larger ones save few updates; NaN while there is no telling",
    ),
    Metric::counter(
        "impala_learner_connections_closed_total",
        "connections",
        "Connections that the learner closed: idle, too slow, or too many",
    ),
    Metric::gauge("impala_learner_learning_rate", "1", "Learning rate of the last update"),
    Metric::histogram(
        "impala_learner_policy_lag_updates",
        "updates",
        "Updates between the policy that made a trajectory and the one that trained it",
    ),
    Metric::histogram(
        "impala_learner_actor_policy_lag_updates",
        "updates",
        "Mean policy lag of an actor over 20 of its trajectories, trained or refused; one observation for every 20",
    ),
    Metric::gauge(
        "impala_learner_actor_policy_lag_max_updates",
        "updates",
        "Largest of the connected actors' mean policy lags over their last 20 trajectories",
    ),
    Metric::gauge(
        "impala_learner_queue_depth_trajectories",
        "trajectories",
        "Arrived trajectories that are not decided yet",
    ),
    Metric::counter(
        "impala_learner_trajectories_produced_total",
        "trajectories",
        "Trajectories known to have been produced by actors",
    ),
    Metric::counter("impala_learner_trajectories_total", "trajectories", "Trajectories by what became of them").by(
        "disposition",
        &[
            ("trained", ""),
            ("stale", "refused as too old"),
            ("invalid", "refused as damaged or out of bounds"),
            ("shutdown", "refused after the end"),
            ("lost", "in transit"),
        ],
    ),
    Metric::counter("impala_learner_weights_bytes_total", "bytes", "Compressed weights sent to actors"),
    Metric::gauge("impala_learner_weights_ratio", "1", "Size of the weights as f32 over the last snapshot's size"),
    Metric::gauge("impala_learner_weights_version", "updates", "Version that the trainer has reached"),
    Metric::gauge("impala_learner_busy_seconds", "s", "Time in which the trainer worked"),
    Metric::gauge("impala_learner_waiting_seconds", "s", "Time in which the trainer waited for data"),
    Metric::gauge(
        "impala_learner_machine_busy_ratio",
        "1",
        "Share of the machine's processors in use, by whatever process, in the recent past; NaN where the system does not tell",
    ),
    Metric::gauge(
        "impala_learner_actors_acting_seconds",
        "s",
        "Time in which actors acted, over all trajectories since the first batch",
    ),
    Metric::gauge(
        "impala_learner_actors_blocked_seconds",
        "s",
        "Time in which actors waited, over all trajectories since the first batch",
    )
    .by("what", &[("room", "for receipts and the link"), ("weights", "for new weights")]),
    Metric::gauge("impala_learner_limited_by", "1", "1 for what limits the run at present, 0 for the others").by(
        "limit",
        &[
            ("actors", ""),
            ("learner", ""),
            ("round_trip", ""),
            ("cores", ""),
            ("policy_lag", ""),
            ("old_policies", ""),
            ("dead_policy", ""),
            ("actor_in_vain", ""),
            ("lockstep", ""),
            ("missing_actors", ""),
            ("nothing", ""),
            ("unknown", ""),
        ],
    ),
    Metric::gauge(
        "impala_learner_actors_enough",
        "actors",
        "More actors than so many no longer shorten the run, or by little; NaN while there is no telling",
    ),
    Metric::gauge("impala_learner_run_state", "1", "1 for the present state of the run, 0 for the others")
        .by("state", &[("waiting", "for actors"), ("training", ""), ("completed", ""), ("stopping", "")]),
    Metric::gauge("impala_learner_actors_connected", "actors", "Actors with an open trajectory stream"),
    Metric::counter(
        "impala_learner_episodes_total",
        "episodes",
        "Episodes that ended as all that began before them did: those that count",
    ),
    Metric::histogram("impala_learner_episode_return", "reward", "Undiscounted return of each episode that counts"),
    Metric::histogram("impala_learner_episode_length_steps", "steps", "Length of each episode that counts"),
    Metric::gauge("impala_learner_mean_return", "reward", "Mean return of the last 100 episodes that count"),
    Metric::gauge("impala_learner_goal_return", "reward", "Mean return from which on the task counts as solved"),
    Metric::counter(
        "impala_learner_verifications_total",
        "tries",
        "Tries to verify, in fresh episodes, that the policy has reached the goal",
    ),
    Metric::gauge(
        "impala_learner_verification_mean_return",
        "reward",
        "Mean return of the last such try; NaN before the first",
    ),
    Metric::counter(
        "impala_learner_evaluations_total",
        "evaluations",
        "Evaluations of the newest policy beside the training (--eval-interval)",
    ),
    Metric::gauge(
        "impala_learner_evaluation_mean_return",
        "reward",
        "Mean return of the last such evaluation; NaN before the first",
    ),
    Metric::counter(
        ACTORS_EVALUATIONS,
        "evaluations",
        "Evaluations that actors were handed, where this process cannot make the environment",
    )
    .by(
        "result",
        &[("played", ""), ("failed", ""), ("refused", "the answer cannot be so"), ("lost", "with the actor")],
    ),
    Metric::counter("impala_learner_checkpoints_total", "checkpoints", "Checkpoints by what became of them")
        .by("result", &[("written", ""), ("failed", ""), ("skipped", "another was being written")]),
    Metric::gauge("impala_learner_checkpoint_update", "updates", "Update after which the newest checkpoint was made"),
    Metric::gauge("impala_learner_checkpoint_bytes", "bytes", "Size of the newest checkpoint"),
    Metric::gauge("impala_learner_checkpoint_seconds", "s", "Time that writing the newest checkpoint took"),
    Metric::counter(
        "impala_learner_mlflow_rows_total",
        "rows",
        "Rows of metrics.csv that this process told an MLflow server (--mlflow), by what became of them",
    )
    .by("result", &[("sent", ""), ("lost", "refused, or no more room to keep them")]),
    Metric::counter(
        "impala_learner_mlflow_files_total",
        "files",
        "Files that this process sent to the artefact store of an MLflow server, by what became of them",
    )
    .by("result", &[("sent", ""), ("lost", "")]),
    Metric::counter(
        "impala_learner_mlflow_requests_failed_total",
        "requests",
        "Requests to an MLflow server that led to nothing; most are made again",
    ),
];

/// What the learner tells of the machine's GPUs, where NVIDIA's driver answers.
pub const GPU_TABLE: &[Metric] = &[
    Metric::gauge(
        "impala_learner_gpu_utilisation_ratio",
        "1",
        "Share of the last second or less in which the GPU had work",
    )
    .by_any("gpu", GPU),
    Metric::gauge("impala_learner_gpu_memory_used_bytes", "bytes", "Memory of the GPU in use, by whatever process")
        .by_any("gpu", GPU),
    Metric::gauge("impala_learner_gpu_memory_total_bytes", "bytes", "All memory of the GPU").by_any("gpu", GPU),
    Metric::gauge("impala_learner_gpu_power_watts", "W", "Power that the GPU draws").by_any("gpu", GPU),
];

/// The values of the label `gpu`.
const GPU: &str = "its number, as `nvidia-smi` counts";

/// The name of every metric.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().chain(GPU_TABLE).map(|metric| metric.name)
}

/// Tells the recorder every metric's help and unit.
pub fn describe() {
    metric::describe(TABLE);
    metric::describe(GPU_TABLE);
    // There from the beginning: a rate begins with a zero.
    for result in ["played", "failed", "refused", "lost"] {
        counter!(ACTORS_EVALUATIONS, "result" => result).increment(0);
    }
}

/// Handles for what is recorded with every update.
#[derive(Clone)]
pub struct TrainerMetrics {
    policy_lag: Histogram,
    episode_return: Histogram,
    episode_length: Histogram,
}

impl TrainerMetrics {
    /// Looks the handles up once.
    pub fn new() -> Self {
        Self {
            policy_lag: histogram!("impala_learner_policy_lag_updates"),
            episode_return: histogram!("impala_learner_episode_return"),
            episode_length: histogram!("impala_learner_episode_length_steps"),
        }
    }

    /// One trained trajectory's lag.
    pub fn record_lag(&self, lag: u64) {
        self.policy_lag.record(lag as f64);
    }

    /// One ended episode.
    pub fn record_episode(&self, episode: &Episode) {
        self.episode_return.record(f64::from(episode.episode_return));
        self.episode_length.record(f64::from(episode.length));
    }
}

impl Default for TrainerMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Handles for sent weights.
#[derive(Clone, Debug)]
pub struct WeightsMetrics {
    bytes: Counter,
    ratio: Gauge,
}

impl WeightsMetrics {
    /// Looks the handles up once.
    pub fn new() -> Self {
        Self { bytes: counter!("impala_learner_weights_bytes_total"), ratio: gauge!("impala_learner_weights_ratio") }
    }

    /// One snapshot sent to one actor.
    pub fn record(&self, snapshot: &Snapshot) {
        let size = snapshot.payload.len();
        self.bytes.increment(size as u64);
        self.ratio.set((snapshot.parameter_count * 4) as f64 / size.max(1) as f64);
    }
}

impl Default for WeightsMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// What became of an evaluation that an actor was handed.
pub fn record_actor_evaluation(result: &'static str) {
    counter!(ACTORS_EVALUATIONS, "result" => result).increment(1);
}

/// So many more connections were closed because of what their peers do, or do not do.
pub fn record_closed_connections(count: u64) {
    counter!("impala_learner_connections_closed_total").increment(count);
}

/// An actor's mean lag over a window of its trajectories.
pub fn record_actor_lag(mean: f64) {
    histogram!("impala_learner_actor_policy_lag_updates").record(mean);
}

/// What the run is about.
pub fn record_state(state: RunState) {
    for other in RunState::ALL {
        gauge!("impala_learner_run_state", "state" => other.name()).set(f64::from(u8::from(other == state)));
    }
}

/// Handles for written checkpoints.
#[derive(Clone, Debug)]
pub struct CheckpointMetrics {
    written: Counter,
    failed: Counter,
    skipped: Counter,
    update: Gauge,
    bytes: Gauge,
    seconds: Gauge,
}

impl CheckpointMetrics {
    /// Looks the handles up once.
    pub fn new() -> Self {
        Self {
            written: counter!("impala_learner_checkpoints_total", "result" => "written"),
            failed: counter!("impala_learner_checkpoints_total", "result" => "failed"),
            skipped: counter!("impala_learner_checkpoints_total", "result" => "skipped"),
            update: gauge!("impala_learner_checkpoint_update"),
            bytes: gauge!("impala_learner_checkpoint_bytes"),
            seconds: gauge!("impala_learner_checkpoint_seconds"),
        }
    }

    /// The checkpoint after `update` is written.
    pub fn record_written(&self, update: u64, bytes: usize, time: Duration) {
        self.written.increment(1);
        self.update.set(update as f64);
        self.bytes.set(bytes as f64);
        self.seconds.set(time.as_secs_f64());
    }

    /// A checkpoint was not made, because another was being written.
    pub fn record_skipped(&self) {
        self.skipped.increment(1);
    }

    /// A checkpoint could not be written.
    pub fn record_failed(&self) {
        self.failed.increment(1);
    }
}

impl Default for CheckpointMetrics {
    fn default() -> Self {
        Self::new()
    }
}
