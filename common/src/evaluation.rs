//! An evaluation that a learner hands to an actor, and what the actor makes of it: the learner need not have the environment then.
//!
//! Both sides call `impala_policy::evaluate::play`, so an actor of this project comes to the same returns as the learner would, to the bit.

use crate::snapshot::Snapshot;
use impala_policy::evaluate::{Evaluation, EvaluationPlan};

/// Most episodes of one evaluation, as of `eval_episodes`.
pub const EPISODES_MAX: usize = 10_000;
/// Longest reason why an evaluation failed, characters; it appears in logs.
pub const FAILURE_LEN_MAX: usize = 1000;
/// Largest message with findings, bytes: nine an episode, the reason, and what is around them.
pub const FINDINGS_BYTES_MAX: usize = 9 * EPISODES_MAX + 4 * FAILURE_LEN_MAX + 1024;

/// What an actor is to play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Names it in the answer; the learner's own.
    pub id: u64,
    /// Which episodes, and how.
    pub plan: EvaluationPlan,
    /// The policy, in full and as `f32`.
    pub weights: Snapshot,
}

/// What an actor says of an assignment.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// The assignment's.
    pub id: u64,
    /// The episodes, or in words why there are none.
    pub result: Result<Evaluation, String>,
}
