//! Every metric of the actor: name, unit and help text. Recorded once a trajectory or less, never once a step.

use impala_common::ids::WeightsVersion;
use impala_common::metric::{self, Metric};
use impala_common::process::surroundings;
use impala_common::trajectory::{Episode, RolloutTime, Trajectory};
use metrics::{Counter, Histogram, counter, gauge, histogram};

/// Environment steps.
pub const FRAMES: &str = "impala_actor_frames_total";
/// Trajectories made.
pub const TRAJECTORIES: &str = "impala_actor_trajectories_total";
/// Episodes ended.
pub const EPISODES: &str = "impala_actor_episodes_total";
/// Returns of episodes.
pub const EPISODE_RETURN: &str = "impala_actor_episode_return";
/// Lengths of episodes.
pub const EPISODE_LENGTH: &str = "impala_actor_episode_length_steps";
/// Receipts by disposition.
pub const RECEIPTS: &str = "impala_actor_receipts_total";
/// Version of the newest weights.
pub const WEIGHTS_VERSION: &str = "impala_actor_weights_version";
/// Time of the newest weights.
pub const WEIGHTS_TIMESTAMP: &str = "impala_actor_weights_timestamp_seconds";
/// Compressed bytes of weights.
pub const SNAPSHOT_BYTES: &str = "impala_actor_snapshot_bytes_total";
/// Snapshots by kind.
pub const SNAPSHOTS: &str = "impala_actor_snapshots_total";
/// Snapshots that could not be decoded.
pub const SNAPSHOT_ERRORS: &str = "impala_actor_snapshot_errors_total";
/// Lost connections.
pub const RECONNECTS: &str = "impala_actor_reconnects_total";
/// Trajectories that got no receipt.
pub const LOST: &str = "impala_actor_lost_total";
/// Evaluations that the learner handed out.
pub const EVALUATIONS: &str = "impala_actor_evaluations_total";
/// Time blocked before a trajectory.
pub const BLOCKED: &str = "impala_actor_blocked_seconds";
/// Time at work on a trajectory.
pub const ROLLOUT: &str = "impala_actor_rollout_seconds";

/// Powers of four from 16 microseconds to 17 seconds.
const DURATION_BUCKETS: [f64; 11] = [16e-6, 64e-6, 256e-6, 1e-3, 4e-3, 16e-3, 64e-3, 256e-3, 1.024, 4.096, 16.384];
/// Catch ends with -1 or 1, CartPole between 8 and 500.
const EPISODE_BUCKETS: [f64; 13] = [-1.0, 0.0, 1.0, 10.0, 20.0, 50.0, 100.0, 150.0, 195.0, 300.0, 400.0, 475.0, 500.0];

/// Bounds of the histograms' buckets, by name, for [`impala_common::process::probes::install_recorder`].
pub const BUCKETS: [(&str, &[f64]); 4] = [
    (EPISODE_RETURN, &EPISODE_BUCKETS),
    (EPISODE_LENGTH, &EPISODE_BUCKETS),
    (BLOCKED, &DURATION_BUCKETS),
    (ROLLOUT, &DURATION_BUCKETS),
];

/// Every metric of the actor.
pub const TABLE: &[Metric] = &[
    Metric::counter(FRAMES, "frames", "Environment steps, over all environments of this actor"),
    Metric::counter(TRAJECTORIES, "trajectories", "Trajectories made"),
    Metric::counter(EPISODES, "episodes", "Episodes that ended"),
    Metric::histogram(EPISODE_RETURN, "reward", "Undiscounted return of each episode that ended"),
    Metric::histogram(EPISODE_LENGTH, "steps", "Steps of each episode that ended"),
    Metric::counter(RECEIPTS, "trajectories", "Trajectories that the learner answered")
        .by("disposition", &[("trained", ""), ("stale", "refused as too old"), ("shutdown", "refused after the end")]),
    Metric::gauge(WEIGHTS_VERSION, "updates", "Version of the newest weights received: the updates in them"),
    Metric::gauge(
        WEIGHTS_TIMESTAMP,
        "s",
        "When the newest weights were received, since 1970: their age is time() less this",
    ),
    Metric::counter(SNAPSHOT_BYTES, "bytes", "Compressed weights received"),
    Metric::counter(SNAPSHOTS, "snapshots", "Versions of the weights received")
        .by("kind", &[("full", ""), ("delta", "difference to the version before")]),
    Metric::counter(SNAPSHOT_ERRORS, "snapshots", "Weights that could not be decoded"),
    Metric::counter(RECONNECTS, "times", "Times that the learner was lost and registered with anew"),
    Metric::counter(LOST, "trajectories", "Trajectories without a receipt when their connection ended"),
    Metric::counter(EVALUATIONS, "evaluations", "Evaluations of a policy that the learner handed to this actor")
        .by("result", &[("played", ""), ("failed", "")]),
    Metric::histogram(
        BLOCKED,
        "s",
        "Time that the rollout waited, for each trajectory: for receipts, for weights, for the socket",
    ),
    Metric::histogram(ROLLOUT, "s", "Time that the rollout worked on each trajectory"),
];

/// The name of every metric.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|metric| metric.name)
}

/// Gives the installed recorder unit and help text of every metric, and lets the counters begin at 0.
pub fn describe() {
    metric::start_counters(TABLE);
    metric::describe(TABLE);
}

/// The rollout's metrics, looked up once.
#[derive(Debug)]
pub(crate) struct RolloutMetrics {
    frames: Counter,
    trajectories: Counter,
    episodes: Counter,
    episode_return: Histogram,
    episode_length: Histogram,
    blocked: Histogram,
    rollout: Histogram,
}

impl RolloutMetrics {
    pub(crate) fn new() -> Self {
        Self {
            frames: counter!(FRAMES),
            trajectories: counter!(TRAJECTORIES),
            episodes: counter!(EPISODES),
            episode_return: histogram!(EPISODE_RETURN),
            episode_length: histogram!(EPISODE_LENGTH),
            blocked: histogram!(BLOCKED),
            rollout: histogram!(ROLLOUT),
        }
    }

    /// Records a trajectory, the episodes that ended in it, and the time that went into it.
    pub(crate) fn record(&self, trajectory: &Trajectory, ended: &[Episode], time: RolloutTime) {
        self.frames.increment(trajectory.shape().frames() as u64);
        self.trajectories.increment(1);
        self.episodes.increment(ended.len() as u64);
        for episode in ended {
            self.episode_return.record(f64::from(episode.episode_return));
            self.episode_length.record(f64::from(episode.length));
        }
        self.blocked.record(time.blocked());
        self.rollout.record(time.unroll);
    }
}

pub(crate) fn record_receipt(disposition: &'static str) {
    counter!(RECEIPTS, "disposition" => disposition).increment(1);
}

pub(crate) fn record_snapshot(version: WeightsVersion, is_delta: bool, bytes: usize) {
    let kind = if is_delta { "delta" } else { "full" };
    counter!(SNAPSHOTS, "kind" => kind).increment(1);
    counter!(SNAPSHOT_BYTES).increment(bytes as u64);
    gauge!(WEIGHTS_VERSION).set(version.0 as f64);
    gauge!(WEIGHTS_TIMESTAMP).set(surroundings::since_1970().as_secs_f64());
}

pub(crate) fn record_snapshot_error() {
    counter!(SNAPSHOT_ERRORS).increment(1);
}

pub(crate) fn record_evaluation(is_played: bool) {
    let result = if is_played { "played" } else { "failed" };
    counter!(EVALUATIONS, "result" => result).increment(1);
}

pub(crate) fn record_session_end(lost: u64, disconnected: bool) {
    counter!(LOST).increment(lost);
    counter!(RECONNECTS).increment(u64::from(disconnected));
}
