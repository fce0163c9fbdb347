//! The evaluator thread: plays fresh episodes with a policy whose training mean has reached the goal, and says whether the policy has.
//! Training goes on meanwhile. It knows candidates and verdicts, where they are played and the goal; nothing of batches or updates.
//!
//! The rule: [`FIRST`] episodes whose mean reaches the goal decide where the goal lies two standard errors or more below that mean. Where
//! it lies nearer, [`FURTHER`] more are played, and the mean of all of them must reach it. A policy whose true mean lies a tenth of a
//! standard deviation of its returns below the goal passes in about 2 tries of 1,000 (where returns are spread normally); by the first
//! episodes alone it would in 16 of 100.

use crate::handover::evaluations::Arena;
use crate::handover::verification::{Candidate, Verdict, Verification};
use impala_policy::evaluate::{EvaluateError, Evaluation, EvaluationPlan, Mode, Series};

/// Episodes of every try: what environments state their goals for.
pub const FIRST: usize = impala_env::GOAL_EPISODES;
/// Episodes that are added where those do not decide.
pub const FURTHER: usize = 900;

/// The evaluator of one run.
#[derive(Debug)]
pub struct Evaluator {
    /// Where candidates come from and verdicts go.
    pub verification: Verification,
    /// Where they play.
    pub arena: Arena,
    /// The seed of the run.
    pub seed: u64,
    /// How they choose their actions.
    pub mode: Mode,
    /// The mean return to reach.
    pub goal: f64,
}

impl Evaluator {
    /// Works until the slot is stopped.
    pub fn run(self) {
        while let Some(candidate) = self.verification.next() {
            match self.judge(&candidate) {
                Ok(verdict) => self.verification.decide(verdict),
                Err(EvaluateError::Stopped) => return,
                // Neither an actor nor a process with environments is to end a run: the next candidate is another try.
                Err(EvaluateError::Fault(reason)) => self.verification.put_off(&candidate, &reason),
                Err(error) => unreachable!("the network was made for the environment: {error}"),
            }
        }
    }

    /// Evaluates one policy.
    ///
    /// # Errors
    /// It was stopped, the environment could not go on, or no actor could evaluate it.
    pub fn judge(&self, candidate: &Candidate) -> Result<Verdict, EvaluateError> {
        let mut evaluation = self.play(candidate, 0, FIRST)?;
        if is_close(&evaluation, self.goal) {
            evaluation = evaluation.and(self.play(candidate, FIRST as u32, FURTHER)?);
        }
        let is_reached = evaluation.mean() >= self.goal;
        Ok(Verdict { version: candidate.version, mode: self.mode, score: evaluation.score(), is_reached })
    }

    fn play(&self, candidate: &Candidate, first: u32, episodes: usize) -> Result<Evaluation, EvaluateError> {
        let (series, mode) = (Series::Try(candidate.attempt), self.mode);
        let plan = EvaluationPlan { first, series, mode, ..EvaluationPlan::new(episodes, self.seed) };
        let is_stopped = || self.verification.is_stopped();
        self.arena.play((candidate.version, &candidate.parameters), plan, &is_stopped)
    }
}

/// Whether the mean reaches the goal but might not if other episodes were played: the goal is within two standard errors below it.
fn is_close(evaluation: &Evaluation, goal: f64) -> bool {
    let (mean, error) = (evaluation.mean(), evaluation.standard_error());
    mean >= goal && mean - 2.0 * error < goal
}

#[cfg(test)]
mod tests;
