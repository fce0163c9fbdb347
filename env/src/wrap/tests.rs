//! Limits and repetition around a counter.

use super::*;
use crate::array::{ArrayMut, ArrayRef};
use crate::seed::Rng;
use crate::space::{ActionSpace, ObservationSpace};
use crate::{Environment, EnvironmentKind, Outcome, StateError, StepBuffer, rngs};
use serde::{Deserialize, Serialize};

/// Counts to ten by what it is told, and is paid what it counts.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Counter {
    count: u8,
}

impl Environment for Counter {
    fn reset(&mut self, _: &mut Rng) {
        self.count = 0;
    }

    fn step(&mut self, action: ArrayRef<'_>, _: &mut Rng) -> (f32, Outcome) {
        let action = action.u8()[0];
        self.count += action;
        (f32::from(action), if self.count >= 10 { Terminated } else { Continues })
    }

    fn observe(&self, observation: ArrayMut<'_>) {
        observation.f32().fill(f32::from(self.count));
    }

    /// Ten is never reached by 0 alone.
    fn mask(&self, choices: &mut [u8]) {
        choices.fill(1);
        choices[0] = u8::from(self.count > 0);
    }

    fn accepts(&self, saved: &Self) -> bool {
        saved.count < 10
    }
}

/// A kind of one number, masked, of choices 0 to 3.
pub(super) fn kind<E: Environment + Serialize + serde::de::DeserializeOwned>(
    new: impl Fn() -> E + Send + Sync + 'static,
) -> EnvironmentKind {
    let (observations, actions) = (ObservationSpace::vector(1), ActionSpace::Discrete(4));
    EnvironmentKind::of_one("counter", observations, actions, 10.0, new).unwrap().with_masks().unwrap()
}

/// Takes these actions in one environment: after each the observation, reward, outcome, final observation.
fn play(kind: &EnvironmentKind, actions: &[u8]) -> Vec<(f32, f32, Outcome, Option<f32>)> {
    let mut environment = kind.make(rngs(1, 0, 1));
    let mut buffer = StepBuffer::new(kind.spec(), 1);
    let mut step = |action: &u8| {
        buffer.step(&mut *environment, ArrayRef::U8(&[*action]));
        let end = buffer.final_observations.view().f32().first().copied();
        (buffer.observations.view().f32()[0], buffer.rewards[0], buffer.outcomes[0], end)
    };
    actions.iter().map(&mut step).collect()
}

use Outcome::{Continues, Terminated, Truncated};

#[test]
fn a_limit_cuts_an_episode_and_begins_to_count_anew() {
    let limited = kind(|| TimeLimit::new(Counter::default(), 3));
    let cut = [(1.0, 1.0, Continues, None), (2.0, 1.0, Continues, None), (0.0, 1.0, Truncated, Some(3.0))];
    assert_eq!(play(&limited, &[1; 6]), [cut, cut].concat());
    let unlimited = kind(Counter::default);
    assert_eq!(play(&unlimited, &[1; 6])[5], (6.0, 1.0, Continues, None));
}

#[test]
fn what_ends_by_itself_in_the_step_of_its_limit_has_terminated() {
    let limited = kind(|| TimeLimit::new(Counter::default(), 4));
    let steps = play(&limited, &[3; 5]);
    assert_eq!(steps[3..], [(0.0, 3.0, Terminated, None), (3.0, 3.0, Continues, None)]);
}

#[test]
fn a_repeated_action_is_paid_the_sum_until_the_episode_ends() {
    let repeated = kind(|| ActionRepeat::new(Counter::default(), 3));
    let expected = [(6.0, 6.0, Continues, None), (0.0, 4.0, Terminated, None), (3.0, 3.0, Continues, None)];
    assert_eq!(play(&repeated, &[2, 2, 1]), expected);
}

#[test]
fn wrappers_nest_and_the_outer_one_counts_its_own_steps() {
    let inside = kind(|| ActionRepeat::new(TimeLimit::new(Counter::default(), 4), 3));
    assert_eq!(play(&inside, &[1, 1])[1], (0.0, 1.0, Truncated, Some(4.0)));
    let outside = kind(|| TimeLimit::new(ActionRepeat::new(Counter::default(), 3), 2));
    assert_eq!(play(&outside, &[1, 1])[1], (0.0, 3.0, Truncated, Some(6.0)));
}

#[test]
fn masks_are_those_of_what_is_wrapped() {
    let kind = kind(|| TimeLimit::new(ActionRepeat::new(Counter::default(), 2), 9));
    let mut environment = kind.make(rngs(1, 0, 2));
    let mut buffer = StepBuffer::new(kind.spec(), 2);
    buffer.observe(&*environment);
    assert_eq!(buffer.masks, [0, 1, 1, 1].repeat(2));
    buffer.step(&mut *environment, ArrayRef::U8(&[3, 1]));
    assert_eq!(buffer.masks, [1; 8]);
}

#[test]
fn a_state_goes_on_and_one_of_another_limit_is_refused() {
    let kind_of = |limit, times| kind(move || TimeLimit::new(ActionRepeat::new(Counter::default(), times), limit));
    let make = |kind: &EnvironmentKind| (kind.make(rngs(1, 0, 1)), StepBuffer::new(kind.spec(), 1));
    let (mut environment, mut buffer) = make(&kind_of(3, 2));
    buffer.step(&mut *environment, ArrayRef::U8(&[1]));
    let state = environment.state();

    let (mut other, mut buffer) = make(&kind_of(3, 2));
    other.restore(&state).unwrap();
    let outcomes = [(); 3].map(|()| {
        buffer.step(&mut *other, ArrayRef::U8(&[1]));
        buffer.outcomes[0]
    });
    assert_eq!(outcomes, [Continues, Truncated, Continues], "one of three steps was taken before");
    for (limit, times) in [(4, 2), (3, 1)] {
        let refused = make(&kind_of(limit, times)).0.restore(&state);
        assert_eq!(refused, Err(StateError::new("counter", 1)), "limit {limit}, {times} times");
    }
}

#[test]
#[should_panic = "episodes of no steps"]
fn a_limit_of_nothing_is_a_mistake() {
    TimeLimit::new(Counter::default(), 0);
}
