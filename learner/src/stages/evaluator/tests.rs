//! Policies that are known in environments that are known, judged without a thread.

use super::*;
use crate::handover::evaluations::EvaluationDesk;
use crate::handover::progress::Progress;
use impala_common::ids::WeightsVersion;
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::seed::Rng;
use impala_env::{EnvironmentKind, Outcome, StateError, Step, VectorEnvironment};
use impala_policy::activation::Activation;
use impala_policy::evaluate::{End, Played, STEPS_MAX};
use impala_policy::network::{NetworkSpec, PolicyHead};
use rand::RngExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What an environment pays for a step.
#[derive(Clone, Copy)]
enum Pays {
    /// 1 for another action than the one before: a policy that always does the same gets nothing.
    Change,
    /// 0 or 1 by chance.
    Chance,
    /// 1, and the episode never ends.
    Endlessly,
}

struct Environments {
    pays: Pays,
    rngs: Vec<Rng>,
    before: Vec<u8>,
    steps: Arc<AtomicU64>,
}

impl VectorEnvironment for Environments {
    fn environments(&self) -> usize {
        self.rngs.len()
    }

    fn observe(&self, observations: ArrayMut<'_>, _: &mut [u8]) {
        observations.f32().fill(0.0);
    }

    fn step(&mut self, actions: ArrayRef<'_>, step: Step<'_>) {
        let actions = actions.u8();
        let steps = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        step.observations.f32().fill(0.0);
        for (i, action) in actions.iter().enumerate() {
            step.rewards[i] = match self.pays {
                Pays::Change => f32::from(u8::from(*action != self.before[i])),
                Pays::Chance => f32::from(u8::from(self.rngs[i].random::<bool>())),
                Pays::Endlessly => 1.0,
            };
            self.before[i] = *action;
        }
        let ends = match self.pays {
            Pays::Change => steps.is_multiple_of(20),
            Pays::Chance => true,
            Pays::Endlessly => false,
        };
        step.outcomes.fill(if ends { Outcome::Terminated } else { Outcome::Continues });
    }

    fn state(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), StateError> {
        Ok(())
    }
}

fn evaluator(pays: Pays, mode: Mode, goal: f64) -> Evaluator {
    counting(pays, mode, goal, &Arc::default())
}

/// The same, and how many steps were made so far.
fn counting(pays: Pays, mode: Mode, goal: f64, steps: &Arc<AtomicU64>) -> Evaluator {
    let steps = steps.clone();
    let environment = EnvironmentKind::new("known", 1, 2, goal, move |rngs: Vec<Rng>| {
        Box::new(Environments { pays, before: vec![0; rngs.len()], rngs, steps: steps.clone() })
    });
    let network = NetworkSpec {
        observation_len: 1,
        hidden: vec![],
        activation: Activation::Tanh,
        head: PolicyHead::single(2),
        normalises: false,
    };
    let verification = Verification::new(Arc::new(Mutex::new(Progress::new(goal))), 1);
    let desk = EvaluationDesk::new(f32::MIN..=f32::MAX);
    let arena = Arena { environment: environment.unwrap(), network, desk };
    Evaluator { verification, arena, seed: 1, mode, goal }
}

/// Equal logits for both actions.
fn undecided(evaluator: &Evaluator, attempt: u32) -> Candidate {
    let parameters = vec![0.0; evaluator.arena.network.parameter_count()].into();
    Candidate { attempt, version: WeightsVersion(7), frames: 80, seconds: 0.5, parameters }
}

#[test]
fn a_policy_that_only_its_own_chance_makes_good_is_not_solved_greedily() {
    let judge = |mode| {
        let evaluator = evaluator(Pays::Change, mode, 5.0);
        evaluator.judge(&undecided(&evaluator, 1)).unwrap()
    };
    let greedy = judge(Mode::Greedy);
    assert_eq!((greedy.is_reached, greedy.score.mean, greedy.score.episodes), (false, 0.0, 100));
    assert_eq!((greedy.version.0, greedy.mode), (7, Mode::Greedy));
    let sampled = judge(Mode::Sampled);
    assert!(sampled.is_reached && (9.0..11.0).contains(&sampled.score.mean), "{sampled:?}");
    assert_eq!((sampled.score.episodes, sampled.mode), (100, Mode::Sampled));
}

#[test]
fn where_the_goal_is_close_a_thousand_episodes_decide() {
    let mut decided = [false; 2];
    for attempt in 1..=20 {
        let probe = evaluator(Pays::Chance, Mode::Greedy, 0.0);
        let candidate = undecided(&probe, attempt);
        // Far above the goal a hundred are enough.
        let first = probe.judge(&candidate).unwrap();
        assert_eq!((first.is_reached, first.score.episodes), (true, 100));
        let evaluator = evaluator(Pays::Chance, Mode::Greedy, first.score.mean - 0.02);
        let verdict = evaluator.judge(&candidate).unwrap();
        assert_eq!(verdict.score.episodes, 1000);
        assert!((0.44..0.56).contains(&verdict.score.mean), "they are others: {verdict:?}");
        assert_eq!(verdict.is_reached, verdict.score.mean >= evaluator.goal);
        decided[usize::from(verdict.is_reached)] = true;
    }
    assert_eq!(decided, [true; 2], "both ends come about");
}

#[test]
fn below_the_goal_or_far_above_it_a_hundred_decide() {
    let played = |episode_return| Played { episode_return, length: 1, end: End::Terminated };
    let returns = |returns: Vec<f32>| Evaluation { episodes: returns.into_iter().map(played).collect() };
    // Half 0, half 10: mean 5, standard error 0.5025.
    let spread = returns((0..100).map(|i| if i % 2 == 0 { 0.0 } else { 10.0 }).collect());
    assert_eq!([5.001, 5.0, 4.5, 4.0, 3.99].map(|goal| is_close(&spread, goal)), [false, true, true, true, false]);
    let even = returns(vec![500.0; 100]);
    assert_eq!([500.1, 500.0, 475.0].map(|goal| is_close(&even, goal)), [false; 3]);
}

#[test]
fn a_stop_ends_an_evaluation_that_would_go_on_for_ever() {
    let steps = Arc::default();
    let evaluator = counting(Pays::Endlessly, Mode::Greedy, 1e12, &steps);
    let (verification, candidate) = (evaluator.verification.clone(), undecided(&evaluator, 1));
    let thread = std::thread::Builder::new().name("evaluator".into()).spawn(move || evaluator.run()).unwrap();
    assert!(verification.propose(candidate));
    while steps.load(Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    verification.stop();
    thread.join().unwrap();
    assert!(!verification.wait(), "there is no verdict");
    let made = steps.load(Ordering::Relaxed);
    assert!(made < STEPS_MAX, "it went on to the limit of {made} steps");
}

#[test]
fn the_thread_brings_a_verdict_for_each_candidate() {
    let progress = Arc::new(Mutex::new(Progress::new(5.0)));
    let evaluator = Evaluator {
        verification: Verification::new(progress.clone(), 1),
        ..evaluator(Pays::Change, Mode::Sampled, 5.0)
    };
    let (verification, candidate) = (evaluator.verification.clone(), undecided(&evaluator, 1));
    let thread = std::thread::Builder::new().name("evaluator".into()).spawn(move || evaluator.run()).unwrap();
    for attempt in 1..=3 {
        assert!(verification.propose(Candidate { attempt, ..candidate.clone() }) && verification.wait());
    }
    verification.stop();
    thread.join().unwrap();
    let progress = progress.lock().unwrap();
    assert_eq!((progress.tries.count, progress.solved.map(|solved| solved.frames)), (3, Some(80)));
}
