//! A grid world with walls that masks tell, and what an adapter owes its caller.

use super::*;
use crate::StepBuffer;
use crate::array::Array;
use crate::rngs;
use rand::RngExt;
use serde::Deserialize;

const SIDE: usize = 4;
const STEPS_MAX: u32 = 12;
const MOVES: [[isize; 2]; 4] = [[0, -1], [0, 1], [-1, 0], [1, 0]];

/// A walk to the lower right corner; nobody can leave the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Grid {
    place: [usize; 2],
    steps: u32,
}

impl Grid {
    fn neighbour(&self, action: usize) -> Option<[usize; 2]> {
        let at = |k: usize| self.place[k].checked_add_signed(MOVES[action][k]).filter(|x| *x < SIDE);
        Some([at(0)?, at(1)?])
    }
}

impl Environment for Grid {
    fn reset(&mut self, rng: &mut Rng) {
        *self = Self { place: [rng.random_range(0..SIDE - 1), rng.random_range(0..SIDE - 1)], steps: 0 };
    }

    fn step(&mut self, action: ArrayRef<'_>, _: &mut Rng) -> (f32, Outcome) {
        self.place = self.neighbour(usize::from(action.u8()[0])).expect("the mask allows it");
        self.steps += 1;
        match (self.place == [SIDE - 1; 2], self.steps >= STEPS_MAX) {
            (true, _) => (1.0, Outcome::Terminated),
            (false, true) => (-1.0, Outcome::Truncated),
            (false, false) => (-1.0, Outcome::Continues),
        }
    }

    fn observe(&self, observation: ArrayMut<'_>) {
        observation.f32().copy_from_slice(&self.place.map(|x| x as f32));
    }

    fn mask(&self, choices: &mut [u8]) {
        for (action, choice) in choices.iter_mut().enumerate() {
            *choice = u8::from(self.neighbour(action).is_some());
        }
    }

    fn accepts(&self, saved: &Self) -> bool {
        saved.place.iter().all(|x| *x < SIDE) && saved.place != [SIDE - 1; 2] && saved.steps < STEPS_MAX
    }

    fn scene(&self) -> Option<Scene> {
        Some(Scene::new(SIDE as f32, self.place[0] as f32 + 1.0))
    }
}

fn kind() -> EnvironmentKind {
    let (observations, actions) = (ObservationSpace::vector(2), ActionSpace::Discrete(4));
    let new = || Grid { place: [0, 0], steps: 0 };
    EnvironmentKind::of_one("grid", observations, actions, -5.0, new).unwrap().with_masks().unwrap()
}

fn grids(rngs: Vec<Rng>) -> Vectorised<Grid> {
    Vectorised::new("grid", || Grid { place: [0, 0], steps: 0 }, rngs)
}

/// In every environment the first choice from `preferred` on that its mask allows.
fn allowed(masks: &[u8], preferred: usize) -> Array {
    let choose = |mask: &[u8]| (0..4).map(|k| (preferred + k) % 4).find(|action| mask[*action] == 1).unwrap() as u8;
    Array::U8(masks.chunks_exact(4).map(choose).collect())
}

#[test]
fn masks_and_observations_are_those_of_each_environment() {
    let (kind, n) = (kind(), 5);
    let mut buffer = StepBuffer::new(kind.spec(), n);
    let mut environments = grids(rngs(1, 0, n));
    buffer.observe(&environments);
    for t in 0..200 {
        for (i, grid) in environments.environments.iter().enumerate() {
            let [x, y] = grid.place;
            let mask = [y > 0, y < SIDE - 1, x > 0, x < SIDE - 1].map(u8::from);
            assert_eq!(buffer.masks[4 * i..][..4], mask, "step {t}");
            assert_eq!(buffer.observations.view().f32()[2 * i..][..2], grid.place.map(|x| x as f32), "step {t}");
        }
        let actions = allowed(&buffer.masks, t % 4);
        buffer.step(&mut environments, actions.view());
    }
}

#[test]
fn the_next_episode_begins_within_the_step_and_a_cut_one_leaves_its_true_end() {
    let (kind, n) = (kind(), 4);
    let mut buffer = StepBuffer::new(kind.spec(), n);
    let mut environments = grids(rngs(2, 0, n));
    buffer.observe(&environments);
    let (mut terminated, mut truncated) = (0, 0);
    for t in 0..300 {
        let before = environments.environments.clone();
        let actions = allowed(&buffer.masks, (t / 7) % 4);
        buffer.step(&mut environments, actions.view());
        let mut finals = buffer.final_observations.view().f32().chunks_exact(2);
        for (i, grid) in before.iter().enumerate() {
            let end = grid.neighbour(usize::from(actions.view().u8()[i])).unwrap();
            if buffer.outcomes[i] == Outcome::Continues {
                assert_eq!(environments.environments[i], Grid { place: end, steps: grid.steps + 1 });
                continue;
            }
            assert_eq!(environments.environments[i].steps, 0, "the next episode has begun");
            assert_eq!(environments.final_scene(i), Some(Scene::new(SIDE as f32, end[0] as f32 + 1.0)));
            match buffer.outcomes[i] {
                Outcome::Truncated => assert_eq!(finals.next().unwrap(), end.map(|x| x as f32)),
                _ => assert_eq!(end, [SIDE - 1; 2]),
            }
            *if buffer.outcomes[i] == Outcome::Truncated { &mut truncated } else { &mut terminated } += 1;
        }
        assert_eq!(finals.next(), None);
    }
    assert!(terminated > 5 && truncated > 5, "{terminated} terminated, {truncated} truncated");
}

#[test]
fn a_state_goes_on_to_the_bit_and_others_are_refused() {
    let (kind, n) = (kind(), 3);
    let mut buffer = StepBuffer::new(kind.spec(), n);
    let mut environments = grids(rngs(3, 0, n));
    let run = |environments: &mut Vectorised<Grid>, buffer: &mut StepBuffer| {
        buffer.observe(environments);
        let mut trace = Vec::new();
        for t in 0..50 {
            let actions = allowed(&buffer.masks, t % 3);
            buffer.step(environments, actions.view());
            trace.push(buffer.clone());
        }
        trace
    };
    run(&mut environments, &mut buffer);
    let state = environments.state();
    let expected = run(&mut environments, &mut buffer);
    let mut others = grids(rngs(4, 0, n));
    others.restore(&state).unwrap();
    assert!(run(&mut others, &mut buffer) == expected);

    let before = others.state();
    let mut refuse = |state: &[u8]| {
        assert_eq!(others.restore(state), Err(StateError::new("grid", n)));
        assert_eq!(others.state(), before);
    };
    refuse(&state[..state.len() - 1]);
    refuse(&grids(rngs(4, 0, n + 1)).state());
    let rngs = rngs(4, 0, n);
    refuse(&state::encode("other", &(vec![Grid { place: [0, 0], steps: 0 }; n], &rngs)));
    refuse(&state::encode("grid", &(vec![Grid { place: [0, SIDE], steps: 0 }; n], &rngs)));
    refuse(&state::encode("grid", &(vec![Grid { place: [0, 0], steps: STEPS_MAX }; n], &rngs)));
}

#[test]
fn what_cannot_be_saved_says_so_and_trains_as_well() {
    let (observations, actions) = (ObservationSpace::vector(2), ActionSpace::Discrete(4));
    let new = || Grid { place: [0, 0], steps: 0 };
    let kind = EnvironmentKind::of_one_without_state("grid", observations, actions, -5.0, new).unwrap();
    assert!(!kind.is_resumable());
    let mut environments = kind.make(rngs(1, 0, 2));
    assert!(environments.state().is_empty());
    assert_eq!(environments.restore(&[]), Err(StateError::new("grid", 2)));
    // Without masks nobody is asked for any.
    let mut buffer = StepBuffer::new(kind.spec(), 2);
    buffer.step(&mut *environments, ArrayRef::U8(&[1, 3]));
    assert_eq!((buffer.rewards.as_slice(), buffer.masks.len()), ([-1.0; 2].as_slice(), 0));
}
