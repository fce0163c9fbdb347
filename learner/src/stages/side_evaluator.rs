//! The side evaluator's thread: plays fresh episodes with the newest policy, rests, and asks for the next one. It has less of the processor
//! than everybody else of the process, where the system lets a thread be modest; what it finds decides nothing.

use crate::handover::side_evaluation::SideEvaluation;
use impala_common::process::threads;
use impala_env::EnvironmentKind;
use impala_policy::evaluate::{self, EvaluateError, EvaluationPlan, Mode, Series};
use impala_policy::network::NetworkSpec;
use std::time::Duration;

/// The side evaluator of one run.
#[derive(Debug)]
pub struct SideEvaluator {
    /// Where policies come from and scores go.
    pub side: SideEvaluation,
    /// What they play.
    pub environment: EnvironmentKind,
    /// What they are.
    pub network: NetworkSpec,
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
        while let Some((number, policy)) = self.side.ask() {
            let (series, mode) = (Series::Beside(number), self.mode);
            let plan = EvaluationPlan { series, mode, ..EvaluationPlan::new(self.episodes, self.seed) };
            let is_stopped = || self.side.is_stopped();
            match evaluate::play(&self.environment, &self.network, &policy.parameters, plan, &is_stopped) {
                Ok(evaluation) => self.side.tell(&policy, evaluation.score()),
                Err(EvaluateError::Stopped) => return,
                Err(error) => unreachable!("the network was made for the environment: {error}"),
            }
            if !self.side.rest(self.interval) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::progress::{Progress, VersionedPolicy};
    use impala_common::ids::WeightsVersion;
    use impala_policy::activation::Activation;
    use std::sync::{Arc, Mutex};

    #[test]
    fn policies_are_evaluated_one_after_the_other_until_the_stop() {
        let progress = Arc::new(Mutex::new(Progress::new(8.0)));
        let side = SideEvaluation::new(progress.clone());
        let network = NetworkSpec { observation_len: 4, hidden: vec![], activation: Activation::Tanh, action_count: 2 };
        let parameters: Arc<[f32]> = vec![0.0; network.parameter_count()].into();
        let evaluator = SideEvaluator {
            side: side.clone(),
            environment: impala_env::builtin().kinds()[0].clone(),
            network,
            seed: 1,
            mode: Mode::Greedy,
            episodes: 50,
            interval: Duration::ZERO,
        };
        let thread = std::thread::Builder::new().name("side evaluator".into()).spawn(move || evaluator.run()).unwrap();
        let evaluations = || progress.lock().unwrap().evaluations.clone();
        for number in 1..=3 {
            while !side.is_asked() {
                std::thread::yield_now();
            }
            let version = WeightsVersion(u64::from(number));
            side.answer(VersionedPolicy { version, frames: 80 * version.0, parameters: parameters.clone() });
            while evaluations().count < number {
                std::thread::yield_now();
            }
        }
        side.stop();
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

    #[test]
    fn a_stop_ends_a_rest_and_a_question() {
        for interval in [Duration::ZERO, Duration::from_secs(3600)] {
            let side = SideEvaluation::new(Arc::new(Mutex::new(Progress::new(8.0))));
            let other = side.clone();
            let thread = std::thread::Builder::new().name("stopped".into());
            let thread = thread.spawn(move || (other.rest(interval), other.ask())).unwrap();
            side.stop();
            assert_eq!(thread.join().unwrap().1, None);
        }
    }
}
