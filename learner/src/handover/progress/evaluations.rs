//! What the evaluations beside the training came to: for people, it decides nothing.

use super::{Curve, CurvePoint, Progress, VersionedPolicy};
use impala_policy::evaluate::Score;
use serde::{Deserialize, Serialize};

/// What a run remembers of its evaluations beside the training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluations {
    /// How many there were.
    pub count: u32,
    /// The last one.
    pub last: Option<Evaluated>,
    /// Frames of the first policy whose mean reached the goal.
    pub first_reached: Option<u64>,
    /// Mean returns against frames.
    pub curve: Curve,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Frames that the policy was trained on.
    pub frames: u64,
    /// Updates of it; its version.
    pub updates: u64,
    /// What it reached.
    pub score: Score,
}

impl Evaluations {
    /// What counts of them where the goal is another one from now on.
    #[must_use]
    pub fn for_another_goal(self) -> Self {
        Self { first_reached: None, ..self }
    }

    /// Checks that a run that has come to so many frames can have made these: they may come from a file that somebody made.
    ///
    /// # Errors
    /// Names what is out of bounds, with its value.
    pub(super) fn validate(&self, frames: u64) -> Result<(), String> {
        match (&self.last, self.first_reached) {
            (Some(last), _) if !last.score.is_sound() => Err(format!("an evaluation whose returns are {}", last.score)),
            (_, Some(first)) if first > frames => {
                Err(format!("a policy that reached the goal after {first} frames, at most {frames}"))
            }
            _ => Ok(()),
        }
    }
}

impl Progress {
    /// A policy has been evaluated beside the training.
    pub(in crate::handover) fn record_evaluation(&mut self, policy: &VersionedPolicy, score: Score) {
        let evaluations = &mut self.evaluations;
        evaluations.count = evaluations.count.saturating_add(1);
        // What an environment pays that pays nonsense is told to nobody.
        if !score.is_sound() {
            return;
        }
        let (frames, mean_return) = (policy.frames, score.mean);
        evaluations.last = Some(Evaluated { frames, updates: policy.version.0, score });
        evaluations.curve.record(|| Some(CurvePoint { frames, mean_return }));
        if mean_return >= self.solved_return {
            evaluations.first_reached.get_or_insert(frames);
        }
    }
}
