//! The tries of a run to verify its policy: when one is due, and what each came to. The training mean alone solves nothing: it is of
//! many policies, which drew their actions, while a person is given one, which does not.

use super::{Progress, SOLVED_EPISODES, Solved};
use crate::handover::verification::{Candidate, Verdict};
use impala_common::ids::WeightsVersion;
use impala_policy::evaluate::{Mode, Score};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a run remembers of its tries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tries {
    /// Tries that came to a verdict.
    pub count: u32,
    /// Those of them that were for another goal.
    pub earlier: u32,
    /// Frames trained from which the next one may begin.
    pub next: u64,
    /// The best mean return of any.
    pub best_mean: Option<f64>,
    /// The last one's returns.
    pub last: Option<Score>,
    /// The policy that solved the task.
    pub verified: Option<Verified>,
}

/// What is told of a verified policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Updates of it; its version.
    pub updates: u64,
    /// How it chose its actions.
    pub mode: Mode,
    /// What it reached.
    pub score: Score,
}

/// The policy of a run at one version.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionedPolicy {
    /// Its version.
    pub version: WeightsVersion,
    /// Frames that it was trained on.
    pub frames: u64,
    /// `[P]`, flat in the layout's order.
    pub parameters: Arc<[f32]>,
}

impl Tries {
    /// What counts of them where the goal is another one from now on.
    #[must_use]
    pub fn for_another_goal(self) -> Self {
        Self { count: self.count, earlier: self.count, ..Self::default() }
    }

    /// Tries for the goal of now.
    pub fn for_this_goal(&self) -> u32 {
        self.count.saturating_sub(self.earlier)
    }

    /// Checks that a run that has come to `updates` can have made these: they may come from a file that somebody made.
    ///
    /// # Errors
    /// Names what is out of bounds, with its value.
    pub(super) fn validate(&self, updates: u64) -> Result<(), String> {
        let verified = self.verified.as_ref();
        for score in self.last.iter().chain(verified.map(|verified| &verified.score)) {
            if !score.is_sound() {
                return Err(format!("a try whose returns are {score}"));
            }
        }
        match verified {
            Some(Verified { updates: later, .. }) if *later > updates => {
                Err(format!("a verified policy of update {later}, at most {updates}"))
            }
            _ => Ok(()),
        }
    }
}

impl Progress {
    /// Whether the policy of now is to be verified: the training mean has reached the goal over enough episodes, no try is under
    /// way, and the last one is long enough ago.
    pub fn is_try_due(&self) -> bool {
        let is_open = self.solved.is_none() && !self.is_verifying && self.frames >= self.tries.next;
        is_open && self.episodes >= SOLVED_EPISODES as u64 && self.mean_reaches_the_goal()
    }

    fn mean_reaches_the_goal(&self) -> bool {
        self.mean_return().is_some_and(|mean| mean >= self.solved_return)
    }

    /// A try is under way.
    pub(in crate::handover) fn begin_try(&mut self) {
        (self.is_verifying, self.worst_after_solved) = (true, None);
    }

    /// It has been given up without a verdict: as if it had not begun.
    pub(in crate::handover) fn give_up_try(&mut self) {
        (self.is_verifying, self.worst_after_solved) = (false, None);
    }

    /// Nobody could make it: there is no verdict, and another may begin `every` frames after the candidate.
    pub(in crate::handover) fn put_off_try(&mut self, candidate: &Candidate, every: u64) {
        self.give_up_try();
        self.tries.next = candidate.frames.saturating_add(every);
    }

    /// It has come to a verdict; the next one, if it takes one, may begin `every` frames after the candidate.
    pub(in crate::handover) fn end_try(&mut self, candidate: &Candidate, verdict: &Verdict, every: u64) {
        let Candidate { attempt, version, frames, seconds, .. } = *candidate;
        let Verdict { mode, score, is_reached, .. } = *verdict;
        self.is_verifying = false;
        // What an environment pays that pays nonsense is told to nobody, and has reached nothing.
        let score = Some(score).filter(Score::is_sound);
        let tries = &mut self.tries;
        (tries.count, tries.next, tries.last) = (attempt, frames.saturating_add(every), score);
        let mean = score.map(|score| score.mean);
        tries.best_mean = mean.into_iter().chain(tries.best_mean).reduce(f64::max);
        match score {
            Some(score) if is_reached => {
                tries.verified = Some(Verified { updates: version.0, mode, score });
                self.solved = Some(Solved { frames, seconds });
                self.verified = Some(VersionedPolicy { version, frames, parameters: candidate.parameters.clone() });
            }
            _ => self.worst_after_solved = None,
        }
    }
}
