//! Every metric of the learner: name, help, unit; and the handles by which the stages record. Those that mirror the run's
//! counters are brought up to date by the sink `report::sinks::prometheus`.

use crate::handover::run_state::RunState;
use impala_common::snapshot::Snapshot;
use impala_common::trajectory::Episode;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use std::time::Duration;

const LAG_BOUNDS: &[f64] = &[0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0, 128.0, 256.0];
const RETURN_BOUNDS: &[f64] = &[-1.0, 0.0, 1.0, 10.0, 20.0, 50.0, 100.0, 150.0, 200.0, 300.0, 400.0, 475.0, 500.0];

/// Bounds of the histograms, by name.
pub const BUCKETS: &[(&str, &[f64])] = &[
    ("impala_learner_policy_lag_updates", LAG_BOUNDS),
    ("impala_learner_episode_return", RETURN_BOUNDS),
    ("impala_learner_episode_length_steps", RETURN_BOUNDS),
];

/// The kinds of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Name, kind, unit, help.
const TABLE: &[(&str, Kind, Unit, &str)] = &[
    ("impala_learner_frames_total", Kind::Counter, Unit::Count, "Environment frames trained"),
    (
        "impala_learner_frames_per_second",
        Kind::Gauge,
        Unit::CountPerSecond,
        "Frames trained a second, over the last report interval",
    ),
    ("impala_learner_updates_total", Kind::Counter, Unit::Count, "Updates of the network; the version of the weights"),
    ("impala_learner_loss", Kind::Gauge, Unit::Count, "Loss of the last update by term: total, policy, baseline"),
    ("impala_learner_entropy_nats", Kind::Gauge, Unit::Count, "Mean entropy of the policy in the last update"),
    ("impala_learner_gradient_norm", Kind::Gauge, Unit::Count, "Global norm of the last gradient before clipping"),
    ("impala_learner_learning_rate", Kind::Gauge, Unit::Count, "Learning rate of the last update"),
    (
        "impala_learner_policy_lag_updates",
        Kind::Histogram,
        Unit::Count,
        "Updates between the policy that made a trajectory and the one that trained it",
    ),
    (
        "impala_learner_queue_depth_trajectories",
        Kind::Gauge,
        Unit::Count,
        "Arrived trajectories that are not decided yet",
    ),
    (
        "impala_learner_trajectories_produced_total",
        Kind::Counter,
        Unit::Count,
        "Trajectories known to have been produced by actors",
    ),
    (
        "impala_learner_trajectories_total",
        Kind::Counter,
        Unit::Count,
        "Trajectories by disposition: trained, stale, invalid, shutdown (refused), lost (in transit)",
    ),
    ("impala_learner_weights_bytes_total", Kind::Counter, Unit::Bytes, "Compressed weights sent to actors"),
    (
        "impala_learner_weights_ratio",
        Kind::Gauge,
        Unit::Count,
        "Size of the weights as f32 over the last snapshot's size",
    ),
    ("impala_learner_weights_version", Kind::Gauge, Unit::Count, "Version that the trainer has reached"),
    ("impala_learner_busy_seconds", Kind::Gauge, Unit::Seconds, "Time in which the trainer worked"),
    ("impala_learner_waiting_seconds", Kind::Gauge, Unit::Seconds, "Time in which the trainer waited for data"),
    (
        "impala_learner_actors_acting_seconds",
        Kind::Gauge,
        Unit::Seconds,
        "Time in which actors acted, over all trajectories since the first batch",
    ),
    (
        "impala_learner_actors_blocked_seconds",
        Kind::Gauge,
        Unit::Seconds,
        "Time in which actors waited, over all trajectories since the first batch, by what for: room, weights",
    ),
    (
        "impala_learner_limited_by",
        Kind::Gauge,
        Unit::Count,
        "1 for what limits the run at present, 0 for the others, by limit",
    ),
    (
        "impala_learner_run_state",
        Kind::Gauge,
        Unit::Count,
        "1 for what the run is about at present, 0 for the others, by state",
    ),
    ("impala_learner_actors_connected", Kind::Gauge, Unit::Count, "Actors with an open trajectory stream"),
    ("impala_learner_episodes_total", Kind::Counter, Unit::Count, "Episodes that ended in trained trajectories"),
    ("impala_learner_episode_return", Kind::Histogram, Unit::Count, "Undiscounted return of each episode"),
    ("impala_learner_episode_length_steps", Kind::Histogram, Unit::Count, "Length of each episode"),
    ("impala_learner_mean_return", Kind::Gauge, Unit::Count, "Mean return of the last 100 episodes"),
    (
        "impala_learner_checkpoints_total",
        Kind::Counter,
        Unit::Count,
        "Checkpoints by result: written, failed, skipped (another was being written)",
    ),
    (
        "impala_learner_checkpoint_update",
        Kind::Gauge,
        Unit::Count,
        "Update behind which the newest checkpoint was made",
    ),
    ("impala_learner_checkpoint_bytes", Kind::Gauge, Unit::Bytes, "Size of the newest checkpoint"),
    ("impala_learner_checkpoint_seconds", Kind::Gauge, Unit::Seconds, "Time that writing the newest checkpoint took"),
];

/// The name of every metric.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, ..)| *name)
}

/// Tells the recorder every metric's help and unit.
pub fn describe() {
    for (name, kind, unit, help) in TABLE {
        match kind {
            Kind::Counter => describe_counter!(*name, *unit, *help),
            Kind::Gauge => describe_gauge!(*name, *unit, *help),
            Kind::Histogram => describe_histogram!(*name, *unit, *help),
        }
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

    /// The checkpoint behind `update` is written.
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
