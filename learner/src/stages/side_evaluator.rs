//! The side evaluator's thread: plays fresh episodes with the newest policy beside the training, now and then (`eval_interval`). It has less
//! of the processor than everybody else of the process, where the system lets a thread be modest. What it finds is told to the progress of
//! the run, and decides nothing.

use crate::handover::evaluations::Arena;
use crate::handover::policy_request::PolicyRequest;
use crate::handover::progress::{Progress, VersionedPolicy};
use impala_common::process::threads;
use impala_policy::evaluate::{EvaluateError, EvaluationPlan, Mode, Series};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The side evaluator of one run.
#[derive(Debug)]
pub struct SideEvaluator {
    /// Where policies come from.
    pub policies: PolicyRequest,
    /// Where scores go.
    pub progress: Arc<Mutex<Progress>>,
    /// Where they play.
    pub arena: Arena,
    /// The seed of the run.
    pub seed: u64,
    /// How they choose their actions.
    pub mode: Mode,
    /// Episodes of each.
    pub episodes: usize,
    /// Time between the end of one evaluation and the beginning of the next.
    pub interval: Duration,
}

impl SideEvaluator {
    /// Works until it is stopped.
    pub fn run(self) {
        threads::give_way();
        while let Some(policy) = self.policies.ask() {
            match self.evaluate(&policy) {
                Ok(()) => {}
                Err(EvaluateError::Stopped) => return,
                Err(EvaluateError::Fault(reason)) => {
                    tracing::warn!(
                        version = policy.version.0,
                        reason,
                        "the policy was not evaluated beside the training"
                    );
                }
                Err(error) => unreachable!("the network was made for the environment: {error}"),
            }
            if !self.policies.rest(self.interval) {
                return;
            }
        }
    }

    fn evaluate(&self, policy: &VersionedPolicy) -> Result<(), EvaluateError> {
        let number = self.lock_progress().evaluations.count.saturating_add(1);
        let (series, mode) = (Series::Beside(number), self.mode);
        let plan = EvaluationPlan { series, mode, ..EvaluationPlan::new(self.episodes, self.seed) };
        let is_stopped = || self.policies.is_stopped();
        let score = self.arena.play((policy.version, &policy.parameters), plan, &is_stopped)?.score();
        self.lock_progress().record_evaluation(policy, score);
        tracing::info!(version = policy.version.0, frames = policy.frames, %score, "evaluated beside the training");
        Ok(())
    }

    fn lock_progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no holder of the progress panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::evaluations::EvaluationDesk;
    use impala_common::ids::WeightsVersion;
    use impala_policy::activation::Activation;
    use impala_policy::network::{NetworkSpec, PolicyHead};

    #[test]
    fn policies_are_evaluated_one_after_the_other_until_the_stop() {
        let progress = Arc::new(Mutex::new(Progress::new(8.0)));
        let policies = PolicyRequest::default();
        let network = NetworkSpec {
            observation_len: 4,
            hidden: vec![],
            activation: Activation::Tanh,
            head: PolicyHead::single(2),
            normalises: false,
        };
        let desk = EvaluationDesk::new(1.0..=1.0);
        let parameters: Arc<[f32]> = vec![0.0; network.parameter_count()].into();
        let evaluator = SideEvaluator {
            policies: policies.clone(),
            progress: progress.clone(),
            arena: Arena { environment: impala_env::builtin().kinds()[0].clone(), network, desk },
            seed: 1,
            mode: Mode::Greedy,
            episodes: 50,
            interval: Duration::ZERO,
        };
        let thread = std::thread::Builder::new().name("side evaluator".into()).spawn(move || evaluator.run()).unwrap();
        let evaluations = || progress.lock().unwrap().evaluations.clone();
        for number in 1..=3 {
            while !policies.is_asked() {
                std::thread::yield_now();
            }
            let version = WeightsVersion(u64::from(number));
            policies.answer(VersionedPolicy { version, frames: 80 * version.0, parameters: parameters.clone() });
            while evaluations().count < number {
                std::thread::yield_now();
            }
        }
        policies.stop();
        thread.join().unwrap();
        let told = evaluations();
        // Always to the left: it falls after 8 to 10 steps, each time from other beginnings.
        let last = told.last.unwrap();
        assert_eq!((last.updates, last.frames, last.score.episodes), (3, 240, 50));
        assert!((8.0..10.0).contains(&last.score.mean), "{last:?}");
        assert_eq!((told.first_reached, told.curve.points.len()), (Some(80), 3));
        let mut means: Vec<_> = told.curve.points.iter().map(|point| point.mean_return).collect();
        means.dedup();
        assert!(means.len() > 1, "the same episodes each time: {means:?}");
    }
}
