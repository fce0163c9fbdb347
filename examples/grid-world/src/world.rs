//! The game: fetch the key, open the door, reach the goal. Moves that lead nowhere are not allowed.

use crate::layout::{HEIGHT, Layout, Place, WIDTH};
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::scene::{Paint, Scene, Shape};
use impala_env::seed::Rng;
use impala_env::{Environment, Outcome};
use serde::{Deserialize, Serialize};

/// The actions: names, and rows and columns of the way.
pub(crate) const MOVES: [(&str, (isize, isize)); 4] =
    [("up", (-1, 0)), ("down", (1, 0)), ("left", (0, -1)), ("right", (0, 1))];
/// Reward of a step that does not reach the goal. Less of it would be little beside what the default settings give for entropy.
pub(crate) const STEP: f32 = -0.05;
/// Reward of the step that does.
pub(crate) const GOAL: f32 = 5.0;
/// What is seen: a plane each for player, walls, closed door, key and goal.
pub(crate) const SHAPE: [usize; 3] = [5, HEIGHT, WIDTH];
/// A byte that is seen as 1.
const THERE: u8 = 255;
/// Steps after which an episode is cut.
const STEPS_MAX: u32 = 100;

/// One episode after another.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GridWorld {
    layout: Layout,
    player: Place,
    has_key: bool,
    steps: u32,
}

impl GridWorld {
    /// Where a move leads, if it is allowed: not off the grid, into a wall, or to the door without its key.
    fn moved(&self, (_, direction): (&str, (isize, isize))) -> Option<Place> {
        let is_open = |place: &Place| !self.layout.is_wall(*place) && (self.has_key || *place != self.layout.door);
        self.player.moved(direction).filter(is_open)
    }
}

impl Environment for GridWorld {
    fn reset(&mut self, rng: &mut Rng) {
        let (layout, player) = Layout::drawn(rng);
        *self = Self { layout, player, has_key: false, steps: 0 };
    }

    fn step(&mut self, action: ArrayRef<'_>, _: &mut Rng) -> (f32, Outcome) {
        // Masks keep what leads nowhere from being chosen; who chooses it anyway stays.
        self.player = self.moved(MOVES[usize::from(action.u8()[0])]).unwrap_or(self.player);
        self.has_key |= self.player == self.layout.key;
        self.steps += 1;
        match (self.player == self.layout.goal, self.steps >= STEPS_MAX) {
            (true, _) => (GOAL, Outcome::Terminated),
            (false, true) => (STEP, Outcome::Truncated),
            (false, false) => (STEP, Outcome::Continues),
        }
    }

    fn observe(&self, observation: ArrayMut<'_>) {
        let planes = observation.u8();
        planes.fill(0);
        let mut show = |plane: usize, Place { row, column }: Place| {
            planes[(plane * HEIGHT + row) * WIDTH + column] = THERE;
        };
        let Layout { door, key, goal } = self.layout;
        show(0, self.player);
        (0..HEIGHT).filter(|row| *row != door.row).for_each(|row| show(1, Place { row, ..door }));
        if !self.has_key {
            show(2, door);
            show(3, key);
        }
        show(4, goal);
    }

    fn mask(&self, choices: &mut [u8]) {
        choices.iter_mut().zip(MOVES).for_each(|(choice, way)| *choice = u8::from(self.moved(way).is_some()));
    }

    fn scene(&self) -> Option<Scene> {
        let corner = |Place { row, column }: Place, inset: f32| [column as f32 + inset, row as f32 + inset];
        let cell = |place, paint| Shape::Rectangle { corner: corner(place, 0.0), size: [1.0; 2], radius: 0.0, paint };
        let disc = |place, radius, paint| Shape::Circle { centre: corner(place, 0.5), radius, paint };
        let mut scene = Scene::new(WIDTH as f32, HEIGHT as f32);
        let Layout { door, key, goal } = self.layout;
        let walls = (0..HEIGHT).map(|row| Place { row, ..door }).filter(|place| self.layout.is_wall(*place));
        walls.for_each(|place| scene.add(cell(place, Paint::Ground)));
        scene.add(cell(goal, Paint::Target));
        if !self.has_key {
            scene.add(cell(door, Paint::Bound));
            scene.add(disc(key, 0.2, Paint::Joint));
        }
        scene.add(disc(self.player, 0.35, Paint::Body));
        Some(scene)
    }

    fn accepts(&self, saved: &Self) -> bool {
        let Self { layout, player, has_key, steps } = saved;
        // Who is not in the left room came through the door, and who stands on the key has it.
        let is_left = player.column < layout.door.column;
        let is_inside = player.row < HEIGHT && player.column < WIDTH && !layout.is_wall(*player);
        layout.is_possible()
            && is_inside
            && *player != layout.goal
            && (*has_key || is_left && *player != layout.key)
            && *steps < STEPS_MAX
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use impala_env::rngs;
    use impala_env::seed::RngExt;

    fn world(player: (usize, usize), has_key: bool) -> GridWorld {
        let place = |(row, column)| Place { row, column };
        let layout = Layout { door: place((1, 3)), key: place((4, 0)), goal: place((2, 6)) };
        GridWorld { layout, player: place(player), has_key, steps: 0 }
    }

    fn allowed(world: &GridWorld) -> Vec<&'static str> {
        let mut mask = [2; 4];
        world.mask(&mut mask);
        MOVES.iter().zip(mask).filter(|(_, allowed)| *allowed == 1).map(|((name, _), _)| *name).collect()
    }

    #[test]
    fn moves_into_edges_walls_and_a_locked_door_are_forbidden() {
        assert_eq!(allowed(&world((0, 0), false)), ["down", "right"]);
        assert_eq!(allowed(&world((0, 2), true)), ["down", "left"]);
        assert_eq!(allowed(&world((1, 2), false)), ["up", "down", "left"]);
        assert_eq!(allowed(&world((1, 2), true)), ["up", "down", "left", "right"]);
        assert_eq!(allowed(&world((1, 3), true)), ["left", "right"]);
    }

    #[test]
    fn the_key_opens_the_door_and_the_goal_ends_the_episode() {
        let (mut world, mut rng) = (world((4, 1), false), rngs(1, 0, 1).remove(0));
        let way = ["left", "up", "up", "up", "right", "right", "right", "right", "right", "right", "down"];
        for (count, name) in (1..).zip(way) {
            assert!(allowed(&world).contains(&name), "{name} is forbidden before step {count}");
            let action = MOVES.iter().position(|(other, _)| *other == name).unwrap() as u8;
            let expected = if count < way.len() { (STEP, Outcome::Continues) } else { (GOAL, Outcome::Terminated) };
            assert_eq!(world.step(ArrayRef::U8(&[action]), &mut rng), expected);
            assert!(world.has_key);
        }
    }

    #[test]
    fn every_state_that_an_episode_comes_through_is_accepted_and_shown_whole() {
        let (mut world, mut rng) = (GridWorld::default(), rngs(7, 0, 1).remove(0));
        let mut ends = [0; 3];
        for _ in 0..200 {
            world.reset(&mut rng);
            loop {
                assert!(world.accepts(&world), "{world:?}");
                let mut planes = vec![7; SHAPE.iter().product()];
                world.observe(ArrayMut::U8(&mut planes));
                let seen = if world.has_key { 2 } else { 4 };
                assert_eq!(planes.iter().filter(|byte| **byte == THERE).count(), seen + HEIGHT - 1);
                let moves = allowed(&world);
                let name = moves[rng.random_range(0..moves.len())];
                let action = MOVES.iter().position(|(other, _)| *other == name).unwrap() as u8;
                let (_, outcome) = world.step(ArrayRef::U8(&[action]), &mut rng);
                ends[outcome as usize] += 1;
                if outcome != Outcome::Continues {
                    break;
                }
            }
        }
        assert!(ends[1] > 20 && ends[2] > 20, "{ends:?}");
    }

    #[test]
    fn a_state_that_no_episode_comes_to_is_refused() {
        let own = world((0, 0), false);
        for (player, has_key) in
            [((0, 3), true), ((1, 3), false), ((2, 5), false), ((4, 0), false), ((2, 6), true), ((5, 0), true)]
        {
            assert!(!own.accepts(&world(player, has_key)), "{player:?}");
        }
        let mut late = world((0, 0), false);
        late.steps = STEPS_MAX;
        assert!(!own.accepts(&late));
        late = world((0, 0), false);
        late.layout.goal.column = 2;
        assert!(!own.accepts(&late));
    }
}
