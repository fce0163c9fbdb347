//! bsuite's Catch: a ball falls one row a step down a board of 10 rows and 5 columns, a paddle in the last row moves
//! sideways. The order is bsuite's: the paddle moves, the ball falls, then the episode may end.

mod scene;

use super::{StateError, Step, VectorEnvironment};
use crate::Outcome;
use crate::array::{ArrayMut, ArrayRef};
use crate::registry::{EnvironmentKind, KindError};
use crate::scene::Scene;
use crate::seed::Rng;
use crate::space::{ActionSpace, ObservationSpace};
use crate::state;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Tells its states from those of other environments.
pub(super) const KIND: &str = "catch";
const ROWS: usize = 10;
const COLUMNS: usize = 5;
/// The pace at which it is watched: a ball falls in a bit more than two seconds.
const STEPS_PER_SECOND: u32 = 4;

/// `catch`.
pub(super) fn kinds() -> Result<Vec<EnvironmentKind>, KindError> {
    let (observations, actions) = (ObservationSpace::vector(ROWS * COLUMNS), ActionSpace::Discrete(3));
    // Solved: of returns that are -1 and 1, 39 of 40 balls caught.
    let kind = EnvironmentKind::new("catch", observations, actions, 0.95, |rngs| Box::new(Catch::new(rngs)))?;
    // There is nothing before the last step of an episode, which gives -1 or 1.
    let kind = kind.with_rewards(-1.0..=1.0)?.with_action_names(&["left", "stay", "right"])?;
    Ok(vec![kind.with_steps_per_second(STEPS_PER_SECOND)?])
}

/// N boards, a struct of arrays.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Catch {
    ball_rows: Vec<usize>,
    ball_columns: Vec<usize>,
    paddle_columns: Vec<usize>,
    rngs: Vec<Rng>,
    /// How each one's last episode ended, for pictures alone: no part of the state.
    #[serde(skip)]
    ends: Vec<Option<Board>>,
}

/// Where everything is on one board.
#[derive(Clone, Copy, Debug)]
struct Board {
    ball_row: usize,
    ball_column: usize,
    paddle_column: usize,
}

impl Catch {
    /// One board for each random source.
    pub(super) fn new(rngs: Vec<Rng>) -> Self {
        let zeros = vec![0; rngs.len()];
        let (ball_rows, ball_columns, ends) = (zeros.clone(), zeros.clone(), vec![None; rngs.len()]);
        let mut boards = Self { ball_rows, ball_columns, paddle_columns: zeros, rngs, ends };
        (0..boards.rngs.len()).for_each(|i| boards.reset(i));
        boards
    }

    /// The ball in a random column of the first row, the paddle in the middle.
    fn reset(&mut self, i: usize) {
        self.ball_rows[i] = 0;
        self.ball_columns[i] = self.rngs[i].random_range(0..COLUMNS);
        self.paddle_columns[i] = COLUMNS / 2;
    }

    /// Moves paddle and ball; tells, in the last row, whether they met.
    fn advance(&mut self, i: usize, action: u8) -> Option<bool> {
        self.paddle_columns[i] = moved(self.paddle_columns[i], action);
        self.ball_rows[i] += 1;
        (self.ball_rows[i] == ROWS - 1).then_some(self.ball_columns[i] == self.paddle_columns[i])
    }

    fn board(&self, i: usize) -> Board {
        let (ball_row, ball_column) = (self.ball_rows[i], self.ball_columns[i]);
        Board { ball_row, ball_column, paddle_column: self.paddle_columns[i] }
    }

    /// Whether `environments` running episodes can be in this state.
    fn is_possible(&self, environments: usize) -> bool {
        let below = |numbers: &[usize], bound: usize| {
            numbers.len() == environments && numbers.iter().all(|number| *number < bound)
        };
        below(&self.ball_rows, ROWS - 1)
            && below(&self.ball_columns, COLUMNS)
            && below(&self.paddle_columns, COLUMNS)
            && self.rngs.len() == environments
    }

    fn observe_board(&self, i: usize, row: &mut [f32]) {
        row.fill(0.0);
        row[self.ball_rows[i] * COLUMNS + self.ball_columns[i]] = 1.0;
        row[(ROWS - 1) * COLUMNS + self.paddle_columns[i]] = 1.0;
    }
}

/// Column of the paddle after an action: 0 moves it left, 1 leaves it, 2 moves it right.
fn moved(paddle_column: usize, action: u8) -> usize {
    (paddle_column + usize::from(action)).saturating_sub(1).min(COLUMNS - 1)
}

impl VectorEnvironment for Catch {
    fn environments(&self) -> usize {
        self.rngs.len()
    }

    fn observe(&self, observations: ArrayMut<'_>, _: &mut [u8]) {
        for (i, row) in observations.f32().chunks_exact_mut(ROWS * COLUMNS).enumerate() {
            self.observe_board(i, row);
        }
    }

    fn step(&mut self, actions: ArrayRef<'_>, step: Step<'_>) {
        let actions = actions.u8();
        for (i, row) in step.observations.f32().chunks_exact_mut(ROWS * COLUMNS).enumerate() {
            (step.rewards[i], step.outcomes[i]) = match self.advance(i, actions[i]) {
                None => (0.0, Outcome::Continues),
                Some(true) => (1.0, Outcome::Terminated),
                Some(false) => (-1.0, Outcome::Terminated),
            };
            if step.outcomes[i] == Outcome::Terminated {
                self.ends[i] = Some(self.board(i));
                self.reset(i);
            }
            self.observe_board(i, row);
        }
    }

    fn state(&self) -> Vec<u8> {
        state::encode(KIND, self)
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        let environments = self.rngs.len();
        let state: Self = state::decode(KIND, environments, state)?;
        if !state.is_possible(environments) {
            return Err(StateError::new(KIND, environments));
        }
        *self = Self { ends: vec![None; environments], ..state };
        Ok(())
    }

    fn scene(&mut self, index: usize) -> Option<Scene> {
        Some(scene::draw(self.board(index)))
    }

    fn final_scene(&mut self, index: usize) -> Option<Scene> {
        self.ends[index].map(scene::draw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StepBuffer, rngs};

    /// Plays one episode from its first observation with actions chosen by column of ball and paddle.
    fn play(environment: &mut Catch, choose: fn(usize, usize) -> u8) -> (f32, u32) {
        let spec = crate::builtin().get(&"catch".parse().unwrap()).unwrap().spec().clone();
        let mut buffer = StepBuffer::new(&spec, 1);
        let mut length = 0;
        while buffer.outcomes[0] == Outcome::Continues {
            assert_eq!(buffer.rewards, [0.0], "no reward before the last row");
            let (ball_row, ball_column) = (environment.ball_rows[0], environment.ball_columns[0]);
            let paddle_column = environment.paddle_columns[0];
            buffer.observe(environment);
            let observations = buffer.observations.view().f32();
            assert_eq!(observations[ball_row * COLUMNS + ball_column], 1.0);
            assert_eq!(observations[(ROWS - 1) * COLUMNS + paddle_column], 1.0);
            assert_eq!(observations.iter().sum::<f32>(), 2.0);
            buffer.step(environment, ArrayRef::U8(&[choose(ball_column, paddle_column)]));
            length += 1;
        }
        assert_eq!(buffer.outcomes, [Outcome::Terminated]);
        let places = (environment.ball_rows[0], environment.paddle_columns[0]);
        assert_eq!(places, (0, 2), "the next episode has begun");
        (buffer.rewards[0], length)
    }

    #[test]
    fn following_the_ball_catches_it_and_fleeing_misses_it() {
        let mut environment = Catch::new(rngs(1, 0, 1));
        for _ in 0..50 {
            let follow = |ball: usize, paddle: usize| 1 + u8::from(ball > paddle) - u8::from(ball < paddle);
            assert_eq!(play(&mut environment, follow), (1.0, 9));
            let flee = |ball: usize, _: usize| if ball < 2 { 2 } else { 0 };
            assert_eq!(play(&mut environment, flee), (-1.0, 9));
        }
    }

    #[test]
    fn the_paddle_stays_on_the_board() {
        let mut column = 2;
        let columns = [0, 0, 0, 2, 2, 2, 2, 2, 1].map(|action| {
            column = moved(column, action);
            column
        });
        assert_eq!(columns, [1, 0, 0, 1, 2, 3, 4, 4, 4]);
    }

    #[test]
    fn balls_start_in_every_column_equally_often() {
        let mut counts = [0_u32; COLUMNS];
        Catch::new(rngs(3, 1, 10_000)).ball_columns.iter().for_each(|column| counts[*column] += 1);
        // Five standard deviations of a binomial count around 2000.
        assert!(counts.iter().all(|count| count.abs_diff(2000) < 200), "{counts:?}");
    }
}
