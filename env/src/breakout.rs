//! MinAtar's Breakout (Young and Tian 2019, arXiv 1903.03176): a ball that moves diagonally on a board of 10 x 10, a paddle in the
//! last row, three rows of bricks. A new wall stands when the ball comes down to the paddle with no brick left.
//!
//! Differences to the paper's experiments: actions are the game's own three instead of six, of which three do nothing there; they
//! are not sticky, an option of MinAtar that repeats the last action in one of ten frames; and an episode is cut after 5000 frames,
//! for a good policy would never end it. Rules and random draws are MinAtar's, the code is not.

mod scene;

use crate::array::{ArrayMut, ArrayRef};
use crate::environment::Outcome;
use crate::registry::{EnvironmentKind, KindError};
use crate::scene::Scene;
use crate::seed::Rng;
use crate::space::{ActionSpace, ObservationSpace};
use crate::vectorised::Environment;
use crate::wrap::TimeLimit;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Rows and columns of the board.
const SIDE: usize = 10;
/// Of what is seen of a cell: paddle, ball, trail, brick.
const CHANNELS: usize = 4;
/// The row under which the wall begins, and the rows of the wall.
const WALL_TOP: usize = 1;
const WALL_ROWS: usize = 3;
/// Where the ball starts, in the first or the last column.
const START_ROW: usize = 3;
/// Every brick of a row of the wall, a bit for each column.
const WHOLE_ROW: u16 = (1 << SIDE) - 1;
const FRAMES_MAX: u32 = 5000;
/// The pace at which it is watched: what the eye can follow.
const STEPS_PER_SECOND: u32 = 12;
/// MinAtar names no threshold. Ten bricks are about what the DQN of its paper comes to in five million frames; who moves at random
/// breaks 0.4, and who keeps under the ball 430 before the limit.
const SOLVED_RETURN: f64 = 10.0;

/// `breakout-minatar`.
pub(crate) fn kinds() -> Result<Vec<EnvironmentKind>, KindError> {
    let (observations, actions) = (ObservationSpace::bytes(&[SIDE, SIDE, CHANNELS]), ActionSpace::Discrete(3));
    let new = || TimeLimit::new(Breakout::default(), FRAMES_MAX);
    let kind = EnvironmentKind::of_one("breakout-minatar", observations, actions, SOLVED_RETURN, new)?;
    let kind = kind.with_rewards(0.0..=1.0)?.with_action_names(&["stay", "left", "right"])?;
    Ok(vec![kind.with_steps_per_second(STEPS_PER_SECOND)?])
}

/// A game.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Breakout {
    ball: Cell,
    /// Where the ball was a frame ago.
    trail: Cell,
    /// Which way the ball moves, across and down.
    goes_right: bool,
    goes_down: bool,
    /// Whether the ball met a brick in this frame: if it meets the next one at once, it goes through it and breaks nothing.
    is_striking: bool,
    /// Column of the paddle.
    paddle: usize,
    /// The bricks of each row of the wall, a bit for each column.
    wall: [u16; WALL_ROWS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cell {
    row: usize,
    column: usize,
}

impl Breakout {
    /// Moves the paddle: 0 leaves it, 1 moves it left, 2 moves it right.
    fn move_paddle(&mut self, action: u8) {
        self.paddle = match action {
            1 => self.paddle.saturating_sub(1),
            2 => (self.paddle + 1).min(SIDE - 1),
            _ => self.paddle,
        };
    }

    /// Moves the ball by a frame; gives the bricks that it broke, and whether it is lost.
    fn move_ball(&mut self) -> (f32, bool) {
        let from = self.ball;
        self.trail = from;
        self.ball.column = self.next_column();
        let was_striking = std::mem::take(&mut self.is_striking);

        // Above the board there is nothing but a wall.
        let Some(row) = (if self.goes_down { Some(from.row + 1) } else { from.row.checked_sub(1) }) else {
            self.goes_down = true;
            return (0.0, false);
        };
        let ahead = Cell { row, ..self.ball };
        if self.has_brick(ahead) {
            self.is_striking = true;
            if !was_striking {
                self.wall[row - WALL_TOP] &= !(1 << ahead.column);
                self.goes_down = !self.goes_down;
                return (1.0, false);
            }
        } else if row == SIDE - 1 {
            return (0.0, !self.is_returned_from(from.column, ahead));
        }
        self.ball = ahead;
        (0.0, false)
    }

    /// The column that the ball moves to; at a side it turns and stays.
    fn next_column(&mut self) -> usize {
        let column = self.ball.column;
        let is_at_side = if self.goes_right { column == SIDE - 1 } else { column == 0 };
        self.goes_right ^= is_at_side;
        match (is_at_side, self.goes_right) {
            (true, _) => column,
            (false, true) => column + 1,
            (false, false) => column - 1,
        }
    }

    /// The ball comes down to the last row. The paddle under it reflects it, the paddle in its way throws it back to where it came
    /// from, and otherwise it falls there.
    fn is_returned_from(&mut self, column: usize, ahead: Cell) -> bool {
        if self.wall == [0; WALL_ROWS] {
            self.wall = [WHOLE_ROW; WALL_ROWS];
        }
        let (is_under, is_in_its_way) = (column == self.paddle, ahead.column == self.paddle);
        if !is_under && is_in_its_way {
            self.goes_right = !self.goes_right;
        }
        if is_under || is_in_its_way {
            self.goes_down = false;
        } else {
            self.ball = ahead;
        }
        is_under || is_in_its_way
    }

    fn has_brick(&self, cell: Cell) -> bool {
        let row = cell.row.checked_sub(WALL_TOP).and_then(|row| self.wall.get(row));
        row.is_some_and(|bricks| bricks >> cell.column & 1 == 1)
    }

    fn bricks(&self) -> impl Iterator<Item = Cell> {
        let cells = (0..WALL_ROWS).flat_map(|row| (0..SIDE).map(move |column| Cell { row: WALL_TOP + row, column }));
        cells.filter(|cell| self.has_brick(*cell))
    }
}

impl Environment for Breakout {
    fn reset(&mut self, rng: &mut Rng) {
        let goes_right = rng.random::<bool>();
        let ball = Cell { row: START_ROW, column: if goes_right { 0 } else { SIDE - 1 } };
        *self = Self {
            ball,
            trail: ball,
            goes_right,
            goes_down: true,
            is_striking: false,
            paddle: SIDE / 2 - 1,
            wall: [WHOLE_ROW; WALL_ROWS],
        };
    }

    fn step(&mut self, action: ArrayRef<'_>, _: &mut Rng) -> (f32, Outcome) {
        self.move_paddle(action.u8()[0]);
        let (reward, is_lost) = self.move_ball();
        (reward, if is_lost { Outcome::Terminated } else { Outcome::Continues })
    }

    fn observe(&self, observation: ArrayMut<'_>) {
        let (cells, _) = observation.u8().as_chunks_mut::<CHANNELS>();
        cells.fill([0; CHANNELS]);
        let at = |cell: Cell| cell.row * SIDE + cell.column;
        cells[at(Cell { row: SIDE - 1, column: self.paddle })][0] = u8::MAX;
        cells[at(self.ball)][1] = u8::MAX;
        cells[at(self.trail)][2] = u8::MAX;
        self.bricks().for_each(|brick| cells[at(brick)][3] = u8::MAX);
    }

    fn accepts(&self, saved: &Self) -> bool {
        let is_on_board = |cell: Cell| cell.row < SIDE - 1 && cell.column < SIDE;
        is_on_board(saved.ball)
            && is_on_board(saved.trail)
            && saved.paddle < SIDE
            && saved.wall.iter().all(|bricks| *bricks <= WHOLE_ROW)
    }

    fn scene(&self) -> Option<Scene> {
        Some(scene::draw(self))
    }
}

#[cfg(test)]
mod tests;
