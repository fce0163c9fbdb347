//! Stacked frames around a counter, and of pictures.

use super::*;
use crate::seed::Rng;
use crate::space::ActionSpace;
use crate::wrap::TimeLimit;
use crate::wrap::tests::{Counter, kind};
use crate::{Environment, StepBuffer, rngs};
use serde::{Deserialize, Serialize};

/// A picture of 2 x 2 with two colours whose bytes count on from the step's number times 10.
#[derive(Default, Serialize, Deserialize)]
struct Film {
    steps: u8,
}

impl Environment for Film {
    fn reset(&mut self, _: &mut Rng) {
        self.steps = 0;
    }

    fn step(&mut self, _: ArrayRef<'_>, _: &mut Rng) -> (f32, Outcome) {
        self.steps += 1;
        (0.0, if self.steps == 4 { Outcome::Terminated } else { Outcome::Continues })
    }

    fn observe(&self, observation: ArrayMut<'_>) {
        for (i, byte) in (0..).zip(observation.u8()) {
            *byte = 10 * self.steps + i;
        }
    }
}

fn film(shape: &[usize]) -> EnvironmentKind {
    let (observations, actions) = (ObservationSpace::bytes(shape), ActionSpace::Discrete(1));
    EnvironmentKind::of_one("film", observations, actions, 0.0, Film::default).unwrap()
}

#[test]
fn frames_are_channels_of_pictures_and_neighbours_in_vectors() {
    for (shape, stacked_shape, first, third) in [
        (vec![2, 2, 2], vec![2, 2, 4], [0, 1, 0, 1, 2, 3, 2, 3], [10, 11, 20, 21, 12, 13, 22, 23]),
        (vec![2, 4], vec![2, 4, 2], [0, 0, 1, 1, 2, 2, 3, 3], [10, 20, 11, 21, 12, 22, 13, 23]),
        (vec![8], vec![16], [0, 1, 2, 3, 4, 5, 6, 7], [10, 11, 12, 13, 14, 15, 16, 17]),
    ] {
        let kind = film(&shape).with_stacked_frames("films", 2).unwrap();
        assert_eq!((kind.name().as_str(), &kind.spec().observations.shape), ("films", &stacked_shape));
        let mut environments = kind.make(rngs(1, 0, 2));
        let mut buffer = StepBuffer::new(kind.spec(), 2);
        buffer.observe(&*environments);
        assert_eq!(buffer.observations.view().u8()[..8], first, "{shape:?}");
        for _ in 0..2 {
            buffer.step(&mut *environments, ArrayRef::U8(&[0, 0]));
        }
        assert_eq!(buffer.observations.view().u8()[16..24], third, "{shape:?}");
        let shown = buffer.observations.clone();
        buffer.observe(&*environments);
        assert_eq!(buffer.observations, shown, "{shape:?}");
        // The step that ends the episode shows the next one's first frame alone.
        for _ in 0..2 {
            buffer.step(&mut *environments, ArrayRef::U8(&[0, 0]));
        }
        assert_eq!(buffer.outcomes, [Outcome::Terminated; 2]);
        assert_eq!(buffer.observations.view().u8()[..8], first, "{shape:?}");
    }
}

#[test]
fn a_cut_episode_leaves_the_frames_of_its_end_and_masks_stay() {
    let single = kind(|| TimeLimit::new(Counter::default(), 3));
    let kind = single.with_stacked_frames("counters", 3).unwrap();
    assert_eq!(kind.spec().mask_len(), 4);
    let mut environments = kind.make(rngs(1, 0, 2));
    let mut buffer = StepBuffer::new(kind.spec(), 2);
    buffer.observe(&*environments);
    assert_eq!((buffer.observations.view().f32(), buffer.masks[0]), ([0.0; 6].as_slice(), 0));
    for (actions, expected, ends) in [
        ([1, 2], [[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]], vec![]),
        ([1, 3], [[0.0, 1.0, 2.0], [0.0, 2.0, 5.0]], vec![]),
        ([1, 3], [[0.0; 3], [0.0; 3]], vec![1.0, 2.0, 3.0, 2.0, 5.0, 8.0]),
        ([2, 1], [[0.0, 0.0, 2.0], [0.0, 0.0, 1.0]], vec![]),
    ] {
        buffer.step(&mut *environments, ArrayRef::U8(&actions));
        assert_eq!(buffer.observations.view().f32(), expected.as_flattened());
        assert_eq!(buffer.final_observations.view().f32(), ends);
        assert_eq!(buffer.masks[0], u8::from(expected[0][2] > 0.0));
    }
}

#[test]
fn a_state_keeps_the_frames_and_a_damaged_one_changes_nothing() {
    let stacked = kind(|| TimeLimit::new(Counter::default(), 5)).with_stacked_frames("counters", 3).unwrap();
    let mut buffer = StepBuffer::new(stacked.spec(), 1);
    let mut environment = stacked.make(rngs(1, 0, 1));
    for _ in 0..2 {
        buffer.step(&mut *environment, ArrayRef::U8(&[1]));
    }
    let state = environment.state();
    let mut other = stacked.make(rngs(2, 0, 1));
    other.restore(&state).unwrap();
    buffer.step(&mut *other, ArrayRef::U8(&[3]));
    assert_eq!(buffer.observations.view().f32(), [1.0, 2.0, 5.0]);

    let before = other.state();
    let inner = kind(Counter::default).make(rngs(1, 0, 1)).state();
    let other_film = film(&[8]).with_stacked_frames("films", 2).unwrap().make(rngs(1, 0, 1)).state();
    let numbers = |numbers: &[f32]| state::encode(KIND, &(numbers, &inner));
    for refused in [&state[..state.len() - 1], &other_film, &numbers(&[0.0; 3]), &numbers(&[0.0, f32::NAN, 0.0])] {
        assert!(other.restore(refused).is_err());
        assert_eq!(other.state(), before);
    }
}

#[test]
fn what_cannot_be_stacked_is_refused() {
    let refused = |frames| film(&[8]).with_stacked_frames("films", frames).unwrap_err().to_string();
    assert_eq!(refused(1), "environment films: stacked frames = 1, it must be 2 or more");
    assert!(refused(1 << 22).contains("observation_len"), "{}", refused(1 << 22));
    assert!(refused(usize::MAX).contains("observation_len"));
}
