//! What a page is told of a run, as JSON: shares are from 0 to 1, times in seconds, and what is not known is null.

use impala_env::scene::Scene;
use serde::Serialize;
use std::collections::BTreeMap;

/// What does not change while a run goes on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    /// Name of the run's directory.
    pub run: String,
    /// What it trains on.
    pub environment: String,
    /// Mean return from which that counts as solved.
    pub goal: f64,
    /// The run's seed.
    pub seed: u64,
    /// The network, for people.
    pub network: String,
    /// What it trains with: CPU or GPU.
    pub device: String,
    /// Budget of frames.
    pub frames_max: u64,
    /// Names of the actions.
    pub actions: Vec<String>,
    /// Why there is no episode to be seen, in a sentence; nothing where there is.
    pub not_drawn: Option<&'static str>,
    /// The settings as a file.
    pub settings: String,
    /// The program's version.
    pub version: &'static str,
}

/// A run at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// `waiting`, `training`, `completed` or `stopping`.
    pub state: &'static str,
    /// Why, where that is not plain.
    pub reason: String,
    /// Frames trained.
    pub frames: u64,
    /// Updates.
    pub updates: u64,
    /// Episodes that count.
    pub episodes: u64,
    /// Since the run's start.
    pub seconds: f64,
    /// Until its budget of time ends.
    pub seconds_left: f64,
    /// Of the last 100 episodes.
    pub mean_return: Option<f64>,
    /// Of these, steps.
    pub mean_length: Option<f64>,
    /// Frames after which it was solved.
    pub solved_after: Option<u64>,
    /// Whether a policy is being verified.
    pub is_verifying: bool,
    /// The newest evaluation beside the training.
    pub evaluated: Option<f64>,
    /// Frames of the policy of that.
    pub evaluated_frames: Option<u64>,
    /// Trained, over the last report.
    pub frames_per_second: f64,
    /// Of the last update, by term.
    pub losses: BTreeMap<&'static str, f64>,
    /// Of the policy, nats.
    pub entropy: f64,
    /// Share of the variance of V-trace's targets that the values explain.
    pub explained_variance: Option<f64>,
    /// Root mean square of the values' errors.
    pub value_error: f64,
    /// Estimate of the divergence of the policy that learns from those that acted, nats.
    pub approximate_kl: f64,
    /// Before clipping.
    pub gradient_norm: f64,
    /// Of the last update.
    pub learning_rate: f64,
    /// Environment columns, mean of the recent updates.
    pub batch_columns: f64,
    /// Effective sample size of the importance ratios.
    pub effective_samples: f64,
    /// Trained trajectories by policy lag, from 0 updates on; the last place has all that are older.
    pub lags: Vec<u64>,
    /// Mean policy lag of the newest, updates.
    pub lag_mean: f64,
    /// Actors with an open stream.
    pub actors: usize,
    /// What became of every trajectory, by name.
    pub account: BTreeMap<&'static str, u64>,
    /// What limits the run, in a sentence.
    pub limit: String,
    /// Share of the time in which the trainer worked.
    pub learner_busy: f64,
    /// Share of the actors' time in which they waited.
    pub actors_blocked: Option<f64>,
    /// Of all cores of the learner's machine.
    pub machine_busy: Option<f64>,
    /// Of the learner's process, bytes.
    pub memory: Option<u64>,
    /// The newest checkpoint's update.
    pub checkpoint: Option<u64>,
    /// Checkpoints that could not be written.
    pub checkpoints_failed: u64,
}

/// One actor of the fleet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Actor {
    /// Its place in the run.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Of its newest trajectory's weights; nothing before the first trajectory.
    pub version: Option<u64>,
    /// Of its own time.
    pub frames_per_second: Option<f64>,
    /// Mean, updates.
    pub lag: Option<f64>,
    /// Share of its time in which it waited.
    pub blocked: Option<f64>,
    /// Share of its trajectories that were refused as too old.
    pub refused: Option<f64>,
    /// Since its newest trajectory.
    pub seconds_since: Option<f64>,
}

/// A moment of an episode that the newest policy plays.
#[derive(Clone, Debug, Serialize)]
pub struct Frame<'a> {
    /// What it looks like.
    pub scene: &'a Scene,
    /// Updates of the policy.
    pub update: u64,
    /// Steps before it.
    pub step: u64,
    /// What the policy chooses; nothing at the end.
    pub action: Option<String>,
    /// The value estimate.
    pub value: Option<f32>,
    /// Sum of the rewards so far.
    #[serde(rename = "return")]
    pub return_so_far: f32,
    /// Returns of the last episodes that were shown, the newest last.
    pub returns: &'a [f32],
}
