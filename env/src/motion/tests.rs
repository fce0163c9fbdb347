//! Steps that gymnasium recorded, and what holds of every system.

use super::*;
use crate::array::Array;
use crate::space::ActionSpace;
use crate::spec::EnvironmentSpec;
use crate::{StepBuffer, rngs};
use std::collections::HashMap;

/// What scripts/make-control-traces.py writes.
#[derive(Deserialize)]
struct Traces {
    steps: HashMap<String, Vec<Recorded>>,
}

/// One step of gymnasium.
#[derive(Deserialize)]
struct Recorded {
    /// Of the episode so far.
    steps: u32,
    before: Vec<f64>,
    action: f64,
    after: Vec<f64>,
    observation: Vec<f32>,
    reward: f64,
    terminated: bool,
    truncated: bool,
}

fn spec(name: &str) -> EnvironmentSpec {
    crate::builtin().get(&name.parse().unwrap()).unwrap().spec().clone()
}

fn actions(spec: &EnvironmentSpec, actions: impl Iterator<Item = f64>) -> Array {
    match spec.actions {
        ActionSpace::Box(_) => Array::F32(actions.map(|action| action as f32).collect()),
        _ => Array::U8(actions.map(|action| action as u8).collect()),
    }
}

/// One system at these numbers after so many steps of its episode, stepped once: where it was led before a reset, reward, outcome.
pub(crate) fn step_from<M: Motion<K, O>, const K: usize, const O: usize>(
    name: &str,
    (numbers, steps): ([f64; K], u32),
    action: f64,
) -> ([f64; K], f32, Outcome) {
    let spec = spec(name);
    let mut system = Moving::<M, K, O>::new(rngs(1, 0, 1));
    system.set(0, numbers, steps);
    let mut buffer = StepBuffer::new(&spec, 1);
    buffer.step(&mut system, actions(&spec, [action].into_iter()).view());
    (system.after(0), buffer.rewards[0], buffer.outcomes[0])
}

impl<M: Motion<K, O>, const K: usize, const O: usize> Moving<M, K, O> {
    /// Where the newest step led one of them, before the reset if that was the end of an episode.
    fn after(&self, i: usize) -> [f64; K] {
        self.ends[i].map_or_else(|| self.numbers(i), |(numbers, _)| numbers)
    }
}

/// Repeats every recorded step of an environment, all in one batch: states to 1e-12.
pub(crate) fn assert_every_recorded_step_is_reproduced<M: Motion<K, O>, const K: usize, const O: usize>(name: &str) {
    let traces: Traces = serde_json::from_str(include_str!("../../tests/data/control-traces.json")).unwrap();
    let recorded = &traces.steps[name];
    assert!(recorded.len() >= 100, "{} steps", recorded.len());
    let (spec, n) = (spec(name), recorded.len());
    let mut systems = Moving::<M, K, O>::new(rngs(1, 0, n));
    for (i, step) in recorded.iter().enumerate() {
        systems.set(i, step.before.as_slice().try_into().unwrap(), step.steps);
    }
    let mut buffer = StepBuffer::new(&spec, n);
    buffer.step(&mut systems, actions(&spec, recorded.iter().map(|step| step.action)).view());

    let mut final_observations = buffer.final_observations.view().f32().chunks_exact(O);
    for (i, step) in recorded.iter().enumerate() {
        let place = format!("{name}, recorded step {i}, from {:?}", step.before);
        let after = systems.after(i);
        for (actual, expected) in after.iter().zip(&step.after) {
            assert!((actual - expected).abs() <= 1e-12, "{place}: {after:?}, expected {:?}", step.after);
        }
        let expected = match (step.terminated, step.truncated) {
            (true, _) => Outcome::Terminated,
            (false, true) => Outcome::Truncated,
            (false, false) => Outcome::Continues,
        };
        assert_eq!(buffer.outcomes[i], expected, "{place}");
        let reward = f64::from(buffer.rewards[i]);
        assert!(
            (reward - step.reward).abs() <= 1e-7 * step.reward.abs().max(1.0),
            "{place}: reward {reward}, expected {}",
            step.reward
        );
        let row = &buffer.observations.view().f32()[O * i..][..O];
        let seen = match expected {
            Outcome::Continues => row.to_vec(),
            Outcome::Truncated => final_observations.next().unwrap().to_vec(),
            Outcome::Terminated => M::observe(after).to_vec(),
        };
        // Single precision has 24 bits, and the last one may be rounded the other way.
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= f32::EPSILON * b.abs().max(1.0);
        assert!(seen.iter().zip(&step.observation).all(near), "{place}: saw {seen:?}, expected {:?}", step.observation);
        if expected != Outcome::Continues {
            assert_ne!(row, seen, "{place}: the next episode has begun");
        }
    }
    assert_eq!(final_observations.next(), None);
}

/// What an episode begins with, many times over: each number is uniform between its bounds.
pub(crate) fn assert_starts_are_uniform<M: Motion<K, O>, const K: usize, const O: usize>(bounds: [(f64, f64); K]) {
    let n = 20_000;
    let systems = Moving::<M, K, O>::new(rngs(7, 3, n));
    for (k, (low, high)) in bounds.into_iter().enumerate() {
        let values: Vec<f64> = (0..n).map(|i| systems.numbers(i)[k]).collect();
        // A bound may be drawn, and then rounded to single precision.
        let rounding = 1e-7;
        assert!(values.iter().all(|x| (low - rounding..=high + rounding).contains(x)), "number {k}");
        let (middle, half) = ((low + high) / 2.0, (high - low) / 2.0);
        // Five standard errors of the mean and of the mean square.
        let mean = values.iter().map(|x| x - middle).sum::<f64>() / n as f64;
        assert!(mean.abs() <= 5.0 * half / (3.0 * n as f64).sqrt(), "number {k}: mean {mean} from the middle");
        let square = values.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / n as f64;
        let expected = half * half / 3.0;
        assert!(
            (square - expected).abs() <= expected * 5.0 * (0.8 / n as f64).sqrt(),
            "number {k}: mean square {square}"
        );
    }
    assert_ne!(systems.numbers(0)[0], systems.numbers(1)[0]);
}

/// A state with this one system in it is refused.
pub(crate) fn assert_refused<M: Motion<K, O>, const K: usize, const O: usize>(numbers: [f64; K], steps: u32) {
    let mut system = Moving::<M, K, O>::new(rngs(1, 0, 1));
    let good = system.state();
    system.set(0, numbers, steps);
    let refused = system.state();
    let mut other = Moving::<M, K, O>::new(rngs(2, 0, 1));
    let before = other.state();
    assert_eq!(other.restore(&refused), Err(StateError::new(M::KIND, 1)), "{numbers:?} after {steps} steps");
    assert_eq!(other.state(), before, "a refused state changed something");
    assert_eq!(other.restore(&good), Ok(()));
    assert_eq!(other.state(), good);
}
